"""From what a walk over the log saw to three verdicts: the head, the pins, and what was found on the way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from localgpt.audit.entry import decode_entry
from localgpt.audit.errors import (
    HeadMismatch,
    HeadMissing,
    HeadSpoiled,
    LogMissing,
    LogTruncated,
    PinMismatch,
    TamperError,
)
from localgpt.audit.head import Heads
from localgpt.audit.pins import PinTier
from localgpt.audit.report import (
    EMPTIED,
    HARMLESS,
    AuditFinding,
    Completeness,
    Freshness,
    LogVerdict,
    Pinned,
    PinReading,
    Report,
)
from localgpt.audit.resume import Trusted
from localgpt.audit.scan import Place
from localgpt.crypto.merkle import leaf_hash

_ENDS: Final = frozenset({LogTruncated.code, LogMissing.code, PinMismatch.code})  #: say that something is missing
_BESIDE: Final = frozenset({PinTier.NONE, PinTier.FILE})  #: this user can change them


class Judgement:
    """Collects findings. `wanted`: the numbers of the entries whose leaves have to be compared."""

    def __init__(
        self,
        directory: Path,
        heads: Heads | None,
        *,
        has_key: bool,
        head_exists: bool,
        pins: Sequence[PinReading],
        previous: str = "",
    ) -> None:
        self._directory, self._heads, self._head_exists = directory, heads, head_exists
        self._pins = tuple(pins)
        self._findings: list[AuditFinding] = []
        self._pinned = [each for pin in pins for each in pin.pinned]
        self._matched: set[Pinned] = set()
        self._origin, self._previous = "", previous
        self._sealed = 0
        self.wanted = {each.size - 1 for each in self._pinned if each.leaf}
        if heads is not None and heads.newest.seq >= 0:
            self.wanted.add(heads.newest.seq)
        if not has_key:
            self.note("audit.no-key", "without the device key the head says nothing")
        elif heads is None and head_exists:
            self.add(HeadMissing("the head was not written with this device key"), None)
        for pin in pins:
            if pin.problem:
                self.note("audit.pin-unreadable", f"{pin.tier}: {pin.problem}")
            if pin.forged:
                self.note("audit.pin-forged", f"{pin.tier}: {pin.forged} records there were not signed by this log")

    def note(self, code: str, detail: str, seq: int | None = None) -> None:
        """Something harmless."""
        self._findings.append(AuditFinding(code, seq, detail))

    def add(self, error: TamperError, seq: int | None) -> None:
        """Something that is not as it was written."""
        self._findings.append(AuditFinding(error.code, seq, error.message))

    # --- on the way ---------------------------------------------------------------------------------------------

    def begin(self, origin: str, previous: str) -> None:
        """The log's first entry says who it is, and which one it replaces."""
        self._origin, self._previous = origin, previous
        if previous:
            self.note("audit.recovered", f"this log was begun in the place of {previous}, which could not go on", 0)

    def go_on(self, origin: str) -> None:
        """The walk begins later: who the log is was verified before."""
        self._origin = origin

    def compare(self, seq: int, leaf: str) -> None:
        """One entry that a head or pin names."""
        head = None if self._heads is None else self._heads.newest
        if head is not None and head.seq == seq and head.leaf != leaf:
            message = f"entry {seq} is not the one that was acknowledged: it or one before it was rewritten"
            self.add(HeadMismatch(message), seq)
        for each in self._pinned:
            if each.leaf and each.size - 1 == seq and each.origin == self._origin:
                self._match(each, equal=each.leaf == leaf)

    def sealed(self, size: int, root: bytes) -> None:
        """One checkpoint of the log that is good."""
        self._sealed = size
        for each in self._pinned:
            if each.root and each.size == size and each.origin == self._origin:
                self._match(each, equal=each.root == root)

    def _match(self, pinned: Pinned, *, equal: bool) -> None:
        self._matched.add(pinned)
        if not equal:
            self.add(PinMismatch(f"the first {pinned.size} entries are not those in the {pinned.tier} pin"), None)

    # --- at the end ---------------------------------------------------------------------------------------------

    def torn(self, place: Place, size: int) -> None:
        """Bytes of an append that was interrupted."""
        detail = (
            f"{size} bytes of an append that was interrupted and never acknowledged; the next start sets them aside"
        )
        self.note("audit.torn-tail", detail, place.seq + 1)

    def ended(self, place: Place) -> None:
        """The log was read to its end: compare it with head and pins."""
        self._judge_head(place)
        for each in self._pinned:
            if each not in self._matched:
                self._judge_pin(each, place.seq + 1)

    def _judge_head(self, place: Place) -> None:
        if self._heads is None:
            if not self._head_exists:
                self.add(HeadMissing("there is a log, but no head"), None)
            return
        head = self._heads.newest
        if place.seq < head.seq:
            message = f"entries up to {head.seq} were acknowledged; the log ends after {place.seq}"
            self.add(LogTruncated(message), place.seq + 1)
        elif place.seq > head.seq:
            newer = place.seq - head.seq
            detail = f"{newer} entries are authentic and newer than the head, so that more may have followed"
            self.note("audit.beyond-head", detail, head.seq + 1)
        self._judge_slots(place.seq)

    def _judge_slots(self, last: int) -> None:
        """Tell a slot that an interrupted write left from one that was spoiled; `last`: the last good entry."""
        if self._heads is None or self._heads.spoiled is None:
            return
        if self._heads.accounts_for(last):
            self.note("audit.torn-slot", "a slot of the head is not authentic, as after an interrupted write")
            return
        missing = self._heads.next_seq
        message = f"a slot of the head was changed; an interrupted write would have left entry {missing} in the log"
        self.add(HeadSpoiled(message), missing)

    def _judge_pin(self, pinned: Pinned, size: int) -> None:
        tier, held = pinned.tier, pinned.size
        if pinned.origin != self._origin:
            if pinned.origin != self._previous:
                self.add(PinMismatch(f"the {tier} pin holds {held} entries of another log, {pinned.origin}"), None)
        elif held > size:
            self.add(LogTruncated(f"the {tier} pin holds {held} entries; the log ends after {size}"), size)
        else:
            self.add(PinMismatch(f"the {tier} pin's checkpoint for {held} entries is not in the log"), None)

    # --- the report ---------------------------------------------------------------------------------------------

    def without_log(self) -> Report:
        """There is no segment."""
        head = None if self._heads is None else self._heads.newest
        if head is not None and head.seq >= 0:
            self.add(LogMissing(f"{head.seq + 1} entries were acknowledged, and the log is gone"), 0)
        for each in self._pinned:
            self.add(LogMissing(f"the {each.tier} pin holds {each.size} entries, and the log is gone"), 0)
        self._judge_slots(-1)
        if not self._tampered() and (traces := _traces(self._directory)):
            found = ", ".join(traces)
            self.note(EMPTIED, f"there is no log, but {found} show that there was one, or that a start was cut off")
        return self.report(0, 0, b"", b"", Trusted.nothing())

    def _tampered(self) -> list[AuditFinding]:
        return [each for each in self._findings if each.code not in HARMLESS]

    def report(self, entries: int, size_bytes: int, first: bytes, newest: bytes, state: Trusted) -> Report:
        """Put everything together. `first`, `newest`: lines, for their times; `state`: up to the last closed epoch."""
        tampered = self._tampered()
        untouched = LogVerdict.CHAINED if self._heads is None else LogVerdict.INTACT
        if not entries:
            untouched = LogVerdict.EMPTY
        best = max((e for e in self._matched if e.tier not in _BESIDE), key=lambda each: each.size, default=None)
        return Report(
            verdict=LogVerdict.TAMPERED if tampered else untouched,
            completeness=self._completeness(tampered, entries),
            freshness=_freshness(best, entries),
            entries=entries,
            first_bad=min((each.seq for each in tampered if each.seq is not None), default=None),
            findings=tuple(self._findings),
            head_seq=None if self._heads is None else self._heads.newest.seq,
            sealed=max(self._sealed, state.place.seq + 1),
            size_bytes=size_bytes,
            origin=state.origin,
            identity=state.identity,
            pinned=0 if best is None else best.size,
            pinned_us=None if best is None else best.when_us,
            pins=self._pins,
            first_ts_us=decode_entry(first).ts_us if first else None,
            last_ts_us=decode_entry(newest).ts_us if newest else None,
            last_leaf=leaf_hash(newest).hex() if newest else "",
            trusted=state if state.place.seq >= 0 and not tampered else None,
        )

    def _completeness(self, tampered: list[AuditFinding], entries: int) -> Completeness:
        if any(each.code in _ENDS for each in tampered):
            return Completeness.TRUNCATED
        if tampered or (self._heads is None and not self._matched) or not entries:
            return Completeness.UNKNOWN
        return Completeness.RECOVERED if self._previous else Completeness.COMPLETE


def _freshness(best: Pinned | None, entries: int) -> Freshness:
    if best is None:
        return Freshness.NONE
    return Freshness.CURRENT if best.size == entries else Freshness.BEHIND


def _traces(directory: Path) -> list[str]:
    """What else is there once something was logged: the log's other files, the memory of a signed policy."""
    names = ("lock", "reserve", "quarantine", "epoch", "checkpoints", "bodies")
    beside = [name for name in names if os.path.lexists(directory / name)]
    return beside + sorted(f"policy/{path.name}" for path in (directory.parent / "policy").glob("*.pin.json"))
