"""One entry: a line of canonical JSON, authenticated with a subkey of the device key and chained to the line before.

Source: docs/spec/audit-log.md; RFC 6962 section 2.1 for the leaf hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from localgpt import canon
from localgpt.audit.errors import EntryCorrupted, EntryForged, EntryInvalid
from localgpt.audit.kinds import check_fields
from localgpt.audit.seal import seal
from localgpt.crypto import DeviceKey, same

VERSION: Final = 1
ALGORITHM: Final = "sha256-chain-hmac"
ORIGIN: Final = "localgpt.audit/v1"
MAX_LINE_BYTES: Final = 64 * 1024

_COMMON: Final = frozenset({"v", "alg", "seq", "ts", "mono_us", "boot", "session", "kind", "prev", "mac"})
_DOMAIN: Final = "localgpt.audit.entry/v1"
_MAC_DIGITS: Final = 32
_MAC_MARK: Final = b'"mac":"'  #: occurs once: inside a string its quotes would be escaped
_NO_MAC: Final = "0" * _MAC_DIGITS
_HEX32: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HEX64: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{0,64}", re.ASCII)


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
    return key.subkey("localgpt audit entry v1")


def genesis() -> str:
    """The `prev` of the first entry: hex SHA-256 of the format's name."""
    return hashlib.sha256(ORIGIN.encode()).hexdigest()


def leaf_hash(line: bytes) -> str:
    """Hex SHA-256 of a zero byte and `line`, which has no newline."""
    return hashlib.sha256(b"\x00" + line).hexdigest()


def encode_entry(
    *,
    key: bytes,
    seq: int,
    ts_us: int,
    mono_us: int,
    boot: str,
    session: str,
    kind: str,
    fields: Mapping[str, object],
    prev: str,
) -> bytes:
    """Encode one line, without newline. `key` is that of `entry_key`.

    Raises:
        EntryInvalid
    """
    if not _ID.fullmatch(session):
        raise EntryInvalid(f"{session!r} is no session id")
    common: dict[str, canon.Json] = {
        "v": VERSION,
        "alg": ALGORITHM,
        "seq": seq,
        "ts": ts_us,
        "mono_us": mono_us,
        "boot": boot,
        "session": session,
        "kind": kind,
        "prev": prev,
        "mac": _NO_MAC,
    }
    line = canon.encode({**check_fields(kind, fields), **common})
    if len(line) >= MAX_LINE_BYTES:
        raise EntryInvalid(f"an entry of {len(line)} bytes is too long")
    at = line.index(_MAC_MARK) + len(_MAC_MARK)
    return line[:at] + _mac(line, key) + line[at + _MAC_DIGITS :]


def decode_entry(line: bytes, key: bytes | None = None) -> Entry:
    """Decode and check one line: spelling, version, kind, every field's type, and with a key the MAC.

    The chain is the caller's to check.

    Raises:
        EntryCorrupted: it is no entry.
        EntryForged: it is one, and was not written with this device key.
    """
    try:
        body = canon.decode_object(line)
    except canon.CanonError as error:
        raise EntryCorrupted("the line is not canonical JSON") from error
    common = {name: body.pop(name, None) for name in _COMMON}
    _check_common(common)
    kind = str(common["kind"])
    try:
        if check_fields(kind, body) != body:
            raise EntryCorrupted("a field is spelled in a way that is never written")
    except EntryInvalid as error:
        raise EntryCorrupted(error.message) from error
    if key is not None and not same(_mac(line, key), str(common["mac"]).encode()):
        raise EntryForged(f"entry {common['seq']} was not written with this device key")
    seq, ts_us, mono_us = (
        value for value in (common["seq"], common["ts"], common["mono_us"]) if isinstance(value, int)
    )
    return Entry(
        seq,
        ts_us,
        mono_us,
        str(common["boot"]),
        str(common["session"]),
        kind,
        body,
        str(common["prev"]),
        str(common["mac"]),
        leaf_hash(line),
    )


def _mac(line: bytes, key: bytes) -> bytes:
    """The hex MAC of a canonical line, over its bytes without the member `mac`, which is never the last one."""
    at = line.index(_MAC_MARK)
    rest = line[:at] + line[at + len(_MAC_MARK) + _MAC_DIGITS + 2 :]  # 2: the closing quote and the comma
    return seal(key, _DOMAIN, rest)[: _MAC_DIGITS // 2].hex().encode()


def _check_common(common: Mapping[str, canon.Json]) -> None:
    if type(common["v"]) is not int or common["v"] != VERSION or common["alg"] != ALGORITHM:
        raise EntryCorrupted("unknown version or algorithm")
    for name in ("seq", "ts", "mono_us"):
        value = common[name]
        if type(value) is not int or value < 0:
            raise EntryCorrupted(f"{name} is not a count")
    for name, pattern in (("prev", _HEX64), ("mac", _HEX32), ("boot", _ID), ("session", _ID), ("kind", _ID)):
        value = common[name]
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise EntryCorrupted(f"{name} is not what it must be")
