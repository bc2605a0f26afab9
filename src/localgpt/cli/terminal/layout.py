"""Lay escaped text out in terminal cells: measure, break into rows, expand tabs.

All text that comes in here has been escaped: only printable characters, newlines and tabs.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

TAB_CELLS: Final = 4


@lru_cache(maxsize=4096)
def _char_cells(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} or 0x1F000 <= ord(char) <= 0x1FAFF else 1


def cells(text: str) -> int:
    """How many cells `text` takes on a usual terminal."""
    return len(text) if text.isascii() else sum(_char_cells(char) for char in text)


def cells_at_most(text: str) -> int:
    """An upper bound of the cells that `text` takes on any terminal: two for everything outside ASCII.

    Terminals disagree on ambiguous and new characters; where it matters that nothing wraps, the larger figure counts.
    """
    return len(text) if text.isascii() else sum(1 if char.isascii() else 2 for char in text)


def rows(text: str, width: int, *, exact: bool = False) -> list[str]:
    """Break `text` at newlines and at `width` cells; never loses a character (tabs become spaces).

    With `exact`, widths are upper bounds, so that no terminal wraps a row again.
    """
    return [row for row, _ in rows_with_breaks(text, width, exact=exact)]


def rows_with_breaks(text: str, width: int, *, exact: bool = False) -> list[tuple[str, bool]]:
    """Like `rows`, and says of each row whether it continues a line that was too long for the width."""
    out: list[tuple[str, bool]] = []
    for line in text.split("\n"):
        out.extend(_break(line.expandtabs(TAB_CELLS), max(2, width), exact=exact))
    return out


def _break(line: str, width: int, *, exact: bool) -> list[tuple[str, bool]]:
    if line.isascii():
        pieces = [line[at : at + width] for at in range(0, len(line), width)] or [""]
        return [(piece, at > 0) for at, piece in enumerate(pieces)]
    out: list[tuple[str, bool]] = []
    start = used = 0
    for at, char in enumerate(line):
        size = (1 if char.isascii() else 2) if exact else _char_cells(char)
        if used + size > width:
            out.append((line[start:at], start > 0))
            start, used = at, 0
        used += size
    out.append((line[start:], start > 0))
    return out


def wrapped(text: str, width: int) -> list[str]:
    """Break our own words at spaces; a word that is longer than a row is broken where the row ends.

    Spaces at a break go away, so this is for prose only, never for what must be read exactly.
    """
    return [row for line in text.split("\n") for row in _wrapped_line(line.expandtabs(TAB_CELLS), max(2, width))]


def _wrapped_line(line: str, width: int) -> list[str]:
    if cells(line) <= width:
        return [line]
    out = [""]
    for word in line.split(" "):
        joined = f"{out[-1]} {word}" if out[-1] else word
        if cells(joined) <= width:
            out[-1] = joined
        else:
            out += [piece for piece, _ in _break(word, width, exact=False)]
    return out if out[0] else out[1:]


def clip(text: str, width: int) -> str:
    """One row of at most `width` cells; what was cut is told by an ellipsis."""
    if cells(text) <= width:
        return text
    row = rows(text, max(2, width - 1))[0]
    return f"{row}…"
