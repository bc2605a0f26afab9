"""The files of a log's directory: created in an order that a crash cannot make look like an attack.

    00000000000000000000.log   the entries; the name is the number of its first entry
    head                       the last acknowledged entry, authenticated
    lock                       held for each append
    reserve                    space for the last entry on a full disk
    quarantine/                what recovery cut

The head is durable before the log exists, so a log without a head was tampered with.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from localgpt.audit.entry import genesis
from localgpt.audit.errors import HeadMissing, LogMissing, LogReplaced, LogUnopenable
from localgpt.audit.head import HEAD_BYTES, Heads, initial_heads, read_heads
from localgpt.crypto import sha256_hex

LOG_NAME: Final = f"{0:020}.log"
HEAD_NAME: Final = "head"
_RESERVE_BYTES: Final = 256 * 1024
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_CURE: Final = "make it a directory of yours with mode 700 on a writable disk, or set LOCALGPT_STATE_DIR"
_MOVE_AWAY: Final = "`localgpt audit verify` tells more; to go on with a new log, move the audit directory away"


class LogFiles:
    """The open descriptors of one log. `lock` is open from the start; `log` and `head` after `open_log`."""

    def __init__(self, directory: Path) -> None:
        """Make the directory (mode 0700) and open its lock.

        Raises:
            LogUnopenable
        """
        self.directory = directory
        self.log_path = directory / LOG_NAME
        self.lock_path = directory / "lock"
        self._head_path = directory / HEAD_NAME
        self._reserve_path = directory / "reserve"
        self._log_name = os.fspath(self.log_path)  # looked at for every entry
        self.log = self.head = -1
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock = os.open(self.lock_path, _FLAGS | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unopenable(directory, error) from error

    def open_log(self, key: bytes) -> Heads:
        """Open head and log, creating both when neither exists. Called under the lock.

        Raises:
            LogMissing, HeadMissing: only one of them exists, or no slot of the head is authentic.
            LogUnopenable
        """
        try:
            has_log, has_head = os.path.lexists(self.log_path), os.path.lexists(self._head_path)
            if not has_log and not has_head:
                self._create_head(key)
            self.head = self._open_head()
            heads = read_heads(os.pread(self.head, HEAD_BYTES, 0), key)
            if heads is None:
                raise HeadMissing(f"{self._head_path} was not written with this device key", cure=_MOVE_AWAY)
            if not has_log and heads.newest.seq >= 0:
                raise LogMissing(
                    f"{heads.newest.seq + 1} entries were acknowledged and {self.log_path} is gone", cure=_MOVE_AWAY
                )
            self.log = os.open(self.log_path, _FLAGS | os.O_APPEND | (0 if has_log else os.O_CREAT | os.O_EXCL), 0o600)
            if not has_log:
                _sync_directory(self.directory)
        except OSError as error:
            raise _unopenable(self.directory, error) from error
        return heads

    def checked_size(self) -> int:
        """The log's size, after checking that it still is the file that others would read.

        Raises:
            LogReplaced
            OSError
        """
        status = os.fstat(self.log)
        try:
            there = os.lstat(self._log_name)
        except FileNotFoundError as error:
            raise LogReplaced(f"{self.log_path} was removed while it was in use") from error
        if (there.st_ino, there.st_dev) != (status.st_ino, status.st_dev):
            raise LogReplaced(f"{self.log_path} was replaced while it was in use")
        if os.fstat(self.lock).st_nlink == 0:
            raise LogReplaced(f"{self.lock_path} was removed while it was in use")
        return status.st_size

    def make_reserve(self) -> None:
        """Keep some space back for the last entry. Without space there is no reserve; appending will tell."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._reserve_path, _FLAGS | os.O_CREAT, 0o600)
            try:
                if os.fstat(descriptor).st_size < _RESERVE_BYTES:
                    os.posix_fallocate(descriptor, 0, _RESERVE_BYTES)
            finally:
                os.close(descriptor)

    def release_reserve(self) -> None:
        """Give the reserve's space back to the disk."""
        self._reserve_path.unlink(missing_ok=True)

    def quarantine(self, end: int, torn: bytes) -> str:
        """Keep what recovery cuts at `end`, durably. Returns its hex SHA-256.

        Raises:
            OSError
        """
        digest = sha256_hex(torn)
        folder = self.directory / "quarantine"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{end:020}-{digest[:16]}.bin"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(torn)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(folder)
        return digest

    def close(self) -> None:
        """Close every descriptor; safe to call twice."""
        for descriptor in (self.log, self.head, self.lock):
            if descriptor >= 0:
                os.close(descriptor)
        self.log = self.head = self.lock = -1

    def _create_head(self, key: bytes) -> None:
        """Write the head of an empty log under another name first: a torn head must not exist."""
        temporary = self.directory / ".head.new"
        descriptor = os.open(temporary, _FLAGS | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.pwrite(descriptor, initial_heads(key, genesis()), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(self._head_path)
        _sync_directory(self.directory)

    def _open_head(self) -> int:
        try:
            return os.open(self._head_path, _FLAGS)
        except FileNotFoundError as error:
            raise HeadMissing(f"there is a log, but no {self._head_path}", cure=_MOVE_AWAY) from error


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unopenable(directory: Path, error: OSError) -> LogUnopenable:
    return LogUnopenable(f"the audit log cannot be opened: {error.filename or directory}: {error.strerror}", cure=_CURE)
