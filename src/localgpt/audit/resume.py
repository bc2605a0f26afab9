"""What a verifier may remember between two runs: everything up to the end of a closed epoch, authenticated.

Verifying again from there costs what was appended since. It is only as good as the place where it is kept: who wants
to know about the whole log reads the whole log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from localgpt import canon
from localgpt.audit.scan import START, Place
from localgpt.crypto import DeviceKey, same
from localgpt.crypto.merkle import Frontier

_PERSON: Final = b"localgpt seen 2"


@dataclass(frozen=True, slots=True)
class Trusted:
    """`epoch`, `key` (hex): of the epoch that begins at `place`; `range_hashes`: the tree before it; `notes_end`: where
    the next checkpoint begins; `identity`: the log's verifier key."""

    origin: str
    identity: str
    epoch: int
    key: str
    place: Place
    range_hashes: tuple[bytes, ...]
    notes_end: int

    @classmethod
    def nothing(cls) -> Trusted:
        """Before the first entry."""
        return cls("", "", 0, "", START, (), 0)

    def frontier(self) -> Frontier:
        """The compact range before `place`."""
        return Frontier(self.place.seq + 1, self.range_hashes)

    def encode(self, key: DeviceKey) -> bytes:
        """A file's content: canonical JSON, a line feed, its MAC in hex."""
        body = canon.encode(
            {
                "end": self.place.end,
                "epoch": self.epoch,
                "frontier": [each.hex() for each in self.range_hashes],
                "identity": self.identity,
                "key": self.key,
                "leaf": self.place.leaf,
                "notes_end": self.notes_end,
                "origin": self.origin,
                "segment": self.place.segment,
                "seq": self.place.seq,
            }
        )
        return body + b"\n" + _mac(body, key)

    @classmethod
    def decode(cls, data: bytes, key: DeviceKey) -> Trusted | None:
        """Read it back; None when it is not what this device key wrote."""
        body, _, mac = data.partition(b"\n")
        if not same(mac, _mac(body, key)):
            return None
        fields = canon.decode_object(body)
        seq, segment, end, epoch, notes_end = (
            _int(fields, name) for name in ("seq", "segment", "end", "epoch", "notes_end")
        )
        hashes = fields["frontier"]
        assert isinstance(hashes, list)
        place = Place(seq, segment, end, str(fields["leaf"]))
        return cls(
            str(fields["origin"]),
            str(fields["identity"]),
            epoch,
            str(fields["key"]),
            place,
            tuple(bytes.fromhex(str(each)) for each in hashes),
            notes_end,
        )


def _mac(body: bytes, key: DeviceKey) -> bytes:
    subkey = key.subkey("localgpt audit verified v2")
    return hashlib.blake2b(body, key=subkey, digest_size=32, person=_PERSON).hexdigest().encode()


def _int(fields: Mapping[str, canon.Json], name: str) -> int:
    value = fields[name]
    assert isinstance(value, int)
    return value
