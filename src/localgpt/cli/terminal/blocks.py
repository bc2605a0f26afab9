"""Cut a growing Markdown text into blocks: those that are finished, and the one that still grows.

Only the boundaries matter here, not the meaning: a finished block renders the same whatever follows. Fenced code ends
at its closing fence; a list goes on over blank lines as long as items or indented lines follow; anything else ends at
a blank line. A very long fence is cut between lines, so that no block grows without bound.

Source: CommonMark 0.31.2, sections 4.5 (fences), 5.2 and 5.3 (lists).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_ITEM: Final = re.compile(r"^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_HEADING: Final = re.compile(r"^ {0,3}#{1,6}(?:[ \t]|$)")
MAX_FENCE_LINES: Final = 120
MAX_BLOCK_CHARS: Final = 24_000


class Kind(StrEnum):
    """What sort of block, as far as its boundaries go."""

    TEXT = "text"
    LIST = "list"
    FENCE = "fence"
    TABLE = "table"
    #: Too long to be parsed as Markdown: shown as it is.
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of Markdown source. `joined`: it continues the block before it, without a blank line between."""

    kind: Kind
    source: str
    joined: bool = False


class BlockSplitter:
    """Takes pieces of Markdown, gives out finished blocks."""

    __slots__ = ("_blank", "_fence", "_fence_info", "_joined", "_kind", "_lines", "_partial", "_size")

    def __init__(self) -> None:
        self._partial = ""
        self._reset()
        self._joined = False

    def feed(self, piece: str) -> list[Block]:
        """Take a piece (escaped text); returns the blocks that it finished."""
        *whole, self._partial = (self._partial + piece).split("\n")
        done: list[Block] = []
        for line in whole:
            done.extend(self._line(line))
        if len(self._partial) > MAX_BLOCK_CHARS:
            done.extend(self._overflow(self._partial))
            self._partial = ""
        return done

    @property
    def tail(self) -> Block | None:
        """The block that is still growing, with the line that is still growing; None when there is nothing."""
        if not self._lines and not self._partial:
            return None
        kind, lines = self._kind, [*self._lines, self._partial] if self._partial else self._lines
        if not self._lines:
            kind = _kind_of(self._partial)
        return Block(kind, "\n".join(lines), self._joined)

    def finish(self) -> list[Block]:
        """End of the text: gives out what is left."""
        done = self._line(self._partial) if self._partial else []
        self._partial = ""
        return done + self._cut()

    def _line(self, line: str) -> list[Block]:
        if self._fence:
            return self._fence_line(line)
        if not line.strip():
            self._blank = bool(self._lines)
            return [] if self._kind is Kind.LIST else self._cut()
        done = self._cut() if self._ends_before(line) else []
        self._add(line)
        if len(self._lines) == 1 and _HEADING.match(line):
            return done + self._cut()
        return done + (self._cut_raw() if self._size > MAX_BLOCK_CHARS else [])

    def _ends_before(self, line: str) -> bool:
        """Whether `line` (not blank) begins a new block."""
        if not self._lines:
            return False
        if self._kind is Kind.LIST:
            inside = bool(_ITEM.match(line)) or line[:1] in {" ", "\t"}
            return (self._blank and not inside) or _opens_block(line)
        return _opens_block(line) or (self._kind is Kind.TEXT and bool(_ITEM.match(line)) and _starts_list(line))

    def _add(self, line: str) -> None:
        if not self._lines:
            self._kind = _kind_of(line)
            fence = _FENCE.match(line)
            if fence and _is_opening(fence):
                self._fence, self._fence_info = fence[1], fence[2]
        elif self._blank:
            self._lines.append("")
        self._blank = False
        self._lines.append(line)
        self._size += len(line) + 1
        if self._kind is Kind.TEXT and len(self._lines) == 2 and _is_table_rule(line):
            self._kind = Kind.TABLE

    def _fence_line(self, line: str) -> list[Block]:
        self._lines.append(line)
        self._size += len(line) + 1
        closing = _FENCE.match(line)
        same = closing and closing[1][0] == self._fence[0] and len(closing[1]) >= len(self._fence)
        if same and closing and not closing[2].strip():
            return self._cut()
        if len(self._lines) > MAX_FENCE_LINES or self._size > MAX_BLOCK_CHARS:
            return self._cut_fence()
        return []

    def _cut(self) -> list[Block]:
        """Give out the block as it is."""
        if not self._lines:
            return []
        done = [Block(self._kind, "\n".join(self._lines), self._joined)]
        self._reset()
        self._joined = False
        return done

    def _cut_fence(self) -> list[Block]:
        """Give out the fence so far, closed, and go on with a fence of the same kind."""
        fence, info = self._fence, self._fence_info
        self._lines.append(fence)
        done = self._cut()
        self._add(f"{fence}{info}")
        self._joined = True
        return done

    def _cut_raw(self) -> list[Block]:
        self._kind = Kind.RAW
        done = self._cut()
        self._kind, self._joined = Kind.TEXT, True
        return done

    def _overflow(self, line: str) -> list[Block]:
        """A line without end: give out what there is as raw text."""
        if self._fence:
            self._lines.append(line)
            return self._cut_fence()
        self._lines.append(line)
        return self._cut_raw()

    def _reset(self) -> None:
        self._lines: list[str] = []
        self._kind = Kind.TEXT
        self._fence = self._fence_info = ""
        self._blank = False
        self._size = 0


def _kind_of(line: str) -> Kind:
    fence = _FENCE.match(line)
    if fence and _is_opening(fence):
        return Kind.FENCE
    return Kind.LIST if _ITEM.match(line) else Kind.TEXT


def _opens_block(line: str) -> bool:
    """Whether an unindented line interrupts any paragraph or list."""
    fence = _FENCE.match(line)
    return line[:1] not in {" ", "\t"} and (bool(fence and _is_opening(fence)) or bool(_HEADING.match(line)))


def _starts_list(line: str) -> bool:
    """A list interrupts a paragraph only with a non-empty item; an ordered one only when it starts at 1."""
    marker, _, rest = line.strip().partition(" ")
    return bool(rest.strip()) and (not marker[:-1].isdigit() or marker[:-1] == "1")


def _is_opening(fence: re.Match[str]) -> bool:
    return not (fence[1][0] == "`" and "`" in fence[2])


def _is_table_rule(line: str) -> bool:
    return "|" in line and "-" in line and not set(line.strip()) - set("|-: ")
