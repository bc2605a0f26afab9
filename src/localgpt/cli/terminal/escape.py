"""Make foreign text safe to print: whatever a terminal would interpret, hide or reorder becomes visible.

Two readings of text, because they need different strictness:

* *prose* (`escape`, `Escaper`, `escape_line`): answers, tool output, file names in passing. Letters of every language
  stay; controls become control pictures (ESC is shown as ``␛``), everything invisible becomes ``\\u{hex}``.
* *argv* (`localgpt.cli.terminal.argv`): what a user approves. Stricter still; see there.

The output of every function here holds only printable characters, ``\\n`` and ``\\t``. Escaping twice changes nothing.

Source: ECMA-48 (controls), Unicode UAX #9 (bidirectional controls), UTS #39 (invisible characters), UTR #36.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

#: Everything outside printable ASCII and newline is looked at one by one.
_SUSPECT: Final = re.compile(r"[^\x20-\x7e\n]")
_SUSPECT_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_MARK_CATEGORIES: Final = frozenset({"Mn", "Me", "Mc"})

#: Characters with a visible category that terminals nevertheless draw as nothing (UTS #39, Default_Ignorable).
_BLANK: Final = frozenset(
    [
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0x1D159),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0000, 0xE1000),
    ]
)
_ZWNJ, _ZWJ, _TEXT_STYLE, _EMOJI_STYLE = "\u200c", "\u200d", "\ufe0e", "\ufe0f"
#: More combining marks than this on one letter are drawn over the neighbouring lines.
_MAX_MARKS: Final = 4


def escape(text: str) -> str:
    """Escape a whole text as prose; ``\\n`` and ``\\t`` stay, ``\\r\\n`` becomes ``\\n``."""
    if text.isascii() and text.isprintable():
        return text
    escaper = Escaper()
    return escaper.feed(text) + escaper.finish()


def escape_line(text: str, limit: int | None = None) -> str:
    """Escape a text that must stay on one line: newline and tab become pictures too; cut after `limit` characters."""
    line = escape(text).replace("\n", "␊").replace("\t", "␉")
    if limit is not None and len(line) > limit:
        return line[: max(0, limit - 1)] + "…"
    return line


class Escaper:
    """Escapes a stream of pieces; the result does not depend on where the pieces were cut.

    What is kept between pieces: the previous character (joiners are only allowed after certain ones), the number of
    combining marks in a row, and a carriage return that may belong to a ``\\r\\n``.
    """

    __slots__ = ("_carriage_return", "_marks", "_previous")

    def __init__(self) -> None:
        self._previous = ""
        self._marks = 0
        self._carriage_return = False

    def feed(self, piece: str) -> str:
        """Escape one piece. A trailing carriage return is held back until the next piece or `finish`."""
        if self._carriage_return:
            piece = "\r" + piece
        self._carriage_return = piece.endswith("\r")
        if self._carriage_return:
            piece = piece[:-1]
        if piece.isascii() and piece.isprintable():
            if piece:
                self._previous, self._marks = piece[-1], 0
            return piece
        return self._replace(piece.replace("\r\n", "\n"))

    def finish(self) -> str:
        """Give out what was held back."""
        held = self._carriage_return
        self._carriage_return = False
        return "␍" if held else ""

    def _replace(self, piece: str) -> str:
        out: list[str] = []
        end = 0
        for match in _SUSPECT.finditer(piece):
            at = match.start()
            if at > end:
                out.append(piece[end:at])
                self._previous, self._marks = piece[at - 1], 0
            out.append(self._one(match.group()))
            end = at + 1
        if end < len(piece):
            out.append(piece[end:])
            self._previous, self._marks = piece[-1], 0
        return "".join(out)

    def _one(self, char: str) -> str:
        self._marks = self._marks + 1 if is_mark(char) else 0
        shown = char if self._stays(char) else visible(char)
        self._previous = shown[-1]
        return shown

    def _stays(self, char: str) -> bool:
        if self._marks:
            return self._marks <= _MAX_MARKS and self._previous not in {"", "\n", "\t"}
        return char == "\t" or _joins(self._previous, char) or not is_unsafe(char)


def _joins(previous: str, char: str) -> bool:
    """Whether an invisible joiner is in a place where writing needs it: inside an emoji, or an Arabic or Indic word."""
    if not previous:
        return False
    if char in {_EMOJI_STYLE, _TEXT_STYLE}:
        return _is_pictograph(previous)
    if char == _ZWJ and (_is_pictograph(previous) or previous == _EMOJI_STYLE):
        return True
    return char in {_ZWJ, _ZWNJ} and 0x0600 <= ord(previous) <= 0x0DFF and unicodedata.category(previous)[0] in "LM"


def _is_pictograph(char: str) -> bool:
    return 0x1F000 <= ord(char) <= 0x1FAFF or unicodedata.category(char) == "So"


@lru_cache(maxsize=4096)
def is_mark(char: str) -> bool:
    """Whether `char` is drawn onto the one before it, and is no disguise of nothing."""
    return unicodedata.category(char) in _MARK_CATEGORIES and ord(char) not in _BLANK


@lru_cache(maxsize=4096)
def is_unsafe(char: str) -> bool:
    """Whether a terminal would interpret, hide or reorder around this character."""
    category = unicodedata.category(char)
    if category in _SUSPECT_CATEGORIES or ord(char) in _BLANK:
        return True
    if category == "Zs":
        return char not in {" ", "\u00a0", "\u3000", "\u202f"}
    # Unassigned: new emoji are harmless, anything else has an unknown meaning to the terminal.
    return category == "Cn" and not 0x1F000 <= ord(char) <= 0x1FAFF


@lru_cache(maxsize=1024)
def visible(char: str) -> str:
    """The visible stand-in of one character: a control picture for C0 and DEL, ``\\u{hex}`` for the rest."""
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"\\u{{{code:x}}}"


def is_plain(text: str) -> bool:
    """Whether `text` is one line that prints exactly as it is."""
    return "\n" not in text and "\t" not in text and escape(text) == text
