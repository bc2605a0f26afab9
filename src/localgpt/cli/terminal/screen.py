"""What the terminal can do, the few colours we use, and the one place that writes to it.

Two regions exist: what was printed (never touched again) and, below it, a *tail* that may be repainted while it
grows (the block of an answer that is still arriving). Printing removes the tail first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TextIO

_ESC: Final = "\x1b["
_UP_AND_CLEAR: Final = "\r\x1b[J"
MIN_WIDTH: Final = 20
_ENDLESS: Final = 100_000


class Ink(StrEnum):
    """Roles, not colours: the value is an SGR parameter (ECMA-48)."""

    PLAIN = ""
    DIM = "2"
    STRONG = "1"
    GOOD = "32"
    WARN = "33"
    BAD = "31"
    ADDED = "32"
    REMOVED = "31"
    NAME = "36"
    HUNK = "36"


@dataclass(frozen=True, slots=True)
class Size:
    """Columns and rows of a terminal, in cells."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Looks:
    """What may be sent to an output.

    `colour`: SGR sequences. `moves`: cursor movement (a real terminal). `unicode`: the encoding has more than ASCII.
    """

    colour: bool
    moves: bool
    unicode: bool

    def ink(self, text: str, ink: Ink) -> str:
        """`text` (already escaped, one row) in a role's colour."""
        if not self.colour or not ink.value or not text:
            return text
        return f"{_ESC}{ink.value}m{text}{_ESC}0m"

    def glyph(self, wanted: str, ascii_form: str) -> str:
        """A character of our own, or its ASCII form where the encoding lacks it."""
        return wanted if self.unicode else ascii_form


PLAIN_LOOKS: Final = Looks(colour=False, moves=False, unicode=True)


class Output(Protocol):
    """A text stream that a screen writes to. Only a stream that lacks characters needs `encoding`."""

    @property
    def encoding(self) -> str | None: ...

    def write(self, text: str, /) -> int: ...

    def flush(self) -> None: ...


class SizeSource(Protocol):
    """Whoever knows the terminal's size now."""

    def __call__(self) -> Size: ...


def looks_of(stream: TextIO, environ: Mapping[str, str], *, plain: bool = False) -> Looks:
    """What `stream` can show: nothing but text for a pipe, TERM=dumb or `plain`; no colour with NO_COLOR.

    Source: https://no-color.org (set and not empty).
    """
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    unicode = encoding in {"utf8", "utf16", "utf32"}
    terminal = stream.isatty() and environ.get("TERM", "dumb") not in {"dumb", "", "unknown"}
    if plain or not terminal:
        return Looks(colour=False, moves=False, unicode=unicode)
    return Looks(colour=not environ.get("NO_COLOR"), moves=True, unicode=unicode)


def size_of(stream: TextIO) -> Size:
    """The terminal's size now. A pipe or file has rows of any length: whoever reads it lays it out."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return Size(_ENDLESS, 24)
    return Size(size.columns or 80, size.lines or 24)


class Screen:
    """Writes rows of escaped text to one stream.

    `write` is the only way out. It never raises for what the encoding lacks: such characters are written as escapes.
    """

    def __init__(self, stream: Output, looks: Looks, size: SizeSource) -> None:
        self._stream = stream
        self.looks = looks
        self._size = size
        self._tail: tuple[tuple[str, int], ...] = ()  # rows below the printed region, and their cells

    @property
    def size(self) -> Size:
        size = self._size()
        return Size(max(MIN_WIDTH, size.columns), max(2, size.rows))

    @property
    def is_too_narrow(self) -> bool:
        """Whether rows are laid out wider than the terminal is, so that it wraps them."""
        return self._size().columns < MIN_WIDTH

    def ink(self, text: str, ink: Ink) -> str:
        return self.looks.ink(text, ink)

    def print(self, *rows: str) -> None:
        """Print whole rows, above which nothing changes any more. Removes the tail."""
        erase = self._erase()
        self.write(erase + "".join(f"{row}\n" for row in rows))

    def show_tail(self, rows: Sequence[tuple[str, int]]) -> None:
        """Paint rows that will be repainted: (text with colours, its cells). Too many for the screen: the last ones.

        On an output without cursor movement nothing is shown until it is printed.
        """
        if not self.looks.moves:
            return
        fitting = tuple(rows[-max(1, self.size.rows - 1) :])
        if fitting != self._tail:
            text = self._erase() + "".join(f"{row}\n" for row, _ in fitting)
            self._tail = fitting
            self.write(text)

    def clear_tail(self) -> None:
        """Remove the tail."""
        if self._tail:
            self.write(self._erase())

    def clear(self) -> None:
        """Clear the screen, where there is one."""
        self._tail = ()
        if self.looks.moves:
            self.write(f"{_ESC}H{_ESC}2J")

    def write(self, text: str) -> None:
        """Write escaped text as it is and flush."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()

    def _erase(self) -> str:
        """Moves to the first row of the tail and clears; rows that a narrower window has wrapped are counted again."""
        if not self._tail:
            return ""
        width = self.size.columns
        height = sum(max(1, -(-size // width)) for _, size in self._tail)
        self._tail = ()
        return f"{_ESC}{min(height, self.size.rows - 1)}A{_UP_AND_CLEAR}"
