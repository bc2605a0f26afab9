"""Verification: every entry, the chain, the tree, every checkpoint, the head and the pins. Streaming; nothing is
written.

The head and the pins are read before the log, so that entries appended meanwhile are simply newer than they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from localgpt.audit.checkpoints import (
    Sealed,
    check_signed,
    epoch_name,
    identity_of,
    last_checkpoint,
    origin_of,
    public_key,
    read_checkpoints,
)
from localgpt.audit.entry import check_mac, decode_entry, entry_key
from localgpt.audit.epoch import MAX_EPOCH_BYTES, Epoch
from localgpt.audit.errors import (
    CheckpointForged,
    CheckpointMissing,
    EntryCorrupted,
    EpochSpoiled,
    IdentityForeign,
    LogTruncated,
    TamperError,
)
from localgpt.audit.files import CHECKPOINTS_NAME, EPOCH_NAME, HEAD_NAME, NEXT_EPOCH_NAME, read_bytes
from localgpt.audit.head import HEAD_BYTES, Heads, head_key, read_heads
from localgpt.audit.judgement import Judgement
from localgpt.audit.report import PinReading, Report
from localgpt.audit.resume import Trusted
from localgpt.audit.scan import BrokenAt, LogReader, Place, Step, check_format
from localgpt.canon import Json
from localgpt.crypto import DeviceKey
from localgpt.crypto.note import NoteError, NoteKey

_SPECIAL: Final = frozenset({"log.create", "log.segment", "epoch.next"})


def verify_log(
    directory: Path,
    key: DeviceKey | None,
    *,
    identity: NoteKey | None = None,
    pins: Sequence[PinReading] = (),
    trusted: Trusted | None = None,
) -> Report:
    """Check everything, or everything since `trusted`.

    With the device key its identity and its MACs are demanded. `identity` does it for who has only the public key;
    without either the log is compared with itself and the pins alone.

    Raises:
        LogUnopenable: a file is there and cannot be read.
    """
    data = read_bytes(directory / HEAD_NAME, HEAD_BYTES)
    heads = None if data is None or key is None else read_heads(data, head_key(key))
    judgement = Judgement(directory, heads, has_key=key is not None, head_exists=data is not None, pins=pins)
    reader = LogReader(directory) if trusted is None else LogReader(directory, trusted.place)
    if not reader.exists:
        return judgement.without_log()
    verifier = _Verifier(directory, key, identity, heads, judgement=judgement, trusted=trusted)
    entries: int | None = None
    try:
        verifier.run(reader)
    except BrokenAt as broken:
        verifier.broken(reader, broken)
    except TamperError as error:
        entries = verifier.blamed(error, reader)
        judgement.add(error, entries)
    else:
        verifier.end(reader)
    return verifier.report(reader, entries)


class _Verifier:
    """One walk. Everything about the current epoch is here; the rest is in `judgement`."""

    def __init__(
        self,
        directory: Path,
        key: DeviceKey | None,
        identity: NoteKey | None,
        heads: Heads | None,
        *,
        judgement: Judgement,
        trusted: Trusted | None,
    ) -> None:
        self._directory, self._key, self._heads, self._judgement = directory, key, heads, judgement
        self._entry_key = None if key is None else entry_key(key)
        self._identity = identity
        self._state = trusted or Trusted.nothing()
        self._frontier = self._state.frontier()
        self._leaves: list[bytes] = []
        path = directory / CHECKPOINTS_NAME
        self._last = last_checkpoint(path)
        self._notes: Iterator[Sealed] = read_checkpoints(path, self._state.notes_end)
        self._unsealed = False
        self._first = self._newest = b""
        if trusted is not None:
            judgement.go_on(trusted.origin)

    def run(self, reader: LogReader) -> None:
        """Every entry. The body of this loop is what verification costs."""
        wanted, leaves = self._judgement.wanted, self._leaves
        mac_from = 0 if self._last is None else self._last.checkpoint.size
        for step in reader.steps():
            link = step.link
            leaves.append(link.leaf)
            if link.seq in wanted:
                self._judgement.compare(link.seq, link.leaf.hex())
            if link.kind in _SPECIAL:
                self._special(step)
            if link.seq >= mac_from and self._entry_key is not None:
                check_mac(step.line, link, self._entry_key)
            self._newest = step.line
            self._first = self._first or step.line

    def _special(self, step: Step) -> None:
        fields = decode_entry(step.line).fields
        if self._unsealed:
            raise CheckpointMissing(f"entry {step.link.seq} follows an epoch that no checkpoint closes")
        if step.link.kind == "epoch.next":
            self._close_epoch(step, int(str(fields["epoch"])), str(fields["key"]))
            return
        check_format(fields)
        if step.link.kind == "log.create":
            self._begin(fields)
        elif fields["origin"] != self._state.origin:
            raise EntryCorrupted(f"entry {step.link.seq}: a segment of {fields['origin']} stands here")

    def _begin(self, fields: Mapping[str, Json]) -> None:
        origin = str(fields["origin"])
        try:
            named = NoteKey.parse(str(fields["identity"]))
        except NoteError as error:
            raise EntryCorrupted(f"entry 0: {error}") from error
        wanted = self._identity or (None if self._key is None else identity_of(self._key, origin))
        if named.name != origin or origin != origin_of(bytes.fromhex(str(fields["epoch_key"]))):
            raise EntryCorrupted("entry 0: the log's name does not belong to its first key")
        if wanted is not None and named != wanted:
            raise IdentityForeign("this log was begun with another identity key")
        self._state = replace(self._state, origin=origin, identity=str(named), key=str(fields["epoch_key"]))
        self._judgement.begin(origin, str(fields.get("previous_origin", "")))

    def _close_epoch(self, step: Step, number: int, following: str) -> None:
        """Compare the checkpoint of this epoch: signed by its own key, and by no later one."""
        state, size = self._state, step.link.seq + 1
        self._frontier.extend(self._leaves)
        self._leaves.clear()
        if number != state.epoch + 1:
            raise EntryCorrupted(f"entry {step.link.seq}: epoch {number} follows epoch {state.epoch}")
        sealed = self._next_note()
        if sealed is None:
            self._unsealed = True
            return
        self._check_note(sealed, size)
        self._state = Trusted(
            origin=state.origin,
            identity=state.identity,
            epoch=number,
            key=following,
            place=step.place,
            range_hashes=tuple(self._frontier.hashes),
            notes_end=sealed.end,
        )

    def _next_note(self) -> Sealed | None:
        try:
            return next(self._notes, None)
        except NoteError as error:
            raise CheckpointForged(f"a checkpoint is none: {error}") from error

    def _check_note(self, sealed: Sealed, size: int) -> None:
        state, checkpoint = self._state, sealed.checkpoint
        if (checkpoint.origin, checkpoint.size) != (state.origin, size):
            raise CheckpointForged(f"a checkpoint for {checkpoint.size} entries stands where one for {size} belongs")
        if checkpoint.root != self._frontier.root():
            raise CheckpointForged(f"the checkpoint for {size} entries was signed over others")
        epoch_key = NoteKey(epoch_name(state.origin, state.epoch), bytes.fromhex(state.key))
        try:
            check_signed(sealed.note, NoteKey.parse(state.identity), epoch_key)
        except NoteError as error:
            raise CheckpointForged(f"the checkpoint for {size} entries: {error}") from error
        self._judgement.sealed(size, checkpoint.root)

    # --- the end ------------------------------------------------------------------------------------------------

    def blamed(self, error: TamperError, reader: LogReader) -> int:
        """The number of the entry to name: for a checkpoint the first of its epoch, which is where to look from."""
        if isinstance(error, (CheckpointForged, CheckpointMissing)):
            return self._state.place.seq + 1
        return max(0, reader.place.seq)

    def broken(self, reader: LogReader, broken: BrokenAt) -> None:
        """Tell what an interrupted append left from what was changed."""
        committed = -1 if self._last is None else self._last.checkpoint.size - 1
        if self._heads is not None:
            committed = max(committed, self._heads.newest.seq)
        if broken.torn and broken.seq > committed:
            self._judgement.torn(reader.place, reader.remaining())
            self.end(reader)
        elif broken.torn:
            message = f"entries up to {committed} were acknowledged; the log ends within entry {broken.seq}"
            self._judgement.add(LogTruncated(message), broken.seq)
        else:
            self._judgement.add(EntryCorrupted(broken.message), broken.seq)

    def end(self, reader: LogReader) -> None:
        """What only the end shows: checkpoints without entries, an epoch without its key, and the head."""
        self._judgement.ended(reader.place)
        last, size = self._last, reader.place.seq + 1
        if last is not None and last.checkpoint.size > size:
            message = f"{last.checkpoint.size} entries were signed for; the log ends after {size}"
            self._judgement.add(LogTruncated(message), size)
        elif last is not None and last.end > self._state.notes_end:
            self._judgement.add(CheckpointForged("there are more checkpoints than closed epochs"), None)
        if self._unsealed and self._leaves:
            self._judgement.add(CheckpointMissing("an epoch was closed and its checkpoint is gone"), size - 1)
        elif self._unsealed:
            self._judgement.note("audit.unsealed-epoch", "an epoch's end was interrupted; the next start finishes it")
        if self._key is not None:
            try:
                self._check_epoch_file(reader.place)
            except TamperError as error:
                self._judgement.add(error, None)

    def _check_epoch_file(self, place: Place) -> None:
        """Who put an older log here, or cut this one, does not have the key that its last epoch announced."""
        state = self._state
        data = read_bytes(self._directory / EPOCH_NAME, MAX_EPOCH_BYTES)
        if data is None:
            raise EpochSpoiled("the file of the open epoch is gone")
        held = Epoch.decode(data)
        if not state.origin:
            return  # only the beginning of an entry was written yet
        if held.number == state.epoch - 1 and place.seq == state.place.seq:
            data = read_bytes(self._directory / NEXT_EPOCH_NAME, MAX_EPOCH_BYTES)
            held = held if data is None else Epoch.decode(data)
            self._judgement.note("audit.unsealed-epoch", "an epoch's end was interrupted; the next start finishes it")
        if (held.origin, held.number) != (state.origin, state.epoch):
            raise EpochSpoiled(f"the key of epoch {held.number} is here, but the log ends in epoch {state.epoch}")
        if public_key(held.seed).hex() != state.key:
            raise EpochSpoiled("the key of the open epoch is not the one that the log announced")

    def report(self, reader: LogReader, entries: int | None) -> Report:
        """All of it. `entries`: how many are good, None when all that were read are."""
        place = reader.place
        size = sum(_sizes(self._directory, place.segment)) + place.end
        good = place.seq + 1 if entries is None else entries
        return self._judgement.report(good, size, self._first, self._newest, self._state)


def _sizes(directory: Path, before: int) -> Iterator[int]:
    for path in directory.glob("*.log"):
        if path.stem.isdigit() and int(path.stem) < before:
            yield path.stat().st_size
