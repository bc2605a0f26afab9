"""Cleaning and scanning of text that comes in pieces, with bounded memory; the result does not depend on the pieces.

A piece is worked on up to a place where a cut changes nothing: right after a line feed that no control token, wrapper
tag, terminal sequence or joiner can reach across. Where a text offers no such place for a long time, the cut is made
all the same, and brackets beside it are written with look-alikes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from localgpt.injection.cleaning import cleaned
from localgpt.injection.findings import Finding, Report
from localgpt.injection.folding import fold
from localgpt.injection.outgoing import Leak, screen
from localgpt.injection.visible import MAX_STRING

MAX_HELD: Final = 1 << 20  #: characters
_REACH: Final = 128  #: no token or tag is longer
#: After a line that ends with a letter, a digit or a full stop, before one that begins with a letter or a digit.
_CUT: Final = re.compile(r"[A-Za-z0-9.,]\n(?=[A-Za-z0-9])")
_ROLE: Final = re.compile("(?:human|assistant)", re.IGNORECASE)
_OPENING: Final = re.compile("[<&\\[\\]|\x1b\x80-\x9f]")
_INTRODUCER: Final = re.compile("\x1b[\\]P^_X]|[\x90\x98\x9d-\x9f]")
MAX_ARMOUR: Final = 16_384
_PENDING: Final = 300  #: characters that an open bracket or an assignment may hold an answer back
_MARKS: Final = ("[", "<", "=", ": ")
_BRACKETS: Final = str.maketrans("<>[]|:", "‹›⟦⟧¦꞉")


class StreamCleaner:
    """`cleaned(...)` for a stream: the pieces given out, joined, are the clean text of the pieces fed, joined."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._size = 0
        self._looked = 0
        self.tokens = 0  #: control tokens and tags written with look-alikes so far

    def feed(self, piece: str) -> str:
        """Take a piece; give what is ready."""
        self._held.append(piece)
        self._size += len(piece)
        if self._size - self._looked < 4096 and self._size < MAX_HELD:
            return ""
        text = "".join(self._held)
        cut = _last_cut(text, self._looked)
        if cut == 0 and len(text) >= MAX_HELD:
            return self._forced(text)
        self._keep(text[cut:])
        self._looked = max(0, self._size - MAX_STRING - 2 * _REACH)
        return self._clean(text[:cut])

    def finish(self) -> str:
        """Give what was held back; nothing may be fed after it."""
        text = "".join(self._held)
        self._keep("")
        return self._clean(text)

    def _keep(self, text: str) -> None:
        self._held = [text] if text else []
        self._size = len(text)
        self._looked = 0

    def _clean(self, text: str) -> str:
        result = cleaned(text) if text else None
        self.tokens += result.tokens if result else 0
        return result.text if result else ""

    def _forced(self, text: str) -> str:
        self._keep("")
        clean = self._clean(text)
        return clean[:_REACH].translate(_BRACKETS) + clean[_REACH:-_REACH] + clean[-_REACH:].translate(_BRACKETS)


def _last_cut(text: str, looked: int) -> int:
    """The last place where a cut changes nothing, 0 for none."""
    for match in reversed(list(_CUT.finditer(text, max(0, looked - 2)))):
        at = match.end()
        before = fold(text[max(0, at - _REACH) : at])
        if at > 2 and not _OPENING.search(before) and not _ROLE.match(text, at) and not _in_string(text, at):
            return at
    return 0


def _in_string(text: str, at: int) -> bool:
    """Whether a terminal string might still be open there."""
    return _INTRODUCER.search(text, max(0, at - MAX_STRING - 2), at) is not None


def scan_stream(pieces: Iterable[str], *, overlap: int = 8192, block: int = 1 << 20) -> Report:
    """`scan` for a stream, block by block; neighbouring blocks overlap, so that nothing hides at a border.

    Args:
        pieces: text in pieces of any length.
        overlap: characters that are scanned in both blocks; longer than any phrase or window.
        block: characters scanned at once.
    """
    from localgpt.injection.scanning import scan

    found: dict[tuple[str, int, int, str], Finding] = {}
    milli, offset, held = -99_999, 0, ""
    for piece, last in _blocks(pieces, block):
        text = held + piece
        report = scan(text)
        milli = max(milli, report.milli)
        for each in report.findings:
            moved = replace(each, start=each.start + offset, end=each.end + offset)
            found.setdefault((moved.kind, moved.start, moved.end, moved.view), moved)
        held = "" if last else text[-overlap:]
        offset += len(text) - len(held)
    return Report(tuple(sorted(found.values(), key=lambda each: (each.start, each.end))), milli)


def _blocks(pieces: Iterable[str], block: int) -> Iterable[tuple[str, bool]]:
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        while size > block:
            text = "".join(held)
            yield text[:block], False
            held, size = [text[block:]], size - block
    yield "".join(held), True


class StreamScreen:
    """`screen` for an answer that comes in pieces: what is given out is whole as far as links and secrets go."""

    def __init__(self, canaries: tuple[str, ...] = ()) -> None:
        self._held = ""
        self._canaries = canaries
        self.leaks: list[tuple[Leak, str]] = []  #: what was taken out so far

    def feed(self, piece: str) -> str:
        """Take a piece; give what is ready."""
        self._held += piece
        return self._give(_released(self._held))

    def finish(self) -> str:
        """Give what was held back."""
        return self._give(len(self._held))

    def _give(self, count: int) -> str:
        ready, self._held = self._held[:count], self._held[count:]
        screened = screen(ready, canaries=self._canaries)
        self.leaks += [(leak, what) for leak, _, what in screened.leaks]
        return screened.text


def _released(held: str) -> int:
    """How much of an answer can be given out: up to a space, but not beyond what might become a link or a secret."""
    armour = held.rfind("-----BEGIN")
    if armour >= 0 and "-----END" not in held[armour:] and len(held) - armour < MAX_ARMOUR:
        return armour
    end = max(held.rfind(" "), held.rfind("\n")) + 1
    start = max(0, len(held) - _PENDING)
    marks = [held.find(mark, start) for mark in _MARKS]
    open_at = min((at for at in marks if at >= 0 and "\n" not in held[at:]), default=end)
    return min(end, open_at)
