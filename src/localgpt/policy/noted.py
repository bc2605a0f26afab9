"""The signed note of mode ed25519: what a manifest says, for readers who hold the public key only. Bytes in and out.

The text has one spelling: seven lines, each a word and a value. `path` is the document's absolute path, or its bare
name when the signature is to hold in every copy of a repository.

Source: docs/spec/policy.md; c2sp.org/signed-note.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final

from localgpt.crypto import sha256_hex
from localgpt.crypto.note import (
    NoteError,
    NoteForged,
    NoteKey,
    NoteKeyMalformed,
    NoteNotSigned,
    NoteSecret,
    open_note,
    parse_note,
    sign_note,
)
from localgpt.policy.errors import (
    ContentChanged,
    ManifestCorrupted,
    PublicKeyMalformed,
    SignatureMismatch,
    SignedByOtherKey,
    SignedElsewhere,
)
from localgpt.policy.manifest import Manifest, check_fields

NOTE_VERSION: Final = 3
_FIRST_LINE: Final = "localgpt.policy/v1"
_TEXT: Final = re.compile(
    r"localgpt\.policy/v1\nsequence ([1-9][0-9]{0,15})\npath ([^\n]+)\nsha256 ([0-9a-f]{64})\n"
    r"size (0|[1-9][0-9]{0,15})\nsigned ([0-9TZ:-]{20})\nby ([a-z0-9._-]+)\n",
    re.ASCII,
)
_CURE: Final = "read LocalGPT.md, then sign it again: `localgpt sign --key FILE`"


def read_public_key(text: str) -> NoteKey:
    """The public key of a configuration or a file.

    Raises:
        PublicKeyMalformed
    """
    try:
        return NoteKey.parse(text)
    except NoteKeyMalformed as error:
        raise PublicKeyMalformed(f"this is no public key: {error.message}", cure=error.cure) from error


def public_key_id(key: NoteKey) -> str:
    """16 hex digits that name a public key as `DeviceKey.key_id` names a device key."""
    return sha256_hex(str(key).encode("utf-8"))[:16]


def sign_as_note(
    document: bytes, secret: NoteSecret, *, path: str, sequence: int, signed_at: datetime, signed_by: str
) -> bytes:
    """Make the note of `document`. `path`: absolute, or a bare file name.

    Raises:
        ManifestCorrupted: a value that no note may hold.
    """
    when = signed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    manifest = Manifest(
        NOTE_VERSION, sequence, path, sha256_hex(document), len(document), when, signed_by, "0" * 16, "0" * 64
    )
    check_fields(manifest, bare_name=True)
    return sign_note(_text(manifest), secret)


def parse_policy_note(data: bytes, public: NoteKey) -> Manifest:
    """Parse the bytes of a note that is said to be of `public`, without believing them.

    Raises:
        ManifestCorrupted: no note, or a note that speaks of something else than a policy.
    """
    try:
        return _read_text(parse_note(data).text, public_key_id(public))
    except NoteError as error:
        raise ManifestCorrupted(f"the signature file is no signed note: {error.message}", cure=_CURE) from error


def verify_note(data: bytes, document: bytes, public: NoteKey, path: str) -> None:
    """Check that `public` signed exactly `document` for `path`. `data` was parsed by `parse_policy_note` already.

    Raises:
        SignedByOtherKey, SignatureMismatch, ContentChanged, SignedElsewhere
    """
    try:
        note, _ = open_note(data, [public])
    except NoteNotSigned as error:
        raise SignedByOtherKey(f"not signed by {public.name} ({public.key_id.hex()})", cure=_CURE) from error
    except NoteForged as error:
        raise SignatureMismatch(f"{public.name} did not sign this, or it was changed", cure=_CURE) from error
    manifest = _read_text(note.text, public_key_id(public))
    if manifest.content_sha256 != sha256_hex(document) or manifest.size_bytes != len(document):
        raise ContentChanged("the document was changed after it was signed", cure=_CURE)
    if manifest.path not in {path, PurePosixPath(path).name}:
        raise SignedElsewhere(f"signed for {manifest.path!r}, found at {path!r}", cure=_CURE)


def _text(manifest: Manifest) -> bytes:
    return (
        f"{_FIRST_LINE}\nsequence {manifest.sequence}\npath {manifest.path}\nsha256 {manifest.content_sha256}\n"
        f"size {manifest.size_bytes}\nsigned {manifest.signed_at}\nby {manifest.signed_by}\n"
    ).encode()


def _read_text(text: bytes, key_id: str) -> Manifest:
    """Read the text of a note."""
    found = _TEXT.fullmatch(text.decode("utf-8"))
    if found is None:
        raise ManifestCorrupted("the signed note does not speak of a policy of a known version", cure=_CURE)
    sequence, path, digest, size, when, by = found.groups()
    manifest = Manifest(NOTE_VERSION, int(sequence), path, digest, int(size), when, by, key_id, "0" * 64)
    check_fields(manifest, bare_name=True)
    return manifest
