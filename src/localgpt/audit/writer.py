"""The writer: everything that changes a log, under its lock, in the order that a power cut may interrupt anywhere.

One commit is one `write` of one or more whole lines, one `fdatasync`, then the head, then the answer. Nothing is ever
retried: after a failed sync the kernel may have dropped the data and forgotten the error.

Source: docs/spec/audit-log.md; "PostgreSQL's fsync() surprise" (LWN 752063) on why a sync is not retried.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localgpt import __version__
from localgpt.audit.checkpoints import identity_of, last_checkpoint, new_seed, origin_of, public_key
from localgpt.audit.disk import Clock, Disk, replace_file, short_write
from localgpt.audit.entry import ALGORITHM, FORMAT, entry_key, place_entry
from localgpt.audit.epoch import DEFAULT_LIMITS, Limits, first_epoch
from localgpt.audit.errors import LogFull, LogLocked, LogPoisoned, LogTruncated, TamperError
from localgpt.audit.files import WriterFiles, segments, unopenable
from localgpt.audit.grammar import Spelled, spell
from localgpt.audit.head import HEAD_BYTES, Head, head_key, read_heads
from localgpt.audit.pins import NO_PINS, Pins
from localgpt.audit.scan import Place
from localgpt.audit.sealing import Sealer
from localgpt.audit.tip import Keys, Tip, create_head, find_tip, follow, is_new, load_epoch
from localgpt.crypto import DeviceKey
from localgpt.crypto.merkle import leaf_hash

LOCK_WAIT_S: Final = 2.0
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CURE: Final = "effects stay off; free space or mend the disk, look at `localgpt audit verify`, and start again"


@dataclass(frozen=True, slots=True)
class Replaced:
    """The log before this one: its name and what was known of its end. `reason`: why it could not go on."""

    reason: str
    origin: str
    size: int
    leaf: str

    def fields(self) -> dict[str, object]:
        """As `log.create` takes them."""
        known = {"previous_size": self.size, "previous_leaf": self.leaf} if self.size else {}
        return {"reason": self.reason, "previous_origin": self.origin or None, **known}


class Writer:
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
        self.files = WriterFiles(directory, disk)
        self.poison: LogPoisoned | None = None
        self.locked_since: float | None = None  #: monotonic seconds since when this writer has had the lock
        self._disk, self._clock, self._key = disk, clock, key
        self._keys = Keys(entry_key(key), head_key(key))
        self._pins = pins
        self._lock_wait_s = lock_wait_s
        self._limits = limits
        self._sealer = Sealer(self.files, key, clock)
        self._tip: Tip

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

    def _header(self, replaces: Replaced | None = None) -> list[Spelled]:
        """The entry that a segment begins with, when it is still empty."""
        tip = self._tip
        if tip.place.end:
            return []
        fields: dict[str, object] = {"format": FORMAT, "algorithm": ALGORITHM, "origin": tip.epoch.origin}
        if tip.place.seq >= 0:
            return [spell("log.segment", "", fields)]
        fields |= {
            "identity": str(identity_of(self._key, tip.epoch.origin)),
            "epoch_key": public_key(tip.epoch.seed).hex(),
            "program": __version__,
            **({} if replaces is None else replaces.fields()),
        }
        return [spell("log.create", "", fields)]

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

    def _append(self, batch: Sequence[Spelled]) -> int:
        """Write lines, sync, write the head; returns the last one's number.

        Raises:
            LogPoisoned
        """
        if not batch:
            return self._tip.place.seq
        lines, leaves = self._place(batch)
        data = b"\n".join(lines) + b"\n"
        try:
            if self._disk.write(self.files.log, data) != len(data):
                raise short_write()
        except OSError as error:
            raise self._write_failed(batch[0].kind, error) from error
        self._make_durable(lines, leaves, len(data))
        return self._tip.place.seq

    def _place(self, batch: Sequence[Spelled]) -> tuple[list[bytes], list[bytes]]:
        """The lines, and their leaves."""
        seq, prev = self._tip.place.seq, self._tip.place.leaf
        clock, key, boot = self._clock, self._keys.entry, self._clock.boot()
        lines, leaves = [], []
        for seq, each in enumerate(batch, seq + 1):  # noqa: B020 -- from where the log ends
            line = place_entry(each, key, boot=boot, mono_us=clock.mono_us(), prev=prev, seq=seq, ts_us=clock.now_us())
            leaf = leaf_hash(line)
            prev = leaf.hex()
            lines.append(line)
            leaves.append(leaf)
        return lines, leaves

    def _make_durable(self, lines: Sequence[bytes], leaves: Sequence[bytes], size: int) -> None:
        try:
            self._disk.sync(self.files.log)
        except OSError as error:
            raise self._poisoned(f"the log could not be made durable: {error.strerror}") from error
        tip = self._tip
        for leaf in leaves:
            tip.frontier.add(leaf)
        before = tip.place
        tip.place = Place(before.seq + len(lines), before.segment, before.end + size, leaves[-1].hex())
        try:
            self._write_head()
            self._pins.hold_entries(tip.epoch.origin, tip.place.seq, lines)
        except OSError as error:
            raise self._poisoned(f"the head could not be written: {error.strerror}") from error
        except LogPoisoned as error:
            self.poison = error
            raise

    def _write_head(self) -> None:
        tip = self._tip
        place = tip.place
        head = Head(tip.commits, place.seq, place.segment, place.end, place.leaf)
        slot = head.encode(self._keys.head)
        if self._disk.write_at(self.files.head, slot, head.slot * len(slot)) != len(slot):
            raise short_write()
        other = tip.image[: len(slot)] if head.slot else tip.image[len(slot) :]
        tip.image = other + slot if head.slot else slot + other
        tip.commits += 1

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

    # --- failures -----------------------------------------------------------------------------------------------

    def _write_failed(self, kind: str, error: OSError) -> LogPoisoned:
        """Without space: take back the partial line, which was never synced, and say so in the reserve's space."""
        if error.errno not in _NO_SPACE:
            return self._poisoned(f"an entry could not be written: {error.strerror}")
        full = LogFull(f"the disk is full ({error.strerror}): {self.files.directory}", cure=_CURE)
        with contextlib.suppress(OSError, LogPoisoned):
            self.files.release_reserve()
            self._disk.truncate(self.files.log, self._tip.place.end)
            lines, leaves = self._place([*self._header(), spell("log.full", "", {"wanted": kind})])
            data = b"\n".join(lines) + b"\n"
            if self._disk.write(self.files.log, data) == len(data):
                self._make_durable(lines, leaves, len(data))
        self.poison = full
        return full

    def _poisoned(self, message: str) -> LogPoisoned:
        self.poison = LogPoisoned(f"the audit log cannot be written: {message}", cure=_CURE)
        return self.poison

    def close(self) -> None:
        """Close every file."""
        self.files.close()
