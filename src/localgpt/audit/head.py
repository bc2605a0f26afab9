"""The head: the number, place and leaf of the last acknowledged entry, authenticated with a subkey of the device key.

The file has two slots in different disk sectors, written in turn and in place, so that a torn write spoils at most
one and the other still vouches for the entry before. It is written after the entry is durable: it may lag behind the
log, and never leads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from localgpt import canon
from localgpt.crypto import DeviceKey, same, tagged_mac

SLOT_BYTES: Final = 512
HEAD_BYTES: Final = 2 * SLOT_BYTES
_DOMAIN: Final = "localgpt.audit.head/v1"
_HEX64: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """`seq`: the entry's number, -1 before the first; `end`: the log's size in bytes after it; `leaf`: its hash."""

    seq: int
    end: int
    leaf: str

    def encode(self, key: bytes) -> bytes:
        """One slot: canonical JSON, written out because its shape is fixed; padded with spaces, ended by a newline."""
        before, after = f'{{"end":{self.end},"format":"{_DOMAIN}",', f'"leaf":"{self.leaf}","seq":{self.seq}}}'
        mac = tagged_mac(key, _DOMAIN, (before + after).encode()).hex()
        return f'{before}"hmac_sha256":"{mac}",{after}'.encode().ljust(SLOT_BYTES - 1) + b"\n"

    @property
    def offset(self) -> int:
        """Where in the file this head is written: slots alternate."""
        return (self.seq % 2) * SLOT_BYTES


def head_key(key: DeviceKey) -> bytes:
    """The subkey that authenticates heads."""
    return key.subkey("localgpt audit head v1")


def read_head(data: bytes, key: bytes) -> Head | None:
    """The newest authentic head in the file's bytes; None when neither slot is authentic."""
    slots = (_read_slot(data[at : at + SLOT_BYTES], key) for at in (0, SLOT_BYTES))
    return max((head for head in slots if head is not None), key=lambda head: head.seq, default=None)


def _read_slot(slot: bytes, key: bytes) -> Head | None:
    try:
        body = canon.decode_object(slot.rstrip(b" \n"))
    except canon.CanonError:
        return None
    seq, end, leaf = body.get("seq"), body.get("end"), body.get("leaf")
    if type(seq) is not int or type(end) is not int or not isinstance(leaf, str) or not _HEX64.fullmatch(leaf):
        return None
    head = Head(seq, end, leaf)
    return head if same(head.encode(key), slot) else None  # compares format, MAC and spelling at once
