"""The log as the rest of the program sees it: `append` returns when the entry is durable, or raises.

A thread of its own writes: callers that come while a commit is under way share the next one, and a disk that does not
answer stops effects after two seconds instead of stopping the program.

Source: docs/spec/audit-log.md.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from localgpt import __version__, canon
from localgpt.audit.appending import Replaced
from localgpt.audit.bodies import Bodies, load_cipher
from localgpt.audit.disk import Clock, Disk, SystemClock, SystemDisk
from localgpt.audit.errors import LogLocked, LogPoisoned, LogStalled
from localgpt.audit.grammar import Spelled, spell
from localgpt.audit.machine_pins import default_pins
from localgpt.audit.pins import Pins
from localgpt.audit.scan import MAX_COMMIT_ENTRIES
from localgpt.audit.writer import LOCK_WAIT_S, Writer
from localgpt.crypto import DeviceKey, tagged_mac
from localgpt.errors import AuditError

STALL_S: Final = 2.0
_GATHERING_S: Final = 0.0004  #: how long a commit waits for callers who took part in the last one
_QUIET_S: Final = 5.0  #: an epoch is closed by age only after this time, so that a short command never waits for it
_CURE: Final = "effects stay off; look at the disk and at `localgpt audit verify`, and start again"


class _Waiting:
    """One entry on its way, and what became of it."""

    __slots__ = ("done", "error", "seq", "spelled")

    def __init__(self, spelled: Spelled) -> None:
        self.spelled = spelled
        self.seq = -1
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class AuditLog:
    """One process's way to append. Threads may share it; a forked child may not; signal handlers must not call it."""

    def __init__(self, writer: Writer, key: DeviceKey) -> None:
        self._writer = writer
        self._bodies = Bodies(writer.files.directory)
        self._argv_key = key.subkey("localgpt audit argv v1")
        self._pid = os.getpid()
        self._poison: LogPoisoned | None = None
        self._appended = 0
        self._opened = time.monotonic()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        key: DeviceKey,
        clock: Clock | None = None,
        disk: Disk | None = None,
        pins: Pins | None = None,
        lock_wait_s: float = LOCK_WAIT_S,
        replaces: Replaced | None = None,
    ) -> AuditLog:
        """Open or create the log in `directory`, recover a torn tail, and append `log.open`.

        `pins`: those of this machine when not given; `replaces`: the log in whose place a new one begins.

        Raises:
            LogUnopenable: a directory or file cannot be created or opened.
            LogLocked: another process is stuck in an append.
            TamperError: the log is not what was acknowledged (its leaves say how).
            LogPoisoned: the first entry could not be made durable.
        """
        writer = Writer(
            directory,
            key,
            clock or SystemClock(),
            disk or SystemDisk(),
            pins=default_pins(directory, os.environ) if pins is None else pins,
            lock_wait_s=lock_wait_s,
        )
        try:
            opening = spell("log.open", "", {"program": __version__, "pid": os.getpid()})
            writer.open([opening], replaces=replaces)
        except BaseException:
            writer.close()
            raise
        log = cls(writer, key)
        log._thread.start()
        return log

    @property
    def failure(self) -> str:
        """Why nothing can be appended any more; "" while all is well."""
        poison = self._poison or self._writer.poison
        return "" if poison is None else poison.message

    def append(self, kind: str, *, session: str = "", **fields: object) -> int:
        """Append one entry and return its number once it is durable. Fields that are None are left out.

        Raises:
            EntryInvalid: an unknown kind or field, or a wrong value; the log stays usable.
            LogLocked: another process held the lock too long; the log stays usable.
            LogPoisoned: (its leaves among them) this entry is not acknowledged, and no later one will be.
        """
        spelled = spell(kind, session, fields)
        if self._poison is not None:
            raise type(self._poison)(self._poison.message, cure=self._poison.cure)
        if os.getpid() != self._pid:
            raise self._poisoned("a forked process may not append with its parent's log")
        waiting = _Waiting(spelled)
        self._queue.put(waiting)
        self._await(waiting)
        if waiting.error is not None:
            raise _again(waiting.error)
        return waiting.seq

    def argv_fields(self, argv: Sequence[str]) -> dict[str, str]:
        """What the log keeps of an argv: its first word, and a salted digest under which equal argv are equal."""
        words: list[canon.Json] = [word.encode("utf-8", "backslashreplace").decode() for word in argv]
        digest = tagged_mac(self._argv_key, "localgpt.audit.argv/v1", canon.encode(words)).hex()[:32]
        return {"argv0": argv[0] if argv and argv[0] else "-", "argv_hmac": digest}

    def body(self, session: str, details: dict[str, canon.Json]) -> dict[str, object]:
        """Encrypt details under the session's key; gives the fields `body` and `body_bytes` for their entry.

        Raises:
            LogPoisoned: they cannot be written; neither can their entry.
            EntryInvalid: too large.
        """
        try:
            return self._bodies.add(session, details)
        except OSError as error:
            raise self._poisoned(f"the details of an entry could not be written: {error.strerror}") from error

    def close(self) -> None:
        """Append `log.close` if that is still possible, make the head durable, release everything."""
        if os.getpid() != self._pid:
            return  # the parent's
        with contextlib.suppress(AuditError):
            if not self.failure:
                self.append("log.close", appended=self._appended)
        self._queue.put(None)
        self._thread.join(STALL_S)
        if not self._thread.is_alive():
            self._writer.close()

    # --- waiting ------------------------------------------------------------------------------------------------

    def _await(self, waiting: _Waiting) -> None:
        """Wait until the entry is durable, refused, or the disk has not answered for too long.

        Raises:
            LogStalled, LogLocked
        """
        give_up = time.monotonic() + LOCK_WAIT_S + 2 * STALL_S
        while not waiting.done.acquire(timeout=STALL_S / 8):
            now, since = time.monotonic(), self._writer.locked_since
            if since is not None and now - since > STALL_S:
                message = f"the audit log cannot be written: the disk has not answered for {STALL_S:.0f} s"
                self._poison = self._writer.poison = LogStalled(message, cure=_CURE)
                raise LogStalled(message, cure=_CURE)
            if now > give_up:
                raise LogLocked("the audit log is held by others for too long", cure="end the process that hangs")

    def _poisoned(self, message: str) -> LogPoisoned:
        self._poison = LogPoisoned(f"the audit log cannot be written: {message}", cure=_CURE)
        return self._poison

    # --- the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        together = 1
        while True:
            try:
                first = self._queue.get(timeout=_QUIET_S)
            except Empty:
                self._when_quiet()
                continue
            if first is None:
                break
            batch, ended = self._gather(first, together)
            together = len(batch)
            self._commit(batch)
            if ended:
                break
        self._writer.sync_head()

    def _gather(self, first: _Waiting, expected: int) -> tuple[list[_Waiting], bool]:
        """Take what is there, and wait a moment for as many as came last time: one sync then serves them all."""
        batch, deadline = [first], 0.0
        while len(batch) < MAX_COMMIT_ENTRIES:
            try:
                if len(batch) >= expected:
                    following = self._queue.get_nowait()
                else:
                    deadline = deadline or time.monotonic() + _GATHERING_S
                    following = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                break
            if following is None:
                return batch, True
            batch.append(following)
        return batch, False

    def _commit(self, batch: list[_Waiting]) -> None:
        error: BaseException | None = None
        first = -1
        try:
            first = self._writer.commit([each.spelled for each in batch], may_close=self._is_long_lived())
            self._appended += len(batch)
        except BaseException as raised:  # noqa: BLE001 -- every caller has to learn of it, in its own thread
            error = raised
        for number, each in enumerate(batch):
            each.seq, each.error = first + number, error
            each.done.release()
        if any(each.spelled.kind == "turn.start" for each in batch):
            load_cipher()  # while the model thinks: the first call's details then wait for no import

    def _when_quiet(self) -> None:
        with contextlib.suppress(AuditError):
            if not self.failure and self._writer.is_due():
                self._writer.close_if_due()

    def _is_long_lived(self) -> bool:
        return time.monotonic() - self._opened > _QUIET_S


def _again(error: BaseException) -> BaseException:
    """The same error for one more caller: several threads must not share a traceback."""
    if isinstance(error, AuditError):
        return type(error)(error.message, cure=error.cure)
    return error
