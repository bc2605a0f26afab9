"""Reading the log's lines from an offset, in bounded memory, and following the chain through them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from localgpt.audit.entry import MAX_LINE_BYTES, Entry, decode_entry, leaf_hash
from localgpt.audit.errors import EntryCorrupted, HeadMismatch, LogTruncated
from localgpt.audit.head import Head

_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Position:
    """A place between entries: number, end offset and leaf of the entry before it; at first -1, 0 and `genesis()`."""

    seq: int
    end: int
    leaf: str

    def step(self, entry: Entry, size: int) -> Position:
        """The position after `entry`, whose line has `size` bytes with its newline.

        Raises:
            EntryCorrupted: it does not continue the chain here.
        """
        if entry.seq != self.seq + 1:
            raise EntryCorrupted(f"entry number {entry.seq} stands where {self.seq + 1} belongs")
        if entry.prev != self.leaf:
            raise EntryCorrupted(f"entry {entry.seq} does not continue the entry before it")
        return Position(entry.seq, self.end + size, entry.leaf)


def read_lines(descriptor: int, start: int, stop: int | None = None) -> Iterator[bytes]:
    """Yield lines from `start`, newline included; the last may lack it, and one without any is cut at the limit."""
    buffer, at = b"", start
    while stop is None or at < stop:
        chunk = os.pread(descriptor, _CHUNK if stop is None else min(_CHUNK, stop - at), at)
        if not chunk:
            break
        at += len(chunk)
        *whole, buffer = (buffer + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(buffer) > MAX_LINE_BYTES:
            break
    if buffer:
        yield buffer


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the valid log ends, and what follows there: b"", or one record that was never acknowledged.

    `before`: the position one entry earlier; where the walk began when there was none.
    """

    position: Position
    before: Position
    torn: bytes


def follow(descriptor: int, position: Position, key: bytes) -> Tail:
    """Walk from `position` to the end of the file, authenticating each entry with the key of `entry_key`.

    What an interrupted append can leave behind is at most one line, cut or with lost sectors; only that is called torn.

    Raises:
        EntryCorrupted: anything else that is no entry.
        EntryForged: an entry that this device key did not write.
    """
    before = position
    lines = read_lines(descriptor, position.end)
    for line in lines:
        problem = EntryCorrupted("the line has no end")
        entry = None
        try:
            entry = decode_entry(line.removesuffix(b"\n"), key)
        except EntryCorrupted as error:
            problem = error
        if entry is None or not line.endswith(b"\n"):
            if len(line) > MAX_LINE_BYTES or next(lines, None) is not None:
                raise EntryCorrupted(f"after entry {position.seq}: {problem.message}") from problem
            return Tail(position, before, line)
        before, position = position, position.step(entry, len(line))
    return Tail(position, before, b"")


def position_of(head: Head, descriptor: int) -> Position:
    """The position that the head vouches for.

    Raises:
        LogTruncated, HeadMismatch
    """
    size = os.fstat(descriptor).st_size
    if size < head.end:
        raise LogTruncated(
            f"the log has {size} bytes, but {head.end} were acknowledged, up to entry {head.seq}",
            cure="`localgpt audit verify` tells more; to go on with a new log, move the audit directory away",
        )
    if head.seq >= 0:
        start = max(0, head.end - MAX_LINE_BYTES - 1)
        before = os.pread(descriptor, head.end - start, start)
        line = before.removesuffix(b"\n").rsplit(b"\n", 1)[-1]
        if not before.endswith(b"\n") or leaf_hash(line) != head.leaf:
            raise HeadMismatch(
                f"entry {head.seq} is not the one that was acknowledged",
                cure="`localgpt audit verify` finds the first bad entry; to go on, move the audit directory away",
            )
    return Position(max(head.seq, -1), head.end, head.leaf)
