"""What the state directory remembers of a policy: the last verified bytes (snapshot) and the highest sequence (pin).

Both are authenticated with their own subkeys and name the workspace, so that neither can be forged, mixed up or
carried to another one. Bytes in, bytes out.

Source: docs/spec/policy.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from localgpt import canon
from localgpt.crypto import DeviceKey, same, sha256_hex, tagged_mac
from localgpt.policy.errors import StateCorrupted

MAX_STATE_BYTES: Final = 512 * 1024
_CURE: Final = "read LocalGPT.md, then run `localgpt sign`, which makes a new record"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The exact bytes of a document and a manifest that verified together."""

    path: str
    document: bytes
    manifest: bytes

    def encode(self, key: DeviceKey) -> bytes:
        """Authenticated bytes for the state directory. The document is UTF-8: it was parsed."""
        return _seal(
            "snapshot",
            {"path": self.path, "document": self.document.decode("utf-8"), "manifest": self.manifest.decode("utf-8")},
            key,
        )

    @classmethod
    def decode(cls, data: bytes, key: DeviceKey, path: str) -> Snapshot:
        """Read and authenticate.

        Raises:
            StateCorrupted
        """
        body = _open("snapshot", data, key, path, {"document": str, "manifest": str})
        return cls(path, cast("str", body["document"]).encode(), cast("str", body["manifest"]).encode())


@dataclass(frozen=True, slots=True)
class Pin:
    """The highest manifest seen at `path`. `manifest_sha256`: hex digest of its bytes."""

    path: str
    sequence: int
    manifest_sha256: str

    @classmethod
    def of(cls, path: str, sequence: int, manifest: bytes) -> Pin:
        return cls(path, sequence, sha256_hex(manifest))

    def encode(self, key: DeviceKey) -> bytes:
        """Authenticated bytes for the state directory."""
        return _seal(
            "pin", {"path": self.path, "sequence": self.sequence, "manifest_sha256": self.manifest_sha256}, key
        )

    @classmethod
    def decode(cls, data: bytes, key: DeviceKey, path: str) -> Pin:
        """Read and authenticate.

        Raises:
            StateCorrupted
        """
        body = _open("pin", data, key, path, {"sequence": int, "manifest_sha256": str})
        return cls(path, cast("int", body["sequence"]), cast("str", body["manifest_sha256"]))


def _seal(kind: str, body: dict[str, canon.Json], key: DeviceKey) -> bytes:
    full: dict[str, canon.Json] = {**body, "format": f"localgpt.policy.{kind}/v1"}
    return canon.encode({**full, "hmac_sha256": _mac(kind, full, key)}) + b"\n"


def _open(kind: str, data: bytes, key: DeviceKey, path: str, fields: dict[str, type]) -> dict[str, canon.Json]:
    try:
        body = canon.decode_object(data.removesuffix(b"\n"))
    except canon.CanonError as error:
        raise _corrupted(kind, "it is not canonical JSON") from error
    mac = body.pop("hmac_sha256", None)
    if body.get("format") != f"localgpt.policy.{kind}/v1" or not isinstance(mac, str) or not mac.isascii():
        raise _corrupted(kind, "unknown version")
    if not same(mac.encode(), _mac(kind, body, key).encode()):
        raise _corrupted(kind, "this device key did not write it")
    if body.get("path") != path:
        raise _corrupted(kind, "it belongs to another workspace")
    if body.keys() != {"format", "path", *fields} or any(
        type(body[name]) is not kind_ for name, kind_ in fields.items()
    ):
        raise _corrupted(kind, "its fields are not those of its version")
    return body


def _mac(kind: str, body: dict[str, canon.Json], key: DeviceKey) -> str:
    return tagged_mac(key.subkey(f"localgpt policy {kind} v1"), f"localgpt.policy.{kind}/v1", canon.encode(body)).hex()


def _corrupted(kind: str, what: str) -> StateCorrupted:
    return StateCorrupted(f"the policy's {kind} in the state directory is damaged: {what}", cure=_CURE)
