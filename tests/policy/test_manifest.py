"""Manifests of both versions: vectors, one spelling, and the right state for any flipped bit anywhere."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from localgpt.crypto import DeviceKey, sha256_hex
from localgpt.policy import Manifest, PolicyState, Status, check_document, parse_manifest, sign_manifest
from localgpt.policy.errors import ManifestCorrupted
from localgpt.policy.state import Pin
from tests.policy.support import KEY

PATH = "/home/u/ws/LocalGPT.md"
DOCUMENT = b'# Rules\n\n```toml policy\n[[deny]]\nargv = ["git", "push"]\n```\n'
WHEN = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)


def signed(document: bytes = DOCUMENT, key: DeviceKey = KEY, sequence: int = 3, path: str = PATH) -> Manifest:
    return sign_manifest(document, key, path=path, sequence=sequence, signed_at=WHEN, signed_by="cli")


def version_1(document: bytes = DOCUMENT, secret: bytes = bytes(range(32))) -> bytes:
    """As the Rust LocalGPT writes it."""
    return json.dumps(
        {
            "version": 1,
            "hmac_sha256": hmac.new(secret, document, hashlib.sha256).hexdigest(),
            "signed_at": "2026-03-01T12:00:00.123456789+00:00",
            "signed_by": "gui",
            "content_sha256": hashlib.sha256(document).hexdigest(),
        },
        indent=2,
    ).encode()


def state(
    document: bytes = DOCUMENT,
    manifest: bytes | None = None,
    key: DeviceKey = KEY,
    pin: Pin | None = None,
    path: str = PATH,
) -> Status:
    return check_document(document, signed().encode() if manifest is None else manifest, key, path=path, pin=pin)


def test_vector():
    """An independent computation of the MAC from the specification, with the standard library alone."""
    manifest = json.loads(signed().encode())
    mac = manifest.pop("hmac_sha256")
    extracted = hmac.digest(b"localgpt device key v1", bytes(range(32)), "sha256")
    subkey = hmac.digest(extracted, b"localgpt policy manifest v2\x01", "sha256")
    body = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    assert mac == hmac.digest(subkey, b"localgpt.policy.manifest/v2\x00" + body, "sha256").hex()
    assert manifest == {
        "algorithm": "hmac-sha256",
        "content_sha256": sha256_hex(DOCUMENT),
        "key_id": KEY.key_id,
        "path": PATH,
        "sequence": 3,
        "signed_at": "2026-11-21T10:00:00Z",
        "signed_by": "cli",
        "size_bytes": len(DOCUMENT),
        "version": 2,
    }


def test_it_round_trips_in_one_spelling():
    encoded = signed().encode()
    assert parse_manifest(encoded).encode() == encoded
    assert encoded.endswith(b"\n")


def test_valid():
    status = state()
    assert status.state is PolicyState.VALID
    assert status.policy is not None
    assert status.detail == "signature number 3, 2026-11-21T10:00:00Z, by cli"
    assert status.digest == sha256_hex(DOCUMENT)


def test_times_are_written_in_utc():
    elsewhere = WHEN.astimezone(timezone(timedelta(hours=5)))
    manifest = sign_manifest(DOCUMENT, KEY, path=PATH, sequence=1, signed_at=elsewhere, signed_by="cli")
    assert manifest.signed_at == "2026-11-21T10:00:00Z"


@pytest.mark.parametrize("bad", [{"sequence": 0}, {"path": "relative"}, {"path": "/a\nb"}, {"signed_by": "me too"}])
def test_what_no_manifest_may_hold_is_not_signed(bad):
    with pytest.raises(ManifestCorrupted):
        sign_manifest(DOCUMENT, KEY, **{"path": PATH, "sequence": 1, "signed_at": WHEN, "signed_by": "cli", **bad})


def test_missing_unsigned_and_without_a_key():
    assert check_document(None, signed().encode(), KEY, path=PATH).state is PolicyState.MISSING
    assert check_document(DOCUMENT, None, KEY, path=PATH).state is PolicyState.UNSIGNED
    without = check_document(DOCUMENT, signed().encode(), None, path=PATH)
    assert (without.state, without.policy) == (PolicyState.UNSIGNED, None)


def test_every_flipped_bit_of_the_document_is_tampering():
    for at in range(len(DOCUMENT)):
        for bit in range(8):
            flipped = bytearray(DOCUMENT)
            flipped[at] ^= 1 << bit
            status = state(bytes(flipped))
            assert status.state is PolicyState.TAMPERED, (at, bit)
            assert status.policy is None
            assert status.prose == ""


def test_every_flipped_bit_of_the_manifest_is_tampering_or_corruption():
    good = signed().encode()
    for at in range(len(good)):
        for bit in range(8):
            flipped = bytearray(good)
            flipped[at] ^= 1 << bit
            status = state(manifest=bytes(flipped))
            assert status.state in {PolicyState.TAMPERED, PolicyState.MANIFEST_CORRUPTED}, (at, bit)
            assert status.policy is None
            assert status.problem is not None


def test_every_flipped_bit_of_the_key_is_another_key():
    manifest = signed().encode()
    for at in range(32):
        for bit in range(8):
            secret = bytearray(range(32))
            secret[at] ^= 1 << bit
            status = state(manifest=manifest, key=DeviceKey(bytes(secret)))
            assert status.problem is not None
            assert (status.state, status.problem.code) == (PolicyState.TAMPERED, "policy.other-key")


@pytest.mark.parametrize(
    ("name", "value"),
    [("sequence", 4), ("path", "/x"), ("signed_at", "2026-11-21T10:00:01Z"), ("signed_by", "gui"), ("size_bytes", 1)],
)
def test_all_metadata_is_authenticated(name, value):
    body = json.loads(signed().encode())
    body[name] = value
    status = state(manifest=json.dumps(body, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    assert status.problem is not None
    assert (status.state, status.problem.code) == (PolicyState.TAMPERED, "policy.signature-mismatch")


def test_a_genuine_manifest_of_another_path():
    status = state(path="/home/u/other/LocalGPT.md")
    assert status.problem is not None
    assert (status.state, status.problem.code) == (PolicyState.TAMPERED, "policy.other-path")


def test_rollback():
    old, new = signed(sequence=3).encode(), signed(DOCUMENT + b"more\n", sequence=4).encode()
    pin = Pin.of("/home/u/ws", 4, new)
    status = state(manifest=old, pin=pin)
    assert status.problem is not None
    assert (status.state, status.problem.code) == (PolicyState.TAMPERED, "policy.rollback")
    assert state(DOCUMENT + b"more\n", new, pin=pin).state is PolicyState.VALID
    fork = signed(DOCUMENT + b"else\n", sequence=4).encode()
    assert state(DOCUMENT + b"else\n", fork, pin=pin).state is PolicyState.TAMPERED
    assert state(DOCUMENT + b"x\n", signed(DOCUMENT + b"x\n", sequence=9).encode(), pin=pin).state is PolicyState.VALID


MALLEATIONS = [
    lambda m: m.removesuffix(b"\n"),
    lambda m: m + b"\n",
    lambda m: b" " + m,
    lambda m: m.replace(b":", b": ", 1),
    lambda m: m.replace(b'"sequence":3', b'"sequence":3,"sequence":3'),
    lambda m: m.replace(b'"sequence":3', b'"sequence":3.0'),
    lambda m: m.replace(b'"sequence":3', b'"sequence":true'),
    lambda m: m.replace(b'"version":2', b'"version":3'),
    lambda m: m.replace(b'"version":2', b'"version":"2"'),
    lambda m: m.replace(b"hmac-sha256", b"none"),
    lambda m: m.replace(b'"version":2', b'"version":2,"x":1'),
    lambda m: m.replace(b'"signed_by":"cli",', b""),
    lambda m: b"",
    lambda m: b"null",
    lambda m: b"[" * 5000,
    lambda m: m + b" " * 20_000,
    lambda m: b"\xff\xfe",
]


@pytest.mark.parametrize("malleate", MALLEATIONS)
def test_another_spelling_is_corrupted(malleate):
    changed = malleate(signed().encode())
    assert changed != signed().encode()
    assert state(manifest=changed).state is PolicyState.MANIFEST_CORRUPTED


# --- version 1 --------------------------------------------------------------------------------------------------


def test_a_version_1_manifest_verifies_and_is_reported_as_such():
    status = state(manifest=version_1())
    assert status.state is PolicyState.VALID
    assert status.manifest is not None
    assert (status.manifest.version, status.manifest.signed_by) == (1, "gui")
    assert "version 1" in status.detail


def test_version_1_is_bound_to_document_and_key():
    assert state(DOCUMENT + b" ", manifest=version_1()).state is PolicyState.TAMPERED
    assert state(manifest=version_1(secret=b"x" * 32)).state is PolicyState.TAMPERED
    forged = json.loads(version_1())
    forged["hmac_sha256"] = "0" * 64
    assert state(manifest=json.dumps(forged).encode()).state is PolicyState.TAMPERED


def test_version_1_cannot_roll_back_a_version_2():
    assert state(manifest=version_1(), pin=Pin.of("/home/u/ws", 1, signed().encode())).state is PolicyState.TAMPERED
    assert state(manifest=version_1(), pin=Pin.of("/home/u/ws", 0, b"another version 1")).state is PolicyState.VALID


@pytest.mark.parametrize(
    "malleate",
    [
        lambda text: text.replace('"version": 1', '"version": true'),
        lambda text: text.replace('"gui"', "1"),
        lambda text: text.replace('"signed_by"', '"signed"'),
        lambda text: text.replace('"version": 1', '"version": 1, "version": 1'),
        lambda text: text.replace('"content_sha256": "', '"content_sha256": "A'),
    ],
)
def test_a_malformed_version_1_is_corrupted(malleate):
    assert state(manifest=malleate(version_1().decode()).encode()).state is PolicyState.MANIFEST_CORRUPTED


def test_a_signed_text_that_this_version_cannot_use_is_not_applied():
    """The Rust LocalGPT cut long prose; here it is not applied at all, and says why."""
    long = b"word " * 2000
    status = state(long, manifest=version_1(long))
    assert status.problem is not None
    assert (status.state, status.policy, status.problem.code) == (PolicyState.UNSIGNED, None, "policy.prose-too-long")
