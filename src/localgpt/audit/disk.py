"""The clock and the system calls of the writer, as arguments, so that tests can fail, stop and record them anywhere.

Reading goes past this: it changes nothing that a power cut could tear.
"""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from typing import Final, Protocol

FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC


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
    """Every call that changes something on the disk."""

    def open(self, path: Path, flags: int) -> int:
        """Open, or create with mode 0600; never through a symbolic link."""
        ...

    def write(self, descriptor: int, data: bytes) -> int:
        """Append; returns the number of bytes written."""
        ...

    def write_at(self, descriptor: int, data: bytes, offset: int) -> int:
        """Write in place; returns the number of bytes written."""
        ...

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file."""
        ...

    def sync(self, descriptor: int) -> None:
        """Return when everything written before is durable."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Return when the names in a directory are durable."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Put a file in another's place."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a name; nothing happens when it is not there."""
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

    def open(self, path: Path, flags: int) -> int:
        return os.open(path, flags | FLAGS, 0o600)

    def write(self, descriptor: int, data: bytes) -> int:
        return os.write(descriptor, data)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> int:
        return os.pwrite(descriptor, data, offset)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        _sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)


_sync = getattr(os, "fdatasync", os.fsync)


def write_file(disk: Disk, path: Path, data: bytes) -> None:
    """Create or replace a file's content, durably; the content itself is not replaced in one step.

    Raises:
        OSError
    """
    descriptor = disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_whole(disk, descriptor, data)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(disk: Disk, path: Path, data: bytes) -> None:
    """Put a new file in the place of `path`, durably and in one step.

    Raises:
        OSError
    """
    beside = path.with_name(f"{path.name}.new")
    write_file(disk, beside, data)
    disk.rename(beside, path)
    disk.sync_directory(path.parent)


def write_whole(disk: Disk, descriptor: int, data: bytes) -> None:
    """Append all of `data` or fail.

    Raises:
        OSError: ENOSPC when only a part could be written.
    """
    if disk.write(descriptor, data) != len(data):
        raise short_write()


def short_write() -> OSError:
    """What a write that was cut short means."""
    import errno  # noqa: PLC0415 -- only when it happens

    return OSError(errno.ENOSPC, "only a part could be written")


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", "")[:16]
    except OSError:
        return "unknown"
