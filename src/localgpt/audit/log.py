"""The writer. An entry is durable before `append` returns; after the first failure nothing is appended any more.

Several processes of one user share one log. Each append holds the lock (a file of its own), first follows what the
others have appended, then writes one line with one `write` and one `fdatasync`. Nothing is ever retried: after a failed
sync the kernel may have dropped the data and forgotten the error.

Source: docs/spec/audit-log.md; "PostgreSQL's fsync() surprise" (LWN 752063) on why a sync is not retried.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from localgpt import __version__, canon
from localgpt.audit.entry import ORIGIN, encode_entry, entry_key, genesis, leaf_hash
from localgpt.audit.errors import HeadSpoiled, LogFull, LogLocked, LogPoisoned, LogTruncated, TamperError
from localgpt.audit.files import LogFiles
from localgpt.audit.head import Head, Heads, head_key
from localgpt.audit.lines import Position, follow, position_of
from localgpt.audit.system import Clock, Disk, SystemClock, SystemDisk
from localgpt.crypto import DeviceKey, tagged_mac

LOCK_WAIT_S: Final = 2.0
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CURE: Final = "effects stay off; free space or mend the disk, look at `localgpt audit verify`, and start again"


class AuditLog:
    """One process's way to append. Threads may share it; a forked child may not; signal handlers must not call it."""

    def __init__(self, files: LogFiles, key: DeviceKey, clock: Clock, disk: Disk, lock_wait_s: float) -> None:
        self._files = files
        self._head_key = head_key(key)
        self._entry_key = entry_key(key)
        self._argv_key = key.subkey("localgpt audit argv v1")
        self._clock = clock
        self._disk = disk
        self._lock_wait_s = lock_wait_s
        self._thread_lock = threading.Lock()
        self._pid = os.getpid()
        self._position = Position(-1, 0, genesis())
        self._appended = 0
        self._poison: LogPoisoned | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        key: DeviceKey,
        clock: Clock | None = None,
        disk: Disk | None = None,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> AuditLog:
        """Open or create the log in `directory`, recover a torn tail, and append `log.open`.

        Raises:
            LogUnopenable: a directory or file cannot be created or opened.
            LogLocked: another process is stuck in an append.
            TamperError: the log is not what was acknowledged (its leaves say how).
            LogPoisoned: the first entry could not be made durable.
        """
        files = LogFiles(directory)
        log = cls(files, key, clock or SystemClock(), disk or SystemDisk(), lock_wait_s)
        try:
            with log._locked():
                heads = files.open_log(log._head_key)
                log._position = position_of(heads.newest, files.log)
                log._mend(heads)
                files.make_reserve()
                log._catch_up()
            log.append("log.open", origin=ORIGIN, log_id=secrets.token_hex(16), program=__version__, pid=os.getpid())
        except BaseException:
            files.close()
            raise
        return log

    @property
    def failure(self) -> str:
        """Why nothing can be appended any more; "" while all is well."""
        return "" if self._poison is None else self._poison.message

    def append(self, kind: str, *, session: str = "", **fields: object) -> int:
        """Append one entry and return its number once it is durable. Fields that are None are left out.

        Raises:
            EntryInvalid: an unknown kind or field, or a wrong value; the log stays usable.
            LogLocked: another process held the lock too long; the log stays usable.
            LogPoisoned: (LogFull among them) this entry is not acknowledged, and no later one will be.
        """
        with self._thread_lock:
            if self._poison is not None:
                raise type(self._poison)(self._poison.message, cure=self._poison.cure)
            if os.getpid() != self._pid:
                raise self._poisoned("a forked process may not append with its parent's log")
            with self._locked():
                try:
                    self._catch_up()
                except TamperError as error:
                    raise self._poisoned(error.message) from error
                self._append(kind, session, fields)
                return self._position.seq

    def argv_fields(self, argv: Sequence[str]) -> dict[str, str]:
        """What the log keeps of an argv: its first word, and a salted digest under which equal argv are equal."""
        words: list[canon.Json] = [word.encode("utf-8", "backslashreplace").decode() for word in argv]
        digest = tagged_mac(self._argv_key, "localgpt.audit.argv/v1", canon.encode(words)).hex()[:32]
        return {"argv0": argv[0] if argv and argv[0] else "-", "argv_hmac": digest}

    def close(self) -> None:
        """Append `log.close` if that is still possible, make the head durable, release everything."""
        try:
            if self._poison is None and os.getpid() == self._pid:
                self.append("log.close", appended=self._appended)
                os.fsync(self._files.head)
        finally:
            self._files.close()

    # --- under the lock -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = time.monotonic() + self._lock_wait_s
        while True:
            try:
                fcntl.flock(self._files.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    message = f"another process has held {self._files.lock_path} for {self._lock_wait_s} s"
                    raise LogLocked(message, cure="end the localgpt process that hangs, then try again") from error
                time.sleep(0.0005)  # a lock has no event to wait for with a deadline
        try:
            yield
        finally:
            fcntl.flock(self._files.lock, fcntl.LOCK_UN)

    def _mend(self, heads: Heads) -> None:
        """Write a slot again that an interrupted write spoiled: with both, the next reader can judge the end.

        Raises:
            TamperError: no interrupted write explains it.
            LogPoisoned
        """
        if heads.spoiled is None:
            return
        try:
            tail = follow(self._files.log, self._position, self._entry_key)
            if not heads.accounts_for(tail.position.seq):
                message = f"a slot of the head was changed, and entry {heads.next_seq} is gone"
                raise HeadSpoiled(message, cure="`localgpt audit verify` tells more; to go on, move the directory away")
            self._disk.sync(self._files.log)  # the head never leads the durable log
            there = next(place for place in (tail.position, tail.before) if place.seq % 2 == heads.spoiled)
            head = Head(there.seq, there.end, there.leaf)
            self._disk.write_head(self._files.head, head.encode(self._head_key), head.offset)
            os.fsync(self._files.head)
        except OSError as error:
            raise self._poisoned(f"its head cannot be mended: {error.strerror}") from error

    def _catch_up(self) -> None:
        """Follow what other processes appended since, and cut what one of them left torn.

        Raises:
            TamperError, LogPoisoned
        """
        try:
            size = self._files.checked_size()
            if size == self._position.end:
                return
            if size < self._position.end:
                raise LogTruncated(f"the log has {size} bytes where {self._position.end} were acknowledged")
            tail = follow(self._files.log, self._position, self._entry_key)
        except OSError as error:
            raise self._poisoned(f"it cannot be read: {error.strerror}") from error
        self._position = tail.position
        if tail.torn:
            self._cut(tail.torn)

    def _cut(self, torn: bytes) -> None:
        try:
            digest = self._files.quarantine(self._position.end, torn)
            os.ftruncate(self._files.log, self._position.end)
        except OSError as error:
            raise self._poisoned(f"a torn entry cannot be set aside: {error.strerror}") from error
        fields = {"cut_bytes": len(torn), "cut_sha256": digest, "reason": "torn-tail"}
        self._append("log.recovered", "", fields)

    def _append(self, kind: str, session: str, fields: dict[str, object]) -> None:
        line = self._encode(kind, session, fields)
        try:
            written = self._disk.write(self._files.log, line + b"\n")
        except OSError as error:
            raise self._write_failed(kind, error) from error
        if written != len(line) + 1:
            raise self._write_failed(kind, OSError(errno.ENOSPC, "only a part of the entry could be written"))
        self._make_durable(line)
        self._appended += 1

    def _make_durable(self, line: bytes) -> None:
        try:
            self._disk.sync(self._files.log)
        except OSError as error:
            raise self._poisoned(f"the log could not be made durable: {error.strerror}") from error
        before = self._position
        self._position = Position(before.seq + 1, before.end + len(line) + 1, leaf_hash(line))
        head = Head(self._position.seq, self._position.end, self._position.leaf)
        try:
            self._disk.write_head(self._files.head, head.encode(self._head_key), head.offset)
        except OSError as error:
            raise self._poisoned(f"the head could not be written: {error.strerror}") from error

    def _encode(self, kind: str, session: str, fields: dict[str, object]) -> bytes:
        return encode_entry(
            key=self._entry_key,
            seq=self._position.seq + 1,
            ts_us=self._clock.now_us(),
            mono_us=self._clock.mono_us(),
            boot=self._clock.boot(),
            session=session,
            kind=kind,
            fields=fields,
            prev=self._position.leaf,
        )

    def _write_failed(self, kind: str, error: OSError) -> LogPoisoned:
        """Without space: take back the partial line, which was never synced, and say so in the reserve's space."""
        if error.errno not in _NO_SPACE:
            return self._poisoned(f"an entry could not be written: {error.strerror}")
        full = LogFull(f"the disk is full ({error.strerror}): {self._files.directory}", cure=_CURE)
        with contextlib.suppress(OSError, LogPoisoned):
            self._files.release_reserve()
            os.ftruncate(self._files.log, self._position.end)
            line = self._encode("log.full", "", {"wanted": kind})
            if self._disk.write(self._files.log, line + b"\n") == len(line) + 1:
                self._make_durable(line)
        self._poison = full
        return full

    def _poisoned(self, message: str) -> LogPoisoned:
        self._poison = LogPoisoned(f"the audit log cannot be written: {message}", cure=_CURE)
        return self._poison
