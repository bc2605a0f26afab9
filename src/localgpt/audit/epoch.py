"""The open epoch: its number and secret key, where it began, and the compact range up to there.

The file is replaced in one step when an epoch is closed, and the old one's bytes are overwritten: who takes the disk
afterwards cannot sign for an epoch that is over. It is also where a writer begins to read, so that opening costs no
more for a long log than for a short one; what it says is compared with the last signed checkpoint.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from localgpt import canon
from localgpt.audit.disk import Disk
from localgpt.audit.errors import EpochSpoiled
from localgpt.audit.scan import START, Place
from localgpt.crypto.merkle import Frontier

_FORMAT: Final = "localgpt.audit.epoch/v2"
_HEX64: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
MAX_EPOCH_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """When an epoch is closed (entries with the one that closes it, seconds), and when a new segment is begun."""

    epoch_entries: int = 1024
    epoch_s: int = 60
    segment_bytes: int = 64 * 1024 * 1024


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Epoch:
    """`number`: from 0; `seed`: of its key; `place`, `range_hashes`: where it begins and the tree before it.

    `boot`, `mono_us`: when it began, by a clock that only counts within one boot; `origin`: the log's.
    """

    origin: str
    number: int
    seed: bytes
    place: Place
    range_hashes: tuple[bytes, ...]
    boot: str
    mono_us: int

    @property
    def size(self) -> int:
        """How many entries are before it."""
        return self.place.seq + 1

    def frontier(self) -> Frontier:
        """The compact range before it."""
        return Frontier(self.size, self.range_hashes)

    def is_full(self, size: int, limits: Limits) -> bool:
        """Whether it is to be closed by count, in a log of `size` entries."""
        return size - self.size >= limits.epoch_entries - 1

    def is_old(self, size: int, limits: Limits, boot: str, mono_us: int) -> bool:
        """Whether it holds anything and is to be closed by age."""
        old = boot != self.boot or not 0 <= mono_us - self.mono_us < limits.epoch_s * 1_000_000
        return old and size > self.size

    def encode(self) -> bytes:
        """The file's content."""
        return canon.encode(
            {
                "boot": self.boot,
                "end": self.place.end,
                "format": _FORMAT,
                "frontier": [each.hex() for each in self.range_hashes],
                "key": self.seed.hex(),
                "leaf": self.place.leaf,
                "mono_us": self.mono_us,
                "number": self.number,
                "origin": self.origin,
                "segment": self.place.segment,
                "seq": self.place.seq,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Epoch:
        """Read the file's content.

        Raises:
            EpochSpoiled
        """
        try:
            body = canon.decode_object(data)
            _same(body.get("format"), _FORMAT)
            seq, segment, end = (_count(body, name, -1) for name in ("seq", "segment", "end"))
            hashes = body["frontier"]
            assert isinstance(hashes, list)
            epoch = cls(
                str(body["origin"]),
                _count(body, "number", 0),
                bytes.fromhex(_hash(body["key"])),
                Place(seq, segment, end, _hash(body["leaf"])),
                tuple(bytes.fromhex(_hash(each)) for each in hashes),
                str(body["boot"]),
                _count(body, "mono_us", 0),
            )
            epoch.frontier()
        except (canon.CanonError, AssertionError, KeyError, ValueError) as error:
            raise EpochSpoiled(f"the file of the open epoch is not what was written: {error}") from error
        return epoch


def first_epoch(origin: str, seed: bytes, boot: str, mono_us: int) -> Epoch:
    """The epoch that a new log begins with."""
    return Epoch(origin, 0, seed, START, (), boot, mono_us)


def erase(disk: Disk, descriptor: int) -> None:
    """Overwrite a file's content, so that a key that was replaced is not found in the blocks it lay in.

    A disk that writes elsewhere (most flash does) keeps the old blocks for a while: a program can do no more.
    """
    size = os.fstat(descriptor).st_size
    disk.write_at(descriptor, bytes(size), 0)
    disk.sync(descriptor)


def _same(found: object, expected: str) -> None:
    if found != expected:
        raise ValueError(f"it is {found!r}, not {expected}")


def _count(body: Mapping[str, canon.Json], name: str, least: int) -> int:
    value = body[name]
    if type(value) is not int or value < least:
        raise ValueError(f"{name} is no count")
    return value


def _hash(value: object) -> str:
    if not isinstance(value, str) or not _HEX64.fullmatch(value):
        raise ValueError("32 bytes in hex expected")
    return value
