"""One entry: a line of canonical JSON, authenticated with a subkey of the device key and chained to the line before.

Source: docs/spec/audit-log.md; RFC 6962 section 2.1 for the leaf hash; RFC 7693 for keyed BLAKE2b.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from localgpt import canon
from localgpt.audit.errors import EntryCorrupted, EntryForged
from localgpt.audit.grammar import Spelled, line_pattern
from localgpt.audit.kinds import COMMON, KINDS
from localgpt.crypto import DeviceKey, same

FORMAT: Final = "localgpt.audit/v2"
ALGORITHM: Final = "sha256-rfc6962-ed25519-blake2b"
MAX_LINE_BYTES: Final = 64 * 1024

_PERSON: Final = b"localgpt entry 2"  #: keeps this MAC apart from any other with the same key
_MAC_BYTES: Final = 16
_blake2b = hashlib.blake2b
_sha256 = hashlib.sha256
_MAC_MEMBER: Final = re.compile(rb'"mac":"[0-9a-f]{32}",')  #: occurs once: inside a string its quotes are escaped
_KIND: Final = '"kind":"'


class Link(NamedTuple):
    """What joins one line to its neighbours. `mac`, `prev` as written; `leaf`: 32 bytes."""

    seq: int
    kind: str
    mac: str
    prev: str
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `ts_us`: UTC microseconds since 1970; `mono_us`: microseconds of the machine's monotonic clock.

    `leaf`: hex SHA-256 of a zero byte and the line without its newline; `prev`: the leaf of the entry before;
    `mac`: hex, 128 bits, checked only by who has the key.
    """

    seq: int
    ts_us: int
    mono_us: int
    boot: str
    session: str
    kind: str
    fields: Mapping[str, canon.Json]
    prev: str
    mac: str
    leaf: str

    def to_json(self) -> dict[str, canon.Json]:
        """The entry as one flat object, leaf included, for `--json` output."""
        return {
            **self.fields,
            "seq": self.seq,
            "ts": self.ts_us,
            "mono_us": self.mono_us,
            "boot": self.boot,
            "session": self.session,
            "kind": self.kind,
            "prev": self.prev,
            "mac": self.mac,
            "leaf": self.leaf,
        }


def entry_key(key: DeviceKey) -> bytes:
    """The subkey that authenticates entries."""
    return key.subkey("localgpt audit entry v2")


def genesis() -> str:
    """The `prev` of the first entry: hex SHA-256 of the format's name."""
    return hashlib.sha256(FORMAT.encode()).hexdigest()


def place_entry(spelled: Spelled, key: bytes, *, boot: str, mono_us: int, prev: str, seq: int, ts_us: int) -> bytes:
    """Give an entry its place and its MAC: one line, without newline. `key` is that of `entry_key`."""
    shape = spelled.shape
    values = (*spelled.values, boot, mono_us, prev, seq, spelled.session, ts_us)
    rest = (shape.template % shape.pick(values)).encode()
    at = rest.index(shape.after_mac)
    return b'%b"mac":"%b",%b' % (rest[:at], _mac(rest, key), rest[at:])


def _mac(rest: bytes, key: bytes) -> bytes:
    """32 hex digits of keyed BLAKE2b over a line without its member `mac`."""
    return _blake2b(rest, key=key, digest_size=_MAC_BYTES, person=_PERSON).hexdigest().encode()


def read_link(line: bytes, text: str, *, whole: bool = True) -> Link:
    """Check how a line is spelled, and give what joins it to others. `text` is `line` decoded, both without newline.

    `whole`: whether there was one.

    Raises:
        EntryCorrupted: it is no entry.
    """
    if not whole:
        raise EntryCorrupted("the line has no end")
    at = text.find(_KIND) + len(_KIND)
    kind = text[at : text.find('"', at)]
    matches = _matchers.get(kind) or _matcher(kind)
    match = matches(text)
    if match is None:
        raise EntryCorrupted(f"the line is not spelled as an entry of kind {kind} is")
    mac, prev, seq = match.groups()
    return Link(int(seq), kind, mac, prev, _sha256(b"\x00" + line).digest())


_matchers: dict[str, Callable[[str], re.Match[str] | None]] = {}


def _matcher(kind: str) -> Callable[[str], re.Match[str] | None]:
    if kind not in KINDS:
        raise EntryCorrupted("the line is no entry of a known kind")
    _matchers[kind] = line_pattern(kind).fullmatch
    return _matchers[kind]


def check_mac(line: bytes, link: Link, key: bytes) -> None:
    """Check that a line was written with the device key of `key` (that of `entry_key`).

    Raises:
        EntryForged
    """
    if not same(_mac(_MAC_MEMBER.sub(b"", line, count=1), key), link.mac.encode()):
        raise EntryForged(f"entry {link.seq} was not written with this device key")


def decode_entry(line: bytes, key: bytes | None = None) -> Entry:
    """Decode and check one line: spelling, kind, every field's type, and with a key the MAC.

    The chain is the caller's to check.

    Raises:
        EntryCorrupted: it is no entry.
        EntryForged: it is one, and was not written with this device key.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EntryCorrupted("the line is not UTF-8") from error
    link = read_link(line, text)
    if key is not None:
        check_mac(line, link, key)
    return _entry(link, text)


def _entry(link: Link, text: str) -> Entry:
    """The values of a line whose spelling was checked."""
    body = json.loads(text)
    common = {name: body.pop(name) for name in COMMON}
    return Entry(
        link.seq,
        common["ts"],
        common["mono_us"],
        common["boot"],
        common["session"],
        link.kind,
        body,
        link.prev,
        link.mac,
        link.leaf.hex(),
    )
