"""Targets of the audit room: entry, checkpoint, head, the open epoch, proof, what the pin service is sent.

What is accepted has one spelling, so no signed or hashed thing can be changed without being another thing.
"""

from __future__ import annotations

import base64
import json

from localgpt import canon
from localgpt.audit.checkpoints import Checkpoint, identity_of, seal
from localgpt.audit.entry import decode_entry, entry_key, genesis, place_entry
from localgpt.audit.epoch import Epoch, first_epoch
from localgpt.audit.errors import EntryCorrupted, EntryForged, EpochSpoiled, ProofRejected
from localgpt.audit.grammar import spell
from localgpt.audit.head import Head, head_key, initial_heads, read_heads
from localgpt.audit.pin_service import Held, extended
from localgpt.audit.proof import check_proof
from localgpt.crypto import DeviceKey
from localgpt.crypto.merkle import leaf_hash, root_of
from localgpt.crypto.note import NoteError, parse_note

KEY = DeviceKey(bytes(range(32)))
ORIGIN = "localgpt.audit/0123456789abcdef0123456789abcdef"
DECISION = {"call": "c", "tool": "shell", "verdict": "deny", "code": "x", "policy": "ab" * 32, "effects": ["run"]}


def line(kind: str, seq: int, prev: str, **fields: object) -> bytes:
    """One entry."""
    spelled = spell(kind, "s", fields)
    return place_entry(spelled, entry_key(KEY), boot="b", mono_us=7, prev=prev, seq=seq, ts_us=5)


def lines() -> list[bytes]:
    """A short chain with every type of field."""
    first = line("turn.start", 0, genesis(), turn='t"\\', chars=3)
    rest = [
        line("decision", 1, leaf_hash(first).hex(), **DECISION, path='/é "x"\\\u202e'),
        line("process.end", 2, genesis(), role="r", status=-9),
        line("sandbox.proof", 3, genesis(), rung="A", mechanisms=["a", "b"]),
        line("session.start", 4, genesis(), project="/p", project_trusted=True, resumed=False),
    ]
    return [first, *rest]


def entry(data: bytes) -> None:
    """An entry, or one of two errors; its one spelling is that of canonical JSON."""
    try:
        found = decode_entry(data)
    except EntryCorrupted:
        return
    if canon.encode(json.loads(data)) != data or found.leaf != leaf_hash(data).hex():
        raise AssertionError("two spellings of one entry")
    try:
        decode_entry(data, entry_key(KEY))
    except EntryForged:
        return
    if data not in lines():
        raise AssertionError("an entry that was not written has a right MAC")


def note() -> bytes:
    """A checkpoint over `lines`."""
    leaves = [leaf_hash(each) for each in lines()]
    return seal(Checkpoint(ORIGIN, len(leaves), root_of(leaves)), KEY, 3, b"x" * 32)


def checkpoint(data: bytes) -> None:
    """A note with a checkpoint has one spelling, and an altered one is not signed."""
    try:
        found = parse_note(data)
        said = Checkpoint.parse(found.text)
    except NoteError:
        return
    if found.encode() != data or said.text() != found.text:
        raise AssertionError("two spellings of one checkpoint")
    identity = identity_of(KEY, ORIGIN)
    signed = any(identity.made(each) and identity.verifies(found.text, each.blob) for each in found.signatures)
    if signed and found.text != parse_note(note()).text:
        raise AssertionError("a text that was not signed verifies")


def heads() -> list[bytes]:
    """A head as it is at first, and one in use."""
    first = initial_heads(head_key(KEY), genesis())
    return [first, Head(4, 9, 0, 700, genesis()).encode(head_key(KEY)) + first[512:]]


def head(data: bytes) -> None:
    """Each slot that counts is byte for byte one that was written."""
    found = read_heads(data, head_key(KEY))
    written = [each[at : at + 512] for each in heads() for at in (0, 512)]
    if found is not None and found.newest.encode(head_key(KEY)) not in written:
        raise AssertionError("a head that was not written is authentic")


def epochs() -> list[bytes]:
    """The file of an open epoch."""
    return [first_epoch(ORIGIN, b"s" * 32, "b", 7).encode()]


def epoch(data: bytes) -> None:
    """The open epoch, or `EpochSpoiled`."""
    try:
        found = Epoch.decode(data)
    except EpochSpoiled:
        return
    if Epoch.decode(found.encode()) != found:
        raise AssertionError("what was read cannot be written")


def proofs() -> list[bytes]:
    """Proofs of the first entry of a tree of one and of the second of a tree of two."""
    first = lines()[0]
    second = line("turn.start", 1, leaf_hash(first).hex(), turn="u")
    found = []
    for index, chosen in enumerate(([first], [first, second])):
        leaves = [leaf_hash(each) for each in chosen]
        signed = seal(Checkpoint(ORIGIN, len(chosen), root_of(leaves)), KEY, 0, b"x" * 32).decode()
        path = [base64.b64encode(each).decode() for each in leaves[:-1]]
        extra = base64.b64encode(chosen[-1]).decode()
        head_lines = ["c2sp.org/tlog-proof@v1", f"extra {extra}", f"index {index}", *path, "", signed]
        found.append("\n".join(head_lines).encode())
    return found


def proof(data: bytes) -> None:
    """Proven, or `ProofRejected`; nothing but what was made is ever proven, unknown signatures apart."""
    try:
        proven = check_proof(data, identity_of(KEY, ORIGIN))
    except (ProofRejected, EntryCorrupted):
        return
    body, _, signed = data.partition(b"\n\n")
    made = [each.partition(b"\n\n") for each in proofs()]
    texts = [parse_note(each[2]).text for each in made]
    if body not in [each[0] for each in made] or parse_note(signed).text not in texts:
        raise AssertionError(f"a proof that was not made holds: entry {proven.entry.seq}")


def sent() -> list[bytes]:
    """Two lines that a pin service is sent, as one text."""
    first = lines()[0]
    return [first + b"\n" + line("turn.start", 1, leaf_hash(first).hex(), turn="u")]


def pinned(data: bytes) -> None:
    """The service goes forward along the chain, or says why not; what it vouched for stays the beginning."""
    texts = data.decode("utf-8", "replace").split("\n")
    held = Held(ORIGIN, 1, leaf_hash(lines()[0]).hex())
    longer = extended(held, ORIGIN, 0, texts)
    if longer.error:
        if (longer.size, longer.leaf) != (held.size, held.leaf):
            raise AssertionError("a refusal that changes what is held")
    elif longer.size < held.size or leaf_hash(texts[0].encode()).hex() != held.leaf:
        raise AssertionError("another beginning is vouched for")


TARGETS = {
    "audit.entry": (entry, lines),
    "audit.checkpoint": (checkpoint, lambda: [note()]),
    "audit.head": (head, heads),
    "audit.epoch": (epoch, epochs),
    "audit.proof": (proof, proofs),
    "audit.pinned": (pinned, sent),
}
