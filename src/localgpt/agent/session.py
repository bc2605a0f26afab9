"""The session file: every message of a conversation, appended as it is said, durable after each round of tools.

A torn last line (a crash in the middle of a write) is set aside in `ID.jsonl.torn` and reported. When the disk is full
the conversation goes on; what could not be written waits in memory and is written first when there is space again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Protocol

from localgpt.agent.entries import Entry, entry_line, header_fault, header_line, read_entry, read_line
from localgpt.errors import ExitStatus, LocalGptError

_ID: Final = re.compile("[A-Za-z0-9_-]{1,128}")


class SessionError(LocalGptError):
    """A session's file cannot be used."""

    code: ClassVar[str] = "session"


class BadSessionId(SessionError):  # noqa: N818 -- named after the condition
    """A session id is not 1 to 128 letters, digits, `_` or `-`."""

    code = "session.bad-id"
    exit_status = ExitStatus.USAGE


class SessionUnreadable(SessionError):  # noqa: N818 -- named after the condition
    """The file is no session of this format."""

    code = "session.unreadable"


class SessionBusy(SessionError):  # noqa: N818 -- named after the condition
    """Another process has this session open."""

    code = "session.busy"


class SessionExists(SessionError):  # noqa: N818 -- named after the condition
    """A new session would write into the file of an old one."""

    code = "session.exists"


class Disk(Protocol):
    """Where lines go."""

    def write(self, fd: int, data: bytes) -> int:
        """Append; returns the number of bytes taken."""

    def sync(self, fd: int) -> None:
        """Make what was written durable."""


class OsDisk:
    """The real disk."""

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a session file held. `warning` is "" when every line was understood."""

    entries: tuple[Entry, ...]
    warning: str


class SessionFile:
    """One session's file, created at the first message. Not shared between threads or processes."""

    def __init__(self, directory: str, session_id: str, project: str, now_ms: Callable[[], int], disk: Disk) -> None:
        if not _ID.fullmatch(session_id):
            raise BadSessionId(f"{session_id[:40]!r} is no session id: 1 to 128 letters, digits, _ or -")
        self._path = Path(directory) / f"{session_id}.jsonl"
        self._id, self._project, self._now_ms, self._disk = session_id, project, now_ms, disk
        self._fd: int | None = None
        self._size = 0
        self._backlog: list[bytes] = []
        self.trouble = ""  #: why lines wait in memory; "" when all are on the disk

    def load(self, *, resume: bool) -> Loaded:
        """Open the file of an earlier run and read it; without one there is nothing to read.

        Raises:
            SessionExists: `resume` is false and there is one.
            SessionBusy: another process has it open.
            SessionUnreadable: it is not a session of this format.
        """
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return Loaded((), "")
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from error
        if not resume:
            os.close(fd)
            raise SessionExists(f"{self._path} already exists", cure="continue it with `localgpt chat --continue`")
        self._lock(fd)
        self._fd = fd
        os.fchmod(fd, 0o600)
        return self._read(fd)

    def append(self, *entries: Entry) -> None:
        """Write `entries` to the file, after what waits; what cannot be written waits, and `trouble` says why."""
        self._backlog += [entry_line(entry) for entry in entries]
        self._flush()

    def sync(self) -> None:
        """Make everything that was appended durable, or set `trouble`."""
        self._flush()
        if self._fd is not None and not self.trouble:
            try:
                self._disk.sync(self._fd)
            except OSError as error:
                self._failed(error)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    # --- writing ------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if not self._backlog:
            return
        try:
            fd = self._create() if self._fd is None else self._fd
            data = b"".join(self._backlog)
            self._write_all(fd, data)
        except OSError as error:
            self._failed(error)
            return
        self._backlog.clear()
        self.trouble = ""

    def _write_all(self, fd: int, data: bytes) -> None:
        """Append `data` whole or not at all: half a line would be torn."""
        done = 0
        try:
            while done < len(data):
                done += self._disk.write(fd, data[done:])
        except OSError:
            if done:
                os.ftruncate(fd, self._size)
            raise
        self._size += len(data)

    def _create(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o600)
        try:
            self._lock(fd)
            self._write_all(fd, header_line(self._id, self._project, self._now_ms()))
            self._disk.sync(fd)
            _sync_folder(self._path.parent)
        except BaseException:
            os.close(fd)
            self._path.unlink(missing_ok=True)
            self._size = 0
            raise
        self._fd = fd
        return fd

    def _failed(self, error: OSError) -> None:
        what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else (error.strerror or str(error))
        self.trouble = f"the session could not be saved to {self._path} ({what}); it goes on in memory"

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise SessionBusy(
                f"the session {self._id} is open in another program", cure="end that one, or start a new session"
            ) from None

    # --- reading ------------------------------------------------------------------------------------------------

    def _read(self, fd: int) -> Loaded:
        with os.fdopen(os.dup(fd), "rb") as file:
            file.seek(0)
            data = file.read()
        lines = data.split(b"\n")
        found = [read_line(line) for line in lines]
        whole = next((i for i in range(len(found), 0, -1) if found[i - 1] is not None), 0)
        if whole == len(lines):  # whole but for its line feed
            self._backlog.append(b"\n")
        self._size = min(len(data), sum(map(len, lines[:whole])) + whole)
        warnings = [self._set_aside(fd, data[self._size :])] if self._size < len(data) else []
        if not whole:
            self._backlog.append(header_line(self._id, self._project, self._now_ms()))
        elif fault := header_fault(found[0], self._id):
            raise self._unreadable(fault)
        broken = sum(item is None and line.strip() != b"" for item, line in zip(found[:whole], lines, strict=False))
        warnings += [f"{broken} lines of the session are not JSON and were skipped"] if broken else []
        entries = [read_entry(item) for item in found[1:whole] if item is not None]
        return Loaded(tuple(entry for entry in entries if entry is not None), "; ".join(filter(None, warnings)))

    def _set_aside(self, fd: int, torn: bytes) -> str:
        """Move a torn end into `ID.jsonl.torn`; when that fails it stays, closed with a line feed, and is skipped."""
        if not torn.strip():
            os.ftruncate(fd, self._size)
            return ""
        aside = self._path.with_suffix(".jsonl.torn")
        try:
            out = os.open(aside, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.write(out, torn + b"\n")
                os.fsync(out)
            finally:
                os.close(out)
            os.ftruncate(fd, self._size)
        except OSError as error:
            self._size += len(torn)
            self._backlog.append(b"\n")
            return f"the last line of the session is torn and could not be set aside ({error.strerror})"
        return f"the last line of the session was torn ({len(torn)} bytes); it is kept in {aside}"

    def _unreadable(self, why: str) -> SessionUnreadable:
        return SessionUnreadable(f"{self._path} cannot be continued: {why}", cure="start a new session")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
