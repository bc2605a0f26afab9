"""The head: the number, place and leaf of the last acknowledged entry, authenticated with a subkey of the device key.

The file has two slots in different disk sectors, written in turn and in place, so that a torn write spoils at most
one and the other still vouches for an entry before. It is written after the entries are durable: it may lag behind
the log, and never leads it. So whoever finds one slot spoiled and entry S in the other finds entry S + 1 in the log,
unless the slot was spoiled to hide that S + 1 was removed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from localgpt import canon
from localgpt.crypto import DeviceKey, same

SLOT_BYTES: Final = 512
HEAD_BYTES: Final = 2 * SLOT_BYTES
_FORMAT: Final = "localgpt.audit.head/v2"
_PERSON: Final = b"localgpt head 2"
_HEX64: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """`commit`: how many times a head was written before, negative for the two of an empty log; `seq`: the entry's
    number, negative before the first; `segment` and `end`: the file it is in, and that file's bytes up to its end;
    `leaf`: its hash, hex."""

    commit: int
    seq: int
    segment: int
    end: int
    leaf: str

    def encode(self, key: bytes) -> bytes:
        """One slot: canonical JSON, written out because its shape is fixed; padded with spaces, ended by a newline."""
        before = f'{{"commit":{self.commit},"end":{self.end},"format":"{_FORMAT}","leaf":"{self.leaf}",'
        after = f'"segment":{self.segment},"seq":{self.seq}}}'
        mac = hashlib.blake2b((before + after).encode(), key=key, digest_size=32, person=_PERSON).hexdigest()
        return f'{before}"mac":"{mac}",{after}'.encode().ljust(SLOT_BYTES - 1) + b"\n"

    @property
    def slot(self) -> int:
        """Which of the two slots this head is written to: they alternate."""
        return self.commit % 2


def head_key(key: DeviceKey) -> bytes:
    """The subkey that authenticates heads."""
    return key.subkey("localgpt audit head v2")


@dataclass(frozen=True, slots=True)
class Heads:
    """What the file's two slots say. `newest`: the authentic head that counts.

    `spoiled`: the number of the slot that is not authentic, None when both are.
    """

    newest: Head
    spoiled: int | None

    @property
    def next_seq(self) -> int:
        """The entry after the newest vouched for. While it was durable, and not before, the other slot was written."""
        return max(self.newest.seq, -1) + 1

    def accounts_for(self, last: int) -> bool:
        """Whether a log whose last authentic entry is `last` could have left the slots like this without an attack."""
        return self.spoiled is None or last >= self.next_seq


def initial_heads(key: bytes, leaf: str) -> bytes:
    """The file's bytes before the first entry: no slot is ever blank, so that blanking one is seen."""
    return Head(-2, -2, 0, 0, leaf).encode(key) + Head(-1, -1, 0, 0, leaf).encode(key)


def read_heads(data: bytes, key: bytes) -> Heads | None:
    """The authentic heads in the file's bytes; None when neither slot is authentic."""
    found = [_read_slot(data, slot, key) for slot in (0, 1)]
    authentic = [head for head in found if head is not None]
    if not authentic:
        return None
    newest = max(authentic, key=lambda head: head.commit)
    return Heads(newest, found.index(None) if None in found else None)


def _read_slot(data: bytes, number: int, key: bytes) -> Head | None:
    slot = data[number * SLOT_BYTES : (number + 1) * SLOT_BYTES]
    try:
        body = canon.decode_object(slot.rstrip(b" \n"))
    except canon.CanonError:
        return None
    counts = [body.get(name) for name in ("commit", "seq", "segment", "end")]
    leaf = body.get("leaf")
    if not isinstance(leaf, str) or not _HEX64.fullmatch(leaf) or any(type(each) is not int for each in counts):
        return None
    commit, seq, segment, end = (each for each in counts if isinstance(each, int))
    head = Head(commit, seq, segment, end, leaf)
    here = head.slot == number  # a slot copied over the other is no head
    return head if here and same(head.encode(key), slot) else None  # compares format, MAC and spelling at once
