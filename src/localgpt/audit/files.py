"""The files of a log's directory, and the descriptors of a writer.

NNNNNNNNNNNNNNNNNNNN.log   entries, 20 digits: the number of the first one in it
checkpoints                signed notes, one for each closed epoch
epoch                      the open epoch: its secret key, where it begins, the compact range up to there
epoch.next                 its successor's, while an epoch is being closed
head                       the last acknowledged entry, authenticated
lock                       held for each commit
reserve                    space for the last entry on a full disk
bodies/                    encrypted details, a file and a key for each session
quarantine/                what recovery cut
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from localgpt.audit.disk import FLAGS, Disk, write_file
from localgpt.audit.errors import LogReplaced, LogUnopenable
from localgpt.crypto import sha256_hex

HEAD_NAME: Final = "head"
CHECKPOINTS_NAME: Final = "checkpoints"
EPOCH_NAME: Final = "epoch"
NEXT_EPOCH_NAME: Final = "epoch.next"
RESERVE_BYTES: Final = 256 * 1024
CURE: Final = "make it a directory of yours with mode 700 on a writable disk, or set LOCALGPT_STATE_DIR"
_SEGMENT: Final = re.compile(r"([0-9]{20})\.log", re.ASCII)


def segment_name(first: int) -> str:
    """The name of the segment whose first entry is `first`."""
    return f"{first:020}.log"


LOG_NAME: Final = segment_name(0)


def segments(directory: Path) -> list[int]:
    """The numbers of the first entries of all segments, in order; empty when there is no directory.

    Raises:
        LogUnopenable
    """
    try:
        names = [each.name for each in directory.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unopenable(directory, error) from error
    return sorted(int(match[1]) for match in map(_SEGMENT.fullmatch, names) if match)


def unopenable(directory: Path, error: OSError) -> LogUnopenable:
    """What an `OSError` on opening means."""
    return LogUnopenable(f"the audit log cannot be opened: {error.filename or directory}: {error.strerror}", cure=CURE)


@contextmanager
def reading(path: Path) -> Iterator[int | None]:
    """A descriptor to read from, or None when there is no such file.

    Raises:
        LogUnopenable
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | FLAGS)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise LogUnopenable(f"{path} cannot be read: {error.strerror}", cure="make it readable for you") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_bytes(path: Path, at_most: int) -> bytes | None:
    """A small file's content, None when there is none.

    Raises:
        LogUnopenable
    """
    with reading(path) as descriptor:
        try:
            return None if descriptor is None else os.pread(descriptor, at_most, 0)
        except OSError as error:
            raise unopenable(path, error) from error


class WriterFiles:
    """What one writer holds open: the lock always, the newest segment and the head once the log is open."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        """Make the directory (mode 0700) and open its lock.

        Raises:
            LogUnopenable
        """
        self.directory = directory
        self.disk = disk
        self.lock_path = directory / "lock"
        self.head_path = directory / HEAD_NAME
        self.epoch_path = directory / EPOCH_NAME
        self.next_epoch_path = directory / NEXT_EPOCH_NAME
        self.checkpoints_path = directory / CHECKPOINTS_NAME
        self._reserve_path = directory / "reserve"
        self.log = self.head = -1
        self.segment = -1
        self._log_name = ""
        self._identity = -1, -1
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | FLAGS, 0o600)
        except OSError as error:
            raise unopenable(directory, error) from error

    def open_segment(self, first: int, *, create: bool = False) -> None:
        """Open a segment to append to, in place of the one that was open; a created one is durable as a name.

        Raises:
            OSError
        """
        path = self.directory / segment_name(first)
        flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT | os.O_EXCL if create else 0)
        descriptor = self.disk.open(path, flags)
        if create:
            self.disk.sync_directory(self.directory)
        if self.log >= 0:
            os.close(self.log)
        self.log, self.segment, self._log_name = descriptor, first, os.fspath(path)
        status = os.fstat(descriptor)
        self._identity = status.st_ino, status.st_dev

    def open_head(self) -> None:
        """Open the head, which exists.

        Raises:
            OSError
        """
        if self.head >= 0:
            os.close(self.head)
        self.head = self.disk.open(self.head_path, os.O_RDWR)

    def checked_size(self) -> int:
        """The segment's size, after checking that it still is the file that others would read.

        Raises:
            LogReplaced
            OSError
        """
        try:
            there = os.lstat(self._log_name)
        except FileNotFoundError as error:
            raise LogReplaced(f"{self._log_name} was removed while it was in use") from error
        if (there.st_ino, there.st_dev) != self._identity:
            raise LogReplaced(f"{self._log_name} was replaced while it was in use")
        if os.fstat(self.lock).st_nlink == 0:
            raise LogReplaced(f"{self.lock_path} was removed while it was in use")
        return there.st_size

    def make_reserve(self) -> None:
        """Keep some space back for the last entry. Without space there is no reserve; appending will tell."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._reserve_path, os.O_RDWR | os.O_CREAT | FLAGS, 0o600)
            try:
                if os.fstat(descriptor).st_size < RESERVE_BYTES:
                    os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)

    def release_reserve(self) -> None:
        """Give the reserve's space back to the disk."""
        self.disk.unlink(self._reserve_path)

    def quarantine(self, name: str, torn: bytes) -> str:
        """Keep what recovery cuts, durably. Returns its hex SHA-256.

        Raises:
            OSError
        """
        digest = sha256_hex(torn)
        folder = self.directory / "quarantine"
        folder.mkdir(mode=0o700, exist_ok=True)
        write_file(self.disk, folder / f"{name}-{digest[:16]}.bin", torn)
        self.disk.sync_directory(folder)
        self.disk.sync_directory(self.directory)
        return digest

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in (self.log, self.head, self.lock):
            if descriptor >= 0:
                os.close(descriptor)
        self.log = self.head = self.lock = -1
