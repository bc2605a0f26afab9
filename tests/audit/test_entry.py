"""Entries: one spelling, closed kinds, every field typed; no way to smuggle text in."""

import hashlib
import hmac
import json
import re
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgpt import canon
from localgpt.audit import KINDS
from localgpt.audit.entry import MAX_LINE_BYTES, decode_entry, entry_key, genesis
from localgpt.audit.errors import EntryCorrupted, EntryForged, EntryInvalid
from localgpt.audit.kinds import COMMON as COMMON_KEYS
from localgpt.audit.kinds import FieldType
from localgpt.crypto import DeviceKey
from tests.audit.conftest import encode_entry, leaf_hash

KEY = entry_key(DeviceKey(bytes(range(32))))
COMMON: dict[str, Any] = {
    "key": KEY, "seq": 3, "ts_us": 5, "mono_us": 7, "boot": "b", "session": "s-1", "prev": "ab" * 32
}  # fmt: skip

_values = {
    FieldType.TOKEN: st.text(string.ascii_letters + string.punctuation, min_size=1, max_size=128),
    FieldType.NAME: st.text(min_size=1, max_size=300),
    FieldType.PATH: st.text(min_size=1, max_size=300),
    FieldType.HEX: st.text("0123456789abcdef", min_size=16, max_size=64),
    FieldType.COUNT: st.integers(0, 9 * 10**15 - 1),
    FieldType.INTEGER: st.integers(1 - 9 * 10**15, 9 * 10**15 - 1),
    FieldType.FLAG: st.booleans(),
    FieldType.TOKENS: st.lists(st.text(string.ascii_letters, min_size=1, max_size=9), max_size=9),
}


@st.composite
def entries(draw):
    kind = draw(st.sampled_from(sorted(KINDS)))
    known = KINDS[kind]
    names = [name for name in known.types if name in known.required or draw(st.booleans())]
    return kind, {name: draw(_values[known.types[name]]) for name in names}


@given(entries())
@settings(max_examples=300)
def test_every_entry_decodes_to_what_was_encoded(entry):
    kind, fields = entry
    line = encode_entry(**COMMON, kind=kind, fields=fields)
    decoded = decode_entry(line, KEY)
    assert (decoded.seq, decoded.kind, decoded.session, decoded.prev) == (3, kind, "s-1", "ab" * 32)
    assert decoded.leaf == leaf_hash(line)
    assert encode_entry(**COMMON, kind=kind, fields=decoded.fields) == line


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_an_error_and_never_anything_else(data):
    with pytest.raises(EntryCorrupted):
        decode_entry(data)


def test_no_field_hides_a_common_one():
    for known in KINDS.values():
        assert not known.types.keys() & {*COMMON_KEYS, "leaf"}


@given(entries())
@settings(max_examples=300)
def test_the_spelling_is_canonical_json(entry):
    kind, fields = entry
    line = encode_entry(**COMMON, kind=kind, fields=fields)
    value = json.loads(line)
    assert canon.encode(value) == line
    assert orjson_like(value) == line


