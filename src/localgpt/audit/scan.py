"""Reading lines in bounded memory and following the chain through them, over all segments of a log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from localgpt.audit.entry import FORMAT, MAX_LINE_BYTES, Link, genesis, read_link
from localgpt.audit.errors import EntryCorrupted
from localgpt.audit.files import reading, segment_name, segments

MAX_COMMIT_ENTRIES: Final = 64
MAX_COMMIT_BYTES: Final = MAX_COMMIT_ENTRIES * MAX_LINE_BYTES
_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """A place between entries. `seq`, `leaf` (hex): of the entry before; `segment`, `end`: the file and where in it.

    Before the first entry: -1, the genesis hash, 0 and 0.
    """

    seq: int
    segment: int
    end: int
    leaf: str


_OPENING: Final = frozenset({"log.create", "log.segment"})
START: Final = Place(-1, 0, 0, genesis())


class Step(NamedTuple):
    """One entry that continues the chain. `line`: without its line feed; `end`: the offset after it in its segment."""

    link: Link
    line: bytes
    segment: int
    end: int

    @property
    def place(self) -> Place:
        """The place after this entry."""
        return Place(self.link.seq, self.segment, self.end, self.link.leaf.hex())


class BrokenAt(EntryCorrupted):
    """The first line that cannot stand where it stands.

    `seq`: the number it should have; `segment`, `offset`: where it begins; `torn`: an interrupted write can have left
    it: it is no entry, lies in the last segment, and nothing follows it or sectors of it were never written.
    """

    def __init__(self, message: str, *, seq: int, segment: int, offset: int, torn: bool) -> None:
        super().__init__(f"entry {seq}: {message}")
        self.seq, self.segment, self.offset, self.torn = seq, segment, offset, torn


class LogReader:
    """A walk over the segments of a directory as they were when it began; it stops at the sizes they had then."""

    def __init__(self, directory: Path, start: Place = START) -> None:
        """Find the segments from `start` on.

        Raises:
            LogUnopenable
        """
        self._directory = directory
        self._start = start
        self._firsts = [first for first in segments(directory) if first >= start.segment]
        self._at = (start.seq, start.segment, start.end, start.leaf)

    @property
    def place(self) -> Place:
        """After the last entry that was given."""
        return Place(*self._at)

    @property
    def exists(self) -> bool:
        """Whether there is any segment."""
        return bool(self._firsts)

    def steps(self) -> Iterator[Step]:
        """Every entry in order.

        Raises:
            BrokenAt: at the first line that is no entry or does not continue the chain.
            LogUnopenable
        """
        if self._firsts and self._firsts[0] != self._start.segment:
            raise self._broken("the segment that holds it is gone", 0, torn=False)
        for first in self._firsts:
            offset = self._start.end if first == self._start.segment else 0
            if first != self._start.segment and first != self.place.seq + 1:
                raise self._broken(f"the next segment begins with entry {first}", 0, torn=False)
            self._at = (self.place.seq, first, offset, self.place.leaf)
            with reading(self._directory / segment_name(first)) as descriptor:
                if descriptor is not None:
                    yield from self._segment(descriptor, first, offset, last=first == self._firsts[-1])

    def _segment(self, descriptor: int, segment: int, offset: int, *, last: bool) -> Iterator[Step]:
        """One file. The body of this loop is most of what reading costs."""
        size = os.fstat(descriptor).st_size
        seq, prev, end = self.place.seq + 1, self.place.leaf, offset
        for line, whole in read_lines(descriptor, offset, size):
            reads = False
            try:
                link = read_link(line, line.decode("utf-8"), whole=whole)
                reads = True
                if link.seq != seq or link.prev != prev or seq == segment or link.kind in _OPENING:
                    check_link(link, seq, prev, segment)
            except (EntryCorrupted, UnicodeDecodeError) as error:
                message = error.message if isinstance(error, EntryCorrupted) else "the line is not UTF-8"
                torn = last and not reads and _can_be_torn(line, size - end)
                raise self._broken(message, end, torn=torn) from error
            end += len(line) + 1
            seq, prev = seq + 1, link.leaf.hex()
            self._at = (seq - 1, segment, end, prev)
            yield Step(link, line, segment, end)

    def _broken(self, message: str, offset: int, *, torn: bool) -> BrokenAt:
        return BrokenAt(message, seq=self.place.seq + 1, segment=self.place.segment, offset=offset, torn=torn)

    def remaining(self) -> int:
        """How many bytes follow `place` in the last segment; 0 when `place` is not in it."""
        if not self._firsts or self.place.segment != self._firsts[-1]:
            return 0
        with reading(self._directory / segment_name(self._firsts[-1])) as descriptor:
            return 0 if descriptor is None else max(0, os.fstat(descriptor).st_size - self.place.end)


def _can_be_torn(line: bytes, remaining: int) -> bool:
    """Whether an interrupted commit can have left `line` with `remaining` bytes from its beginning on."""
    ends = len(line) <= MAX_LINE_BYTES and len(line) + 1 >= remaining
    return remaining <= MAX_COMMIT_BYTES and (ends or b"\x00" in line)


def check_link(link: Link, seq: int, prev: str, segment: int) -> None:
    """Check that an entry is number `seq`, continues `prev`, and begins its segment as it must.

    Raises:
        EntryCorrupted
    """
    if link.seq != seq:
        raise EntryCorrupted(f"entry number {link.seq} stands where {seq} belongs")
    if link.prev != prev:
        raise EntryCorrupted(f"it does not continue entry {seq - 1}")
    opening = {0: "log.create"}.get(seq, "log.segment" if seq == segment else "")
    if opening and link.kind != opening:
        raise EntryCorrupted(f"a segment begins with {opening}")
    if not opening and link.kind in _OPENING:
        raise EntryCorrupted(f"{link.kind} does not begin a segment")


def check_format(fields: object) -> None:
    """Check the format that a segment's first entry names.

    Raises:
        EntryCorrupted
    """
    named = fields.get("format") if isinstance(fields, dict) else None
    if named != FORMAT:
        raise EntryCorrupted(f"the format is {named!r}; this program reads {FORMAT}")


def read_lines(descriptor: int, start: int, stop: int) -> Iterator[tuple[bytes, bool]]:
    """Yield lines from `start` to `stop` without their line feeds, and whether there was one.

    Only the last may lack it. A line beyond the limit ends the reading.
    """
    rest, at = b"", start
    while at < stop:
        chunk = os.pread(descriptor, min(_CHUNK, stop - at), at)
        if not chunk:
            break
        at += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line, True
        if len(rest) > MAX_LINE_BYTES:
            break
    if rest:
        yield rest, False
