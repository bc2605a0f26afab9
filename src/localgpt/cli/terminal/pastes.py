"""Pastes: a short, clean one is typed text (the user sees all of it before Enter); any other becomes an attachment.

What stands in the line is then a marker such as ``[pasted 120 lines]``. The text behind it goes to the model beside
the user's words, labelled untrusted: nobody has read it.
"""

from __future__ import annotations

from typing import Final

from localgpt.cli.terminal.escape import escape
from localgpt.wire import Attachment, Confidentiality, Integrity, Label

INLINE_LINES: Final = 5
INLINE_CHARS: Final = 1000
LABEL: Final = Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, "paste")


class Pastes:
    """The pastes of one input line, by their markers."""

    def __init__(self) -> None:
        self._by_marker: dict[str, str] = {}

    def take(self, pasted: str) -> str:
        """What to put into the line for a pasted text: itself, or a marker."""
        text = pasted.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.count("\n") + (not text.endswith("\n"))
        if lines <= INLINE_LINES and len(text) <= INLINE_CHARS and escape(text) == text:
            return text
        marker = self._marker(lines)
        self._by_marker[marker] = text
        return marker

    def _marker(self, lines: int) -> str:
        words = f"pasted {lines} line{'' if lines == 1 else 's'}"
        number = len(self._by_marker) + 1
        return f"[{words}]" if number == 1 else f"[{words}, no. {number}]"

    def attachments(self, line: str) -> tuple[Attachment, ...]:
        """The attachments whose markers are still in the line; forgets all pastes."""
        found = [(marker, text) for marker, text in self._by_marker.items() if marker in line]
        self._by_marker = {}
        return tuple(Attachment(marker.strip("[]"), clean(text), LABEL) for marker, text in found)


def clean(text: str) -> str:
    """Without lone surrogates, which no message between processes can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
