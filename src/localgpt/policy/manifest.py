"""The manifest beside the document: what was signed, when, by whom, in which order, for which path. Bytes in and out.

Version 2 is one line of canonical JSON. Its MAC covers every other field, and through `content_sha256` and
`size_bytes` the exact bytes of the document; the subkey and the domain string make it worthless anywhere else. Version
1, of the Rust LocalGPT, is verified but never written: its MAC covers the document's bytes alone.

Source: docs/spec/policy.md.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from localgpt import canon
from localgpt.crypto import DeviceKey, same, sha256_hex, tagged_mac
from localgpt.policy.errors import (
    ContentChanged,
    ManifestCorrupted,
    SignatureMismatch,
    SignedByOtherKey,
    SignedElsewhere,
)

ALGORITHM: Final = "hmac-sha256"
MAX_MANIFEST_BYTES: Final = 16 * 1024
_LABEL: Final = "localgpt policy manifest v2"
_DOMAIN: Final = "localgpt.policy.manifest/v2"
_HEX64: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEY_ID: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_HIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SIGNER: Final = re.compile(r"[a-z][a-z0-9._-]{0,31}", re.ASCII)
_V1_KEYS: Final = {"version", "hmac_sha256", "signed_at", "signed_by", "content_sha256"}
_CURE: Final = "read LocalGPT.md, then run `localgpt sign`"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A well-formed manifest; nothing in it is authentic before `verify`.

    Version 1 has no sequence (0), no path, no key id and no size (-1), and authenticates neither time nor signer.
    Version 3 stands for a signed note (`localgpt.policy.noted`), which has no MAC (zeros).
    """

    version: int
    sequence: int
    path: str
    content_sha256: str
    size_bytes: int
    signed_at: str
    signed_by: str
    key_id: str
    hmac_sha256: str

    def encode(self) -> bytes:
        """The file's bytes (version 2 only): canonical JSON and a newline."""
        return canon.encode({**self._signed(), "hmac_sha256": self.hmac_sha256}) + b"\n"

    def verify(self, document: bytes, key: DeviceKey, path: str) -> None:
        """Check that this manifest was made with `key` for exactly `document` at `path`.

        Raises:
            SignedByOtherKey, SignatureMismatch, ContentChanged, SignedElsewhere
        """
        if self.version == 1:
            self._verify_v1(document, key)
            return
        if not same(self.key_id.encode(), key.key_id.encode()):
            raise SignedByOtherKey(f"signed with the device key {self.key_id}, not {key.key_id}", cure=_CURE)
        if not same(self.hmac_sha256.encode(), self.mac(key).encode()):
            raise SignatureMismatch("the manifest was not made with this device key, or was changed", cure=_CURE)
        if not same(self.content_sha256.encode(), sha256_hex(document).encode()) or self.size_bytes != len(document):
            raise ContentChanged("the document was changed after it was signed", cure=_CURE)
        if self.path != path:
            raise SignedElsewhere(f"signed for {self.path!r}, found at {path!r}", cure=_CURE)

    def mac(self, key: DeviceKey) -> str:
        """The MAC (hex) that `key` gives to this manifest's other fields."""
        return tagged_mac(key.subkey(_LABEL), _DOMAIN, canon.encode(self._signed())).hex()

    def _verify_v1(self, document: bytes, key: DeviceKey) -> None:
        if not same(self.content_sha256.encode(), sha256_hex(document).encode()):
            raise ContentChanged("the document was changed after it was signed", cure=_CURE)
        if not same(self.hmac_sha256.encode(), key.legacy_mac(document).hex().encode()):
            raise SignatureMismatch("the version-1 manifest was not made with this device key", cure=_CURE)

    def _signed(self) -> dict[str, canon.Json]:
        fields: dict[str, canon.Json] = asdict(self)
        del fields["hmac_sha256"]
        return {**fields, "algorithm": ALGORITHM}


