"""A key, a directory, a clock that only tests move, and a short way to write a log."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from localgpt.audit import AuditLog
from localgpt.audit.entry import place_entry
from localgpt.audit.grammar import spell
from localgpt.crypto import DeviceKey
from localgpt.crypto.merkle import leaf_hash as raw_leaf_hash

LOG = f"{0:020}.log"


@dataclass
class SimClock:
    """Ticks one microsecond a look."""

    ticks: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1_700_000_000_000_000))

    def now_us(self) -> int:
        return next(self.ticks)

    def mono_us(self) -> int:
        return next(self.ticks)

    def boot(self) -> str:
        return "b00t"


def encode_entry(*, key, seq, ts_us, mono_us, boot, session, kind, fields, prev) -> bytes:
    """One line without newline, whatever its place and key."""
    spelled = spell(kind, session, fields)
    return place_entry(spelled, key, boot=boot, mono_us=mono_us, prev=prev, seq=seq, ts_us=ts_us)


def leaf_hash(line: bytes) -> str:
    """Hex, of a line without newline."""
    return raw_leaf_hash(line).hex()


def stop(log: AuditLog) -> None:
    """End the writer without a last entry, as a kill does."""
    log._queue.put(None)
    log._thread.join(10)
    log._writer.close()


@pytest.fixture
def key() -> DeviceKey:
    return DeviceKey(bytes(range(32)))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def open_log(directory, key):
    """Open logs and close them at the end, whatever state they are in."""
    opened = []

    def opener(**options) -> AuditLog:
        log = AuditLog.open(directory, key=key, clock=SimClock(), **options)
        opened.append(log)
        return log

    yield opener
    for log in opened:
        stop(log)


@pytest.fixture
def written(directory, open_log):
    """A closed log of nine entries; returns its path."""
    log = open_log()
    for number in range(6):
        log.append("turn.start", session="s1", turn=f"t{number}")
    log.close()
    return directory / LOG
