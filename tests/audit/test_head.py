"""The head: its bytes computed independently from the specification, and nothing but its one spelling accepted."""

import hmac

import pytest

from localgpt.audit.head import HEAD_BYTES, SLOT_BYTES, Head, head_key, read_head
from localgpt.crypto import DeviceKey

KEY = DeviceKey(bytes(range(32)))
HEAD = Head(7, 4321, "ab" * 32)


def slots(*heads: Head) -> bytes:
    data = bytearray(HEAD_BYTES)
    for head in heads:
        data[head.offset : head.offset + SLOT_BYTES] = head.encode(head_key(KEY))
    return bytes(data)


def test_vector():
    extracted = hmac.digest(b"localgpt device key v1", bytes(range(32)), "sha256")
    subkey = hmac.digest(extracted, b"localgpt audit head v1\x01", "sha256")
    body = b'{"end":4321,"format":"localgpt.audit.head/v1","leaf":"' + b"ab" * 32 + b'","seq":7}'
    mac = hmac.digest(subkey, b"localgpt.audit.head/v1\x00" + body, "sha256").hex().encode()
    line = body.replace(b'"leaf"', b'"hmac_sha256":"' + mac + b'","leaf"')
    assert HEAD.encode(head_key(KEY)) == line + b" " * (511 - len(line)) + b"\n"


def test_slots_alternate_and_the_newer_one_counts():
    assert HEAD.offset == SLOT_BYTES
    newer = Head(8, 5000, "cd" * 32)
    assert newer.offset == 0
    assert read_head(slots(HEAD, newer), head_key(KEY)) == newer
    assert read_head(slots(newer), head_key(KEY)) == newer
    assert Head(-1, 0, "00" * 32).offset == SLOT_BYTES


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(HEAD_BYTES),
        slots(HEAD)[SLOT_BYTES:-1],
        slots(HEAD).replace(b"localgpt.audit.head/v1", b"localgpt.audit.head/v2"),
        slots(HEAD).replace(b'"seq":7', b'"seq":8'),
        slots(HEAD).replace(b'"seq":7} ', b'"seq":7 }'),
        slots(HEAD).replace(b'"seq":7', b'"seq":true'),
        slots(HEAD).replace(b" \n", b"\n\n"),
    ],
)
def test_nothing_else_is_a_head(data):
    assert read_head(data, head_key(KEY)) is None


def test_another_key_makes_another_head():
    assert read_head(slots(HEAD), head_key(DeviceKey(b"x" * 32))) is None
