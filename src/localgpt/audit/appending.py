"""Appending whole lines durably: one write, one sync, the head, the pins; and what a failure of each means.

Source: docs/spec/audit-log.md; "PostgreSQL's fsync() surprise" (LWN 752063) on why a sync is not retried.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from localgpt import __version__
from localgpt.audit.checkpoints import identity_of, public_key
from localgpt.audit.disk import Clock, short_write
from localgpt.audit.entry import ALGORITHM, FORMAT, entry_key, place_entry
from localgpt.audit.errors import LogFull, LogPoisoned
from localgpt.audit.files import WriterFiles
from localgpt.audit.grammar import Spelled, spell
from localgpt.audit.head import Head, head_key
from localgpt.audit.pins import Pins
from localgpt.audit.scan import Place
from localgpt.audit.tip import Keys, Tip
from localgpt.crypto import DeviceKey
from localgpt.crypto.merkle import leaf_hash

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


class Appender:
    """The end of one log, and how it moves. Everything here is done under the lock."""

    def __init__(self, files: WriterFiles, key: DeviceKey, clock: Clock, pins: Pins) -> None:
        self.files = files
        self.poison: LogPoisoned | None = None
        self._disk, self._clock, self._key, self._pins = files.disk, clock, key, pins
        self._keys = Keys(entry_key(key), head_key(key))
        self._tip: Tip

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