def orjson_like(value) -> bytes:
    """The standard library's spelling, which other implementations of RFC 8785 share for this subset."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_genesis_is_the_hash_of_the_formats_name():
    assert genesis() == "eb8061a93bc0e378996181e0a0f144397262298231a17db287519b74418e66d1"


def test_vector():
    """Computed from the specification alone: the MAC covers the line as it would be without its member."""
    extracted = hmac.digest(b"localgpt device key v1", bytes(range(32)), "sha256")
    subkey = hmac.digest(extracted, b"localgpt audit entry v2\x01", "sha256")
    before = b'{"boot":"b","kind":"turn.start",'
    after = b'"mono_us":7,"prev":"' + b"ab" * 32 + b'","seq":3,"session":"s-1","ts":5,"turn":"t1"}'
    state = hashlib.blake2b(before + after, key=subkey, digest_size=16, person=b"localgpt entry 2")
    line = encode_entry(**COMMON, kind="turn.start", fields={"turn": "t1"})
    assert line == before + b'"mac":"' + state.hexdigest().encode() + b'",' + after
    assert leaf_hash(line) == hashlib.sha256(b"\x00" + line).hexdigest()


@given(entries(), st.integers(0, 127))
def test_another_key_and_another_mac_are_forgeries(entry, bit):
    kind, fields = entry
    line = encode_entry(**COMMON, kind=kind, fields=fields)
    with pytest.raises(EntryForged):
        decode_entry(line, b"x" * 32)
    mac = decode_entry(line).mac
    flipped = f"{int(mac, 16) ^ (1 << bit):032x}"
    with pytest.raises(EntryForged):
        decode_entry(line.replace(f'"mac":"{mac}"'.encode(), f'"mac":"{flipped}"'.encode()), KEY)


def test_a_value_that_looks_like_the_mac_is_covered_by_it():
    name = '","mac":"' + "0" * 32 + '",'
    line = encode_entry(**COMMON, kind="injection.finding", fields={"source": name, "finding": "mac", "count": 1})
    assert decode_entry(line, KEY).fields["source"] == name
    assert decode_entry(line, KEY).mac != "0" * 32
    with pytest.raises(EntryForged):
        decode_entry(line.replace(b'"count":1', b'"count":2'), KEY)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("made.up", {}),
        ("turn.start", {}),
        ("turn.start", {"turn": "t", "text": "what the user said"}),
        ("turn.start", {"turn": "has spaces"}),
        ("turn.start", {"turn": ""}),
        ("turn.start", {"turn": "t" * 129}),
        ("turn.start", {"turn": "t", "chars": -1}),
        ("turn.start", {"turn": "t", "chars": 9 * 10**15}),
        ("turn.start", {"turn": "t", "chars": 1.5}),
        ("turn.start", {"turn": "t", "chars": True}),
        ("log.close", {"appended": "1"}),
        ("sandbox.proof", {"rung": "A", "mechanisms": ["a b"]}),
        ("sandbox.proof", {"rung": "A", "mechanisms": ["x"] * 65}),
        ("policy.loaded", {"state": "valid", "policy": "AB" * 32}),
        ("policy.loaded", {"state": "valid", "policy": "abc"}),
        ("turn.start", {"turn": None}),
    ],
)
def test_what_is_not_in_the_closed_list_is_refused(kind, fields):
    with pytest.raises(EntryInvalid):
        encode_entry(**COMMON, kind=kind, fields=fields)


@pytest.mark.parametrize("session", ["a b", "é", "x" * 65, "a\n"])
def test_a_session_id_is_plain(session):
    with pytest.raises(EntryInvalid):
        encode_entry(**{**COMMON, "session": session}, kind="turn.start", fields={"turn": "t"})


def test_foreign_names_and_paths_are_escaped_and_bounded():
    hostile = "a\x1b[31m\n\u202eb\udc80" + "x" * 5000
    line = encode_entry(**COMMON, kind="file.change", fields={"path": hostile, "action": "write"})
    assert len(line) < MAX_LINE_BYTES
    assert not any(byte < 0x20 for byte in line)
    (path,) = [decode_entry(line).fields["path"]]
    assert isinstance(path, str)
    assert len(path) == 4096
    short = encode_entry(**COMMON, kind="file.change", fields={"path": hostile[:10], "action": "write"})
    assert decode_entry(short).fields["path"] == "a\\x1b[31m\\n\\u202eb\\udc80"


MALLEATIONS = [
    lambda text: text.replace(":", ": ", 1),
    lambda text: text.replace('"ts":5', '"ts":5.0'),
    lambda text: text.replace('"ts":5', '"ts":05'),
    lambda text: text.replace('"ts":5', '"ts":true'),
    lambda text: text.replace('"ts":5', '"ts":-0'),
    lambda text: text.replace('"boot":"b",', '"boot":"b", '),
    lambda text: text.replace('"mac":"', '"mac":"0'),
    lambda text: re.sub('"mac":"[0-9a-f]*",', "", text),
    lambda text: text.replace('"seq":3', '"seq":-3'),
    lambda text: text.replace('"seq":3', '"seq":3,"seq":3'),
    lambda text: text.replace('"seq":3', '"seq":NaN'),
    lambda text: text.replace('"seq":3', '"seq":9007199254740993'),
    lambda text: text.replace('"t1"', '"\\u00741"'),
    lambda text: text.replace(',"turn":"t1"', ""),
    lambda text: text.replace('"turn":"t1"', '"note":"x","turn":"t1"'),
    lambda text: text.replace("turn.start", "turn.start2"),
    lambda text: text + " ",
    lambda text: "[" + text + "]",
    lambda text: json.dumps(json.loads(text), indent=1),
]


@pytest.mark.parametrize("malleate", MALLEATIONS)
def test_another_spelling_is_no_entry(malleate):
    line = encode_entry(**COMMON, kind="turn.start", fields={"turn": "t1"}).decode()
    changed = malleate(line)
    assert changed != line
    with pytest.raises(EntryCorrupted):
        decode_entry(changed.encode())


def test_the_specification_lists_exactly_these_kinds():
    text = (Path(__file__).parents[2] / "docs" / "spec" / "audit-log.md").read_text("utf-8")
    written = dict(re.findall(r"^\| `([a-z.]+)` \| (`.*) \|$", text, re.MULTILINE))
    assert {kind: row for kind, row in written.items() if kind in KINDS} == {
        kind: ", ".join(
            f"`{name}` {field_type}{'' if name in known.required else '?'}" for name, field_type in known.types.items()
        )
        for kind, known in KINDS.items()
    }
