"""Reading a small file once and replacing one atomically: the only places where this room touches a disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from localgpt.crypto import sha256_hex

Stamp: TypeAlias = "tuple[int, ...] | None"

#: Coarse file times: two writes this close together may carry the same time.
_RACY_NS: Final = 50_000_000


@dataclass(frozen=True, slots=True)
class Read:
    """One file, read once. `data` is None when there is none, or when `error` says why it could not be read."""

    path: Path
    data: bytes | None
    stamp: Stamp
    read_at_ns: int
    error: str = ""

    @property
    def exists(self) -> bool:
        return self.data is not None or bool(self.error)

    def is_current(self, path: Path, limit: int) -> bool:
        """Whether `path` still is what was read: a stat, and the bytes too when the stamp moved or is too fresh."""
        settled = self.stamp is not None and self.read_at_ns - max(self.stamp[-2:]) > _RACY_NS
        if path == self.path and stamp(path) == self.stamp and (settled or self.stamp is None):
            return True
        again = read_once(path, limit)
        return (again.path, again.error, _digest(again.data)) == (self.path, self.error, _digest(self.data))


def read_once(path: Path, limit: int) -> Read:
    """Read at most `limit` + 1 bytes of a regular file; a FIFO or device is never waited for. Does not raise."""
    now = time.time_ns()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Read(path, None, None, now)
    except OSError as error:
        return Read(path, None, stamp(path), now, error.strerror or "cannot be read")
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return Read(path, None, _stamp(status), now, "not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return Read(path, file.read(limit + 1), _stamp(status), now)
    except OSError as error:
        return Read(path, None, stamp(path), now, error.strerror or "cannot be read")
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes, mode: int) -> None:
    """Replace `path` so that a reader, or a machine after a crash, sees the old bytes or the new ones.

    Raises:
        OSError
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold `directory`/lock; the directory is created with mode 0700.

    Raises:
        OSError
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def try_exclusive(directory: Path) -> Iterator[bool]:
    """As `exclusive`, but without waiting: False when somebody else holds it.

    Raises:
        OSError
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        held = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        yield held
    finally:
        os.close(descriptor)


def stamp(path: Path) -> Stamp:
    """What changes when a file is edited or replaced; None when there is none."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _digest(data: bytes | None) -> str:
    return "" if data is None else sha256_hex(data)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
