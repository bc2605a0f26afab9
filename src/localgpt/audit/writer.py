"""The writer: everything that changes a log, under its lock, in the order that a power cut may interrupt anywhere.

One commit is one `write` of one or more whole lines, one `fdatasync`, then the head, then the answer. Nothing is ever
retried: after a failed sync the kernel may have dropped the data and forgotten the error.

Source: docs/spec/audit-log.md; "PostgreSQL's fsync() surprise" (LWN 752063) on why a sync is not retried.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from localgpt.audit.appending import Appender, Replaced
from localgpt.audit.checkpoints import last_checkpoint, new_seed, origin_of, public_key
from localgpt.audit.disk import Clock, Disk, replace_file
from localgpt.audit.epoch import DEFAULT_LIMITS, Limits, first_epoch
from localgpt.audit.errors import LogLocked, LogPoisoned, LogTruncated, TamperError
from localgpt.audit.files import WriterFiles, segments, unopenable
from localgpt.audit.grammar import Spelled, spell
from localgpt.audit.head import HEAD_BYTES, read_heads
from localgpt.audit.pins import NO_PINS, Pins
from localgpt.audit.scan import Place
from localgpt.audit.sealing import Sealer
from localgpt.audit.tip import create_head, find_tip, follow, is_new, load_epoch
from localgpt.crypto import DeviceKey

LOCK_WAIT_S: Final = 2.0


class Writer(Appender):
    """One process's writer. Not for several threads at once: `AuditLog` gives it one."""

    def __init__(
        self,
        directory: Path,
        key: DeviceKey,
        clock: Clock,
        disk: Disk,
        *,
        pins: Pins = NO_PINS,
        lock_wait_s: float = LOCK_WAIT_S,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(WriterFiles(directory, disk), key, clock, pins)
        self.locked_since: float | None = None  #: monotonic seconds since when this writer has had the lock
        self._lock_wait_s = lock_wait_s
        self._limits = limits
        self._sealer = Sealer(self.files, key, clock)

    # --- opening ------------------------------------------------------------------------------------------------

    def open(self, opening: Sequence[Spelled] = (), *, replaces: Replaced | None = None) -> None:
        """Create the log or find its end, finish what was interrupted, and commit `opening`.

        `replaces`: the log in whose place this one begins; only its first entry says so.

        Raises:
            LogUnopenable, LogLocked, LogPoisoned
            TamperError: its leaves say what is not as it was acknowledged.
        """
        try:
            with self._locked():
                if is_new(self.files):
                    create_head(self.files, self._keys.head)
                if not segments(self.files.directory):
                    self._create_epoch()
                self._load()
                self.files.make_reserve()
                header = self._header(replaces)
                self._append([*header, *opening])
        except OSError as error:
            raise unopenable(self.files.directory, error) from error

    def _create_epoch(self) -> None:
        if self.files.epoch_path.exists() and load_epoch(self.files).number == 0:
            return
        if self.files.epoch_path.exists():
            return  # `find_tip` says what is wrong
        seed = new_seed()
        epoch = first_epoch(origin_of(public_key(seed)), seed, self._clock.boot(), self._clock.mono_us())
        replace_file(self._disk, self.files.epoch_path, epoch.encode())

    def _load(self) -> None:
        """Read everything afresh; finish an epoch's end, cut a torn append, write a spoiled slot again.

        Raises:
            TamperError, LogPoisoned, OSError
        """
        found = find_tip(self.files, self._keys)
        tip = self._tip = found.tip
        firsts = segments(self.files.directory)
        self.files.open_segment(firsts[-1] if firsts else 0, create=not firsts)
        self.files.open_head()
        if found.spoiled is not None:
            self._disk.sync(self.files.log)  # the head never leads the durable log
            self._write_head()
            self._disk.sync(self.files.head)
        if found.torn:
            self._cut(found.torn)
        note = self._sealer.resume(tip)
        if note is not None:
            self._pins.hold_checkpoint(note)
            self._write_head()

    def _cut(self, torn: bytes) -> None:
        """Set aside what was never acknowledged, and say so in the log."""
        place = self._tip.place
        digest = self.files.quarantine(f"{place.segment:020}-{place.end}", torn)
        self._disk.truncate(self.files.log, place.end)
        self._disk.sync(self.files.log)
        if self._tip.next_key:
            return  # an epoch's end has to be signed first; nothing follows it in this epoch
        fields = {"cut_bytes": len(torn), "cut_sha256": digest, "reason": "torn-tail"}
        self._append([*self._header(), spell("log.recovered", "", fields)])

    # --- committing ---------------------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._tip.epoch.origin

    def commit(self, batch: Sequence[Spelled], *, may_close: bool = True) -> int:
        """Append entries and return the number of the first once all are durable.

        `may_close`: whether an epoch that is due by age is closed afterwards; one that is full always is.

        Raises:
            LogLocked: another process held the lock too long; the log stays usable.
            LogPoisoned: nothing is acknowledged, now or later.
        """
        if self.poison is not None:
            raise type(self.poison)(self.poison.message, cure=self.poison.cure)
        with self._locked():
            self._refresh()
            first = self._append([*self._header(), *batch]) - len(batch) + 1
            self._close_if_due(by_age=may_close)
            return first

    def is_due(self) -> bool:
        """Whether the open epoch is to be closed by its age."""
        return self._tip.epoch.is_old(self._tip.size, self._limits, self._clock.boot(), self._clock.mono_us())

    def close_if_due(self) -> None:
        """Close the open epoch when it is due.

        Raises:
            LogLocked, LogPoisoned
        """
        with self._locked():
            self._refresh()
            self._close_if_due(by_age=True)

    def sync_head(self) -> None:
        """Make the head durable."""
        with contextlib.suppress(OSError):
            os.fsync(self.files.head)

    # --- the lock, and what others did meanwhile ----------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = time.monotonic() + self._lock_wait_s
        while True:
            try:
                fcntl.flock(self.files.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    message = f"another process has held {self.files.lock_path} for {self._lock_wait_s} s"
                    raise LogLocked(message, cure="end the localgpt process that hangs, then try again") from error
                time.sleep(0.0005)  # a lock has no event to wait for with a deadline
        self.locked_since = time.monotonic()
        try:
            yield
        finally:
            self.locked_since = None
            fcntl.flock(self.files.lock, fcntl.LOCK_UN)

    def _refresh(self) -> None:
        """Follow what other processes did since, and take up what one of them left unfinished.

        Raises:
            LogPoisoned: also when the log is not what was acknowledged.
        """
        tip = self._tip
        try:
            size = self.files.checked_size()
            image = os.pread(self.files.head, HEAD_BYTES, 0)
            if size == tip.place.end and image == tip.image and not tip.next_key:
                return
            if self.files.segment == tip.place.segment and size < tip.place.end:
                raise LogTruncated(f"the log has {size} bytes where {tip.place.end} were acknowledged")
            if not self._followed(image):
                self._load()
        except TamperError as error:
            raise self._poisoned(error.message) from error
        except OSError as error:
            raise self._poisoned(f"it cannot be read: {error.strerror}") from error

    def _followed(self, image: bytes) -> bool:
        """Walk over the others' entries from here; False when more happened than entries."""
        tip = self._tip
        heads = read_heads(image, self._keys.head)
        if heads is None or heads.spoiled is not None or heads.newest.segment != tip.place.segment or tip.next_key:
            return False
        if load_epoch(self.files) != tip.epoch:
            return False
        if follow(self.files, tip, self._keys, heads, last_checkpoint(self.files.checkpoints_path)) or tip.next_key:
            return False
        tip.commits, tip.image = heads.newest.commit + 1, image
        return True

    def _close_if_due(self, *, by_age: bool) -> None:
        """Close the epoch; its entries are acknowledged whatever comes of it, but no later one is if it fails."""
        tip = self._tip
        if not tip.epoch.is_full(tip.size, self._limits) and not (by_age and self.is_due()):
            return
        try:
            self._close_epoch()
        except TamperError as error:
            self._poisoned(error.message)
        except OSError as error:
            self._poisoned(f"an epoch could not be closed: {error.strerror}")
        except LogPoisoned as error:
            self.poison = error

    def _close_epoch(self) -> None:
        tip = self._tip
        key = self._sealer.prepare(tip)
        self._append([spell("epoch.next", "", {"epoch": tip.epoch.number + 1, "key": key})])
        tip.next_key = key
        self._pins.hold_checkpoint(self._sealer.finish(tip))
        if tip.place.end >= self._limits.segment_bytes:
            first = tip.size
            self.files.open_segment(first, create=True)
            tip.place = Place(tip.place.seq, first, 0, tip.place.leaf)

    def close(self) -> None:
        """Close every file."""
        self.files.close()
