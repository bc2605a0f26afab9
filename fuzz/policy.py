"""Targets of the policy room: document, manifest, note, state, cases, backup, public key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from localgpt.crypto import DeviceKey, DeviceKeyError
from localgpt.crypto.backup import BackupNotOpened, open_key, seal_key
from localgpt.crypto.note import NoteError, NoteKey, NoteKeyMalformed, NoteSecret, parse_note, sign_note
from localgpt.policy import Document, parse_document, parse_manifest, starter_document
from localgpt.policy.builtin import shipped
from localgpt.policy.emit import emit_document
from localgpt.policy.errors import CasesMalformed, DocumentError, ManifestCorrupted, StateCorrupted
from localgpt.policy.noted import parse_policy_note
from localgpt.policy.review import parse_cases
from localgpt.policy.state import Pin, Snapshot

CHECKOUT = Path(__file__).resolve().parent.parent
KEY = DeviceKey(bytes(range(32)))
SECRET = NoteSecret("team.example/policy", bytes(32))
VECTORS = [json.loads(path.read_text("utf-8")) for path in sorted((CHECKOUT / "tests/vectors/policy").glob("*.json"))]
_BACKUP = seal_key(KEY, "correct horse battery")


def documents() -> list[bytes]:
    rejected = [path.read_bytes() for path in sorted((CHECKOUT / "policies/rejected").glob("*.md"))]
    return [starter_document(), *(data for data in rejected if len(data) < 4096)]


def manifests() -> list[bytes]:
    return [vector["manifest"].encode() for vector in VECTORS if vector["manifest"]]


def states() -> list[bytes]:
    pin, signed = Pin("/w", 3, "0" * 64), Pin("/w", 3, "0" * 64, str(SECRET.public_key()))
    snapshot = Snapshot("/w", starter_document(), manifests()[0])
    return [pin.encode(KEY), signed.encode(KEY), snapshot.encode(KEY)]


def tables() -> list[bytes]:
    return [shipped("cases/builtin.toml"), b"version = 1\n[[case]]\nread = '/x'\nverdict = 'deny'\n"]


def document(data: bytes) -> None:
    """A document, or a leaf of `DocumentError`; and what it says can be said again, or is refused."""
    try:
        found = parse_document(data)
    except DocumentError as error:
        if error.code == DocumentError.code:
            raise AssertionError("an error has a code of its own") from error
        return
    try:
        again = parse_document(emit_document(found.prose, found.rules, extends=found.extends, flow=found.flow))
    except DocumentError:
        return
    assert _meaning(again) == _meaning(found)


def _meaning(found: Document) -> tuple[object, ...]:
    return found.prose, found.extends, found.flow, tuple(replace(rule, line=0) for rule in found.rules)


def manifest(data: bytes) -> None:
    """A manifest has one spelling, but for version 1, which others write."""
    try:
        found = parse_manifest(data)
    except ManifestCorrupted:
        return
    assert found.version == 1 or found.encode() == data


def note(data: bytes) -> None:
    """A note has one spelling, and so has what it says of a policy."""
    try:
        found = parse_note(data)
    except NoteError:
        return
    assert found.encode() == data
    try:
        said = parse_policy_note(data, SECRET.public_key())
    except ManifestCorrupted:
        return
    text = (
        f"localgpt.policy/v1\nsequence {said.sequence}\npath {said.path}\nsha256 {said.content_sha256}\n"
        f"size {said.size_bytes}\nsigned {said.signed_at}\nby {said.signed_by}\n"
    )
    assert text.encode() == found.text


def state(data: bytes) -> None:
    """A record of the state directory is exactly what this key wrote."""
    for kind in (Pin, Snapshot):
        try:
            found = kind.decode(data, KEY, "/w")
        except StateCorrupted:
            continue
        assert found.encode(KEY) == data


def cases(data: bytes) -> None:
    """A table, or one named error."""
    try:
        parse_cases(data)
    except CasesMalformed:
        return


def backup(data: bytes) -> None:
    """Nothing but the backup itself opens; what is no backup is named before any work is done."""
    if data == _BACKUP:
        return
    try:
        open_key(data, "correct horse battery")
    except (BackupNotOpened, DeviceKeyError):
        return
    raise AssertionError("a changed backup was opened")


def public_key(data: bytes) -> None:
    """A key has one spelling, white space around it apart."""
    text = data.decode("utf-8", "replace")
    try:
        found = NoteKey.parse(text)
    except NoteKeyMalformed:
        return
    assert str(found) == text.strip()


def signed_text(data: bytes) -> None:
    """Whatever is signed reads back as the same text, or is not signed."""
    try:
        signed = sign_note(data, SECRET)
    except NoteError:
        return
    assert parse_note(signed).text == data


TARGETS = {
    "policy.document": (document, documents),
    "policy.manifest": (manifest, manifests),
    "policy.note": (note, manifests),
    "policy.state": (state, states),
    "policy.cases": (cases, tables),
    "policy.backup": (backup, lambda: [_BACKUP]),
    "policy.public-key": (public_key, lambda: [str(SECRET.public_key()).encode(), SECRET.spell().encode()]),
    "policy.signed-text": (signed_text, lambda: [b"a\n", b"localgpt.policy/v1\nsequence 3\n\n\xe2\x80\x94 a b\n"]),
}
