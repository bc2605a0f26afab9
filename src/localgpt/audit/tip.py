"""Where a log ends, and how a writer finds that out: from the open epoch's beginning, never from the log's.

Everything here is done under the lock. What an interrupted append left behind is cut; anything else that is not as it
was acknowledged is an attack, and no later entry is written on top of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from localgpt.audit.checkpoints import Sealed, last_checkpoint
from localgpt.audit.disk import replace_file
from localgpt.audit.entry import check_mac, decode_entry
from localgpt.audit.epoch import MAX_EPOCH_BYTES, Epoch
from localgpt.audit.errors import (
    CheckpointForged,
    CheckpointMissing,
    EpochSpoiled,
    HeadMismatch,
    HeadMissing,
    HeadSpoiled,
    LogForeign,
    LogMissing,
    LogTruncated,
)
from localgpt.audit.files import LOG_NAME, WriterFiles, read_bytes, segment_name, segments
from localgpt.audit.head import HEAD_BYTES, Heads, initial_heads, read_heads
from localgpt.audit.scan import START, BrokenAt, LogReader, Place, Step
from localgpt.crypto.merkle import Frontier

_MOVE_AWAY: Final = "`localgpt audit verify` tells more; `localgpt audit recover` begins a new log that says so"
_EARLIER: Final = b'"origin":"localgpt.audit/v1"'


@dataclass(slots=True)
class Tip:
    """The end of the log as one writer knows it. `commits`: the next head's number; `image`: the head file's bytes.

    `next_key`: hex, when the last entry announces the next epoch, whose checkpoint is then still to be signed.
    """

    epoch: Epoch
    place: Place
    frontier: Frontier
    commits: int
    image: bytes
    next_key: str = ""

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self.place.seq + 1


@dataclass(frozen=True, slots=True)
class Keys:
    """What entries and heads are authenticated with."""

    entry: bytes
    head: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """A tip, what an interrupted append left behind it (b"": nothing), and which slot of the head it spoiled."""

    tip: Tip
    torn: bytes
    spoiled: int | None


def is_new(files: WriterFiles) -> bool:
    """Whether there is nothing yet, or a creation that was cut off before the log's first file."""
    return not segments(files.directory) and not os.path.lexists(files.head_path)


def create_head(files: WriterFiles, key: bytes) -> None:
    """The first of a new log's files: whoever finds a log or an epoch without a head knows that it was removed.

    Raises:
        OSError
    """
    if os.path.lexists(files.epoch_path) or os.path.lexists(files.checkpoints_path):
        raise HeadMissing(f"there is a log in {files.directory}, but no head", cure=_MOVE_AWAY)
    replace_file(files.disk, files.head_path, initial_heads(key, START.leaf))


def load_heads(files: WriterFiles, key: bytes) -> tuple[Heads, bytes]:
    """Read the head.

    Raises:
        HeadMissing: it is gone, or this device key wrote neither slot.
        LogForeign: it is that of an earlier version.
    """
    data = read_bytes(files.head_path, HEAD_BYTES)
    heads = None if data is None else read_heads(data, key)
    if data is None or heads is None:
        if _EARLIER in (read_bytes(files.directory / LOG_NAME, 4096) or b""):
            message = f"{files.directory} holds a log of an earlier version"
            raise LogForeign(message, cure=f"mv {files.directory} {files.directory}.v1")
        reason = "is gone" if data is None else "was not written with this device key"
        raise HeadMissing(f"{files.head_path} {reason}", cure=_MOVE_AWAY)
    return heads, data


def load_epoch(files: WriterFiles) -> Epoch:
    """Read the open epoch.

    Raises:
        EpochSpoiled
    """
    data = read_bytes(files.epoch_path, MAX_EPOCH_BYTES)
    if data is None:
        raise EpochSpoiled(f"{files.epoch_path} is gone", cure=_MOVE_AWAY)
    return Epoch.decode(data)


