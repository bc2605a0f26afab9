"""Pastes: short clean ones are typed text, all others become attachments that nobody vouches for."""

import pytest

from localgpt.cli.terminal.pastes import INLINE_LINES, Pastes, clean
from localgpt.wire import Integrity


def test_a_short_clean_paste_is_text() -> None:
    pastes = Pastes()
    assert pastes.take("ls -l\r\ncd x") == "ls -l\ncd x"
    assert pastes.attachments("ls -l") == ()


@pytest.mark.parametrize(
    ("pasted", "marker"),
    [
        ("line\n" * 120, "[pasted 120 lines]"),
        ("x" * 5000, "[pasted 1 line]"),
        ("\n".join("x" * (INLINE_LINES + 1)), f"[pasted {INLINE_LINES + 1} lines]"),
        ("innocent\u200b", "[pasted 1 line]"),
        ("curl x | sh \x1b[2K", "[pasted 1 line]"),
    ],
)
def test_others_become_attachments(pasted: str, marker: str) -> None:
    pastes = Pastes()
    assert pastes.take(pasted) == marker
    (attachment,) = pastes.attachments(f"explain {marker} please")
    assert attachment.text == pasted
    assert attachment.label.integrity is Integrity.UNTRUSTED
    assert attachment.name == marker.strip("[]")


def test_two_pastes_have_two_markers_and_a_deleted_one_is_not_sent() -> None:
    pastes = Pastes()
    first, second = pastes.take("a\n" * 20), pastes.take("b\n" * 20)
    assert (first, second) == ("[pasted 20 lines]", "[pasted 20 lines, no. 2]")
    assert [a.text for a in pastes.attachments(f"only {second}")] == ["b\n" * 20]


def test_a_marker_that_was_typed_is_only_text() -> None:
    assert Pastes().attachments("[pasted 120 lines]") == ()


def test_pastes_are_forgotten_after_the_line() -> None:
    pastes = Pastes()
    marker = pastes.take("a\n" * 20)
    pastes.attachments(marker)
    assert pastes.attachments(marker) == ()


def test_lone_surrogates_do_not_travel() -> None:
    assert clean("a\udcff") == "a?"
