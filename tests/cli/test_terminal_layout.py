"""Rows fit, and no character is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.cli.terminal.escape import escape
from localgpt.cli.terminal.layout import cells, cells_at_most, clip, rows, rows_with_breaks, wrapped

TEXT = st.text(st.sampled_from("ab 日é\u0301👍\n"), max_size=80).map(escape)


@given(TEXT, st.integers(2, 40))
def test_rows_fit_and_lose_nothing(text: str, width: int) -> None:
    laid = rows(text, width)
    assert all(cells(row) <= width for row in laid)
    assert "".join(laid) == text.replace("\n", "")


@given(TEXT, st.integers(2, 40))
def test_exact_rows_fit_on_any_terminal(text: str, width: int) -> None:
    laid = rows(text, width, exact=True)
    assert all(cells_at_most(row) <= width for row in laid)
    assert "".join(laid) == text.replace("\n", "")


def test_a_row_says_whether_it_continues() -> None:
    assert rows_with_breaks("abcdef\ng", 4) == [("abcd", False), ("ef", True), ("g", False)]


@pytest.mark.parametrize(("text", "width", "shown"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 5, "日本…")])
def test_clip(text: str, width: int, shown: str) -> None:
    assert clip(text, width) == shown


@given(TEXT, st.integers(2, 40))
def test_wrapped_words_fit_and_lose_only_spaces(text: str, width: int) -> None:
    laid = wrapped(text, width)
    assert all(cells(row) <= width for row in laid)
    assert "".join(laid).replace(" ", "") == text.replace("\n", "").replace(" ", "")


def test_words_stay_whole() -> None:
    assert wrapped("one two three", 8) == ["one two", "three"]
    assert wrapped("abcdefghij k", 4) == ["abcd", "efgh", "ij k"]
