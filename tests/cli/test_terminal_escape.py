"""Escaping of prose: nothing that a terminal interprets, hides or reorders survives, and nothing is lost."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.cli.terminal.escape import Escaper, escape, escape_line, is_plain

ANY_TEXT = st.text(st.characters(), max_size=60)
NASTY = st.text(
    st.sampled_from(
        "a é\u0301\u0302\u0303\u0304\u0305\u0306\x1b[]m\x9b\x9d\x07\r\n\t\x00\x7f\u202e\u2066\u200d\ufe0f❤👨👩ک\u200cم"
        "\ud800\U000e0041\u2028"
    ),
    max_size=30,
)
#: Format characters that may stay, after certain characters only.
JOINERS = {"\u200c", "\u200d"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words", "plain words"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("dos\r\nlines", "dos\nlines"),
        ("progress\roverwritten", "progress␍overwritten"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x9b2J", "\\u{9b}2J"),
        ("\x7f\x08\x00", "␡␈␀"),
        ("abc\u202edcb\u202c", "abc\\u{202e}dcb\\u{202c}"),
        ("a\u200bb\ufeffc\u00add", "a\\u{200b}b\\u{feff}c\\u{ad}d"),
        ("x\U000e0041\U000e007f", "x\\u{e0041}\\u{e007f}"),
        ("bad \udcff byte", "bad \\u{dcff} byte"),
        ("para\u2028line\u2029", "para\\u{2028}line\\u{2029}"),
        ("blank \u2800\u3164\u115f", "blank \\u{2800}\\u{3164}\\u{115f}"),
        ("powerline \ue0b0", "powerline \\u{e0b0}"),
    ],
)
def test_what_a_terminal_would_interpret_is_shown(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Grüße, 日本語, Привет, שלום, مرحبا",
        "e\u0301 (decomposed)",
        "❤\ufe0f",
        "👨\u200d👩\u200d👧",
        "می\u200cخواهم",
        "┌─┐ … “x” €",
    ],
)
def test_writing_of_every_language_stays(text: str) -> None:
    assert escape(text) == text


def test_a_joiner_in_the_wrong_place_is_shown() -> None:
    assert escape("pass\u200dword a\ufe0f") == "pass\\u{200d}word a\\u{fe0f}"


def test_marks_that_pile_up_are_cut_down() -> None:
    shown = escape("z" + "\u0335" * 40)
    assert shown.count("\u0335") == 4
    assert shown.count("\\u{335}") == 36


def test_one_line_stays_one_line() -> None:
    assert escape_line("a\nb\tc\r\nd") == "a␊b␉c␊d"
    assert escape_line("x" * 100, 10) == "x" * 9 + "…"


@given(st.one_of(ANY_TEXT, NASTY))
def test_no_character_of_the_output_is_interpreted(text: str) -> None:
    for char in escape(text):
        category = unicodedata.category(char)
        assert char in {"\n", "\t"} or category not in {"Cc", "Cs", "Co", "Zl", "Zp"}
        assert category != "Cf" or char in JOINERS


@given(st.one_of(ANY_TEXT, NASTY))
def test_escaping_twice_changes_nothing(text: str) -> None:
    assert escape(escape(text)) == escape(text)


@given(NASTY, st.lists(st.integers(0, 30), max_size=6))
def test_cuts_between_pieces_do_not_matter(text: str, cuts: list[int]) -> None:
    escaper, at = Escaper(), 0
    pieces = []
    for cut in sorted(cuts):
        pieces.append(escaper.feed(text[at:cut]))
        at = max(at, cut)
    pieces += [escaper.feed(text[at:]), escaper.finish()]
    assert "".join(pieces) == escape(text)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_plain_is_what_prints_as_it_is(text: str) -> None:
    assert is_plain(text) == (escape_line(text) == text)


def test_a_megabyte_is_escaped_in_reasonable_time() -> None:
    assert len(escape("word \x1b " * 150_000)) == 1_050_000