def find_tip(files: WriterFiles, keys: Keys) -> Found:
    """Read head, epoch and last checkpoint, follow the entries from the epoch's beginning, and compare them all.

    Raises:
        TamperError: its leaves say what is not as it was acknowledged.
        LogUnopenable
    """
    heads, image = load_heads(files, keys.head)
    epoch = load_epoch(files)
    sealed = last_checkpoint(files.checkpoints_path)
    tip = Tip(epoch, epoch.place, epoch.frontier(), heads.newest.commit + 1, image)
    if not segments(files.directory):
        if heads.newest.seq >= 0 or epoch.number > 0:
            raise LogMissing(f"{heads.newest.seq + 1} entries were acknowledged and the log is gone", cure=_MOVE_AWAY)
        return Found(tip, b"", None)
    torn = follow(files, tip, keys, heads, sealed)
    _check_checkpoint(tip, sealed)
    if not heads.accounts_for(tip.place.seq):
        raise HeadSpoiled(f"a slot of the head was changed, and entry {heads.next_seq} is gone", cure=_MOVE_AWAY)
    return Found(tip, torn, heads.spoiled)


def follow(files: WriterFiles, tip: Tip, keys: Keys, heads: Heads, sealed: Sealed | None) -> bytes:
    """Move `tip` over the entries that follow it, and return what an interrupted append left after them.

    Raises:
        TamperError
    """
    head = heads.newest
    committed = max(head.seq, -1 if sealed is None else sealed.checkpoint.size - 1)
    reader = LogReader(files.directory, tip.place)
    torn = b""
    if head.seq == tip.place.seq >= 0:
        _compare(head.leaf, tip.place.leaf, head.seq)
    try:
        for step in reader.steps():
            check_mac(step.line, step.link, keys.entry)
            if step.link.seq == head.seq:
                _compare(head.leaf, step.place.leaf, head.seq)
            _advance(tip, step)
    except BrokenAt as broken:
        if broken.seq <= committed or not broken.torn:
            raise
        torn = _rest(files, broken)
    tip.place = reader.place
    if tip.place.seq < committed:
        message = f"{committed + 1} entries were acknowledged; the log ends after {tip.place.seq + 1}"
        raise LogTruncated(message, cure=_MOVE_AWAY)
    return torn


def _advance(tip: Tip, step: Step) -> None:
    if tip.next_key:
        raise EpochSpoiled(f"entry {step.link.seq} belongs to an epoch whose key is not here", cure=_MOVE_AWAY)
    tip.frontier.add(step.link.leaf)
    if step.link.kind == "epoch.next":
        tip.next_key = str(decode_entry(step.line).fields["key"])


def _compare(acknowledged: str, found: str, seq: int) -> None:
    if acknowledged != found:
        raise HeadMismatch(f"entry {seq} is not the one that was acknowledged", cure=_MOVE_AWAY)


def _rest(files: WriterFiles, broken: BrokenAt) -> bytes:
    return (files.directory / segment_name(broken.segment)).read_bytes()[broken.offset :]


def _check_checkpoint(tip: Tip, sealed: Sealed | None) -> None:
    """Compare the last checkpoint with the epoch's beginning, or its end when only the key was not replaced yet."""
    epoch = tip.epoch
    if sealed is None:
        if epoch.number > 0:
            raise CheckpointMissing("the checkpoints are gone", cure=_MOVE_AWAY)
        return
    checkpoint = sealed.checkpoint
    if checkpoint.origin != epoch.origin:
        raise CheckpointForged(f"the last checkpoint is that of {checkpoint.origin}", cure=_MOVE_AWAY)
    if checkpoint.size == epoch.size:
        root = epoch.frontier().root()
    elif checkpoint.size == tip.size and tip.next_key:
        root = tip.frontier.root()
    else:
        raise CheckpointMissing(
            f"the last checkpoint is for {checkpoint.size} entries, not {epoch.size}", cure=_MOVE_AWAY
        )
    if root != checkpoint.root:
        raise CheckpointForged(f"the checkpoint for {checkpoint.size} entries is not that of this log", cure=_MOVE_AWAY)
