"""The head: its bytes computed independently from the specification, and nothing but its one spelling accepted."""

import hashlib
import hmac

import pytest

from localgpt.audit.head import HEAD_BYTES, SLOT_BYTES, Head, Heads, head_key, initial_heads, read_heads
from localgpt.crypto import DeviceKey

KEY = DeviceKey(bytes(range(32)))
HEAD = Head(7, 9, 0, 4321, "ab" * 32)


def slots(*heads: Head) -> bytes:
    data = bytearray(HEAD_BYTES)
    for head in heads:
        data[head.slot * SLOT_BYTES : (head.slot + 1) * SLOT_BYTES] = head.encode(head_key(KEY))
    return bytes(data)


def test_vector():
    extracted = hmac.digest(b"localgpt device key v1", bytes(range(32)), "sha256")
    subkey = hmac.digest(extracted, b"localgpt audit head v2\x01", "sha256")
    before = b'{"commit":7,"end":4321,"format":"localgpt.audit.head/v2","leaf":"' + b"ab" * 32 + b'",'
    after = b'"segment":0,"seq":9}'
    mac = hashlib.blake2b(before + after, key=subkey, digest_size=32, person=b"localgpt head 2").hexdigest()
    line = before + b'"mac":"' + mac.encode() + b'",' + after
    assert HEAD.encode(head_key(KEY)) == line + b" " * (511 - len(line)) + b"\n"


def test_slots_alternate_and_the_newer_one_counts():
    assert HEAD.slot == 1
    newer = Head(8, 12, 0, 5000, "cd" * 32)
    assert newer.slot == 0
    assert read_heads(slots(HEAD, newer), head_key(KEY)) == Heads(newer, None)
    assert read_heads(slots(newer), head_key(KEY)) == Heads(newer, 1)


def test_at_first_both_slots_are_authentic():
    data = initial_heads(head_key(KEY), "00" * 32)
    assert read_heads(data, head_key(KEY)) == Heads(Head(-1, -1, 0, 0, "00" * 32), None)
    assert len(data) == HEAD_BYTES


def test_a_slot_copied_over_the_other_is_spoiled():
    copied = slots(HEAD)[SLOT_BYTES:] * 2
    assert read_heads(copied, head_key(KEY)) == Heads(HEAD, 0)


def test_a_spoiled_slot_was_torn_only_when_the_next_entry_is_there():
    heads = Heads(HEAD, 0)
    assert [last for last in range(5, 11) if heads.accounts_for(last)] == [10]
    assert Heads(HEAD, None).accounts_for(7)
    assert not Heads(Head(-2, -2, 0, 0, "00" * 32), 1).accounts_for(-1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(HEAD_BYTES),
        slots(HEAD)[SLOT_BYTES:-1],
        slots(HEAD).replace(b"localgpt.audit.head/v2", b"localgpt.audit.head/v3"),
        slots(HEAD).replace(b'"seq":9', b'"seq":8'),
        slots(HEAD).replace(b'"seq":9} ', b'"seq":9 }'),
        slots(HEAD).replace(b'"seq":9', b'"seq":true'),
        slots(HEAD).replace(b" \n", b"\n\n"),
    ],
)
def test_nothing_else_is_a_head(data):
    assert read_heads(data, head_key(KEY)) is None


def test_another_key_makes_another_head():
    assert read_heads(slots(HEAD), head_key(DeviceKey(b"x" * 32))) is None