def sign_manifest(
    document: bytes, key: DeviceKey, *, path: str, sequence: int, signed_at: datetime, signed_by: str
) -> Manifest:
    """Make the version-2 manifest of `document`. `path` is its absolute path, `signed_at` an aware time.

    Raises:
        ManifestCorrupted: a value that no manifest may hold (an over-long or unprintable path, a bad signer's name).
    """
    unsigned = Manifest(
        version=2,
        sequence=sequence,
        path=path,
        content_sha256=sha256_hex(document),
        size_bytes=len(document),
        signed_at=signed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        signed_by=signed_by,
        key_id=key.key_id,
        hmac_sha256="0" * 64,
    )
    check_fields(unsigned)
    return Manifest(**{**asdict(unsigned), "hmac_sha256": unsigned.mac(key)})


def parse_manifest(data: bytes) -> Manifest:
    """Parse the bytes of a manifest file, version 1 or 2.

    Raises:
        ManifestCorrupted: anything but a manifest of a known version; a version 2 also when it is spelled differently.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise _corrupted(f"more than {MAX_MANIFEST_BYTES} bytes")
    try:
        tree = json.loads(data.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _corrupted("not JSON") from error
    if not isinstance(tree, dict):
        raise _corrupted("not an object")
    if tree.get("version") == 1 and not isinstance(tree["version"], bool):
        return _parse_v1(tree)
    return _parse_v2(data)


def _parse_v2(data: bytes) -> Manifest:
    try:
        tree: dict[str, Any] = dict(canon.decode_object(data.removesuffix(b"\n")))
    except canon.CanonError as error:
        raise _corrupted("not in canonical spelling") from error
    if tree.pop("algorithm", None) != ALGORITHM or tree.keys() != set(Manifest.__dataclass_fields__):
        raise _corrupted("unknown version, algorithm or keys")
    _check(tree)
    if not data.endswith(b"\n"):
        raise _corrupted("cut off")
    return Manifest(**tree)


def _parse_v1(tree: dict[str, Any]) -> Manifest:
    if tree.keys() != _V1_KEYS or not all(isinstance(tree[key], str) for key in _V1_KEYS - {"version"}):
        raise _corrupted("not the keys of version 1")
    if not _HEX64.fullmatch(tree["hmac_sha256"]) or not _HEX64.fullmatch(tree["content_sha256"]):
        raise _corrupted("a digest is not 64 hex digits")
    return Manifest(
        version=1,
        sequence=0,
        path="",
        content_sha256=tree["content_sha256"],
        size_bytes=-1,
        signed_at=tree["signed_at"][:64],
        signed_by=tree["signed_by"][:64],
        key_id="",
        hmac_sha256=tree["hmac_sha256"],
    )


_PATTERNS: Final = {
    "content_sha256": _HEX64,
    "hmac_sha256": _HEX64,
    "key_id": _KEY_ID,
    "signed_at": _TIME,
    "signed_by": _SIGNER,
}


def check_fields(manifest: Manifest, *, bare_name: bool = False) -> None:
    """Check the ranges of all fields. `bare_name`: a path may also be a file's name alone.

    Raises:
        ManifestCorrupted
    """
    tree = asdict(manifest)
    path = manifest.path
    if bare_name and path and "/" not in path and path not in {".", ".."}:
        path = f"/{path}"
    _check({**tree, "version": 2, "path": path})


def _check(tree: dict[str, Any]) -> None:
    """Check types and ranges of version 2."""
    if any(type(tree[key]) is not int or tree[key] < least for key, least in (("sequence", 1), ("size_bytes", 0))):
        raise _corrupted("sequence or size is not a number in range")
    if type(tree["version"]) is not int or tree["version"] != 2:
        raise _corrupted("unknown version")
    for key, pattern in _PATTERNS.items():
        if not isinstance(tree[key], str) or not pattern.fullmatch(tree[key]):
            raise _corrupted(f"{key} is not what it must be")
    path = tree["path"]
    if not isinstance(path, str) or not path.startswith("/") or len(path) > 4096 or _HIDDEN.search(path):
        raise _corrupted("path is not a printable absolute path")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("duplicate key")
    return tree


def _corrupted(what: str) -> ManifestCorrupted:
    return ManifestCorrupted(f"the manifest is not a policy manifest: {what}", cure=_CURE)
