"""The clock and the system calls of the log writer, as arguments, so that tests can fail and stop them anywhere."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Times for entries. Both inform a reader; the order of entries is that of the file."""

    def now_us(self) -> int:
        """UTC microseconds since 1970."""
        ...

    def mono_us(self) -> int:
        """Microseconds of a clock that never goes back within one boot."""
        ...

    def boot(self) -> str:
        """A name of this boot: up to 64 letters and digits."""
        ...


class Disk(Protocol):
    """What can fail when an entry is made durable."""

    def write(self, descriptor: int, data: bytes) -> int:
        """Append; returns the number of bytes written."""
        ...

    def sync(self, descriptor: int) -> None:
        """Return when everything written before is durable."""
        ...

    def write_head(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write one slot of the head in place."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def mono_us(self) -> int:
        return time.monotonic_ns() // 1000

    def boot(self) -> str:
        return _boot()


class SystemDisk:
    """The real calls. `fdatasync` where there is one: an append changes the size, which it makes durable too."""

    def write(self, descriptor: int, data: bytes) -> int:
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        _sync(descriptor)

    def write_head(self, descriptor: int, data: bytes, offset: int) -> None:
        os.pwrite(descriptor, data, offset)


_sync = getattr(os, "fdatasync", os.fsync)


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", "")[:32]
    except OSError:
        return "unknown"
