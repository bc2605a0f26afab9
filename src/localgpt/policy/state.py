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
    """The exact bytes of a document and a manifest that verified together. `signer`: see `Pin`."""

    path: str
    document: bytes
    manifest: bytes
    signer: str = ""

    def encode(self, key: DeviceKey) -> bytes:
        """Authenticated bytes for the state directory. The document is UTF-8: it was parsed."""
        texts = {"document": self.document.decode("utf-8"), "manifest": self.manifest.decode("utf-8")}
        return _seal("snapshot", {"path": self.path, **texts}, self.signer, key)

    @classmethod
    def decode(cls, data: bytes, key: DeviceKey, path: str) -> Snapshot:
        """Read and authenticate.

        Raises:
            StateCorrupted
        """
        body, signer = _open("snapshot", data, key, path, {"document": str, "manifest": str})
        return cls(path, cast("str", body["document"]).encode(), cast("str", body["manifest"]).encode(), signer)


@dataclass(frozen=True, slots=True)
class Pin:
    """The highest manifest seen at `path`. `manifest_sha256`: hex digest of its bytes.

    `signer`: the public key that signed it, spelled out; "" when the device key did.
    """

    path: str
    sequence: int
    manifest_sha256: str
    signer: str = ""

    @classmethod
    def of(cls, path: str, sequence: int, manifest: bytes, signer: str = "") -> Pin:
        return cls(path, sequence, sha256_hex(manifest), signer)

    def encode(self, key: DeviceKey) -> bytes:
        """Authenticated bytes for the state directory."""
        body: dict[str, canon.Json] = {"sequence": self.sequence, "manifest_sha256": self.manifest_sha256}
        return _seal("pin", {"path": self.path, **body}, self.signer, key)

    @classmethod
    def decode(cls, data: bytes, key: DeviceKey, path: str) -> Pin:
        """Read and authenticate.

        Raises:
            StateCorrupted
        """
        body, signer = _open("pin", data, key, path, {"sequence": int, "manifest_sha256": str})
        return cls(path, cast("int", body["sequence"]), cast("str", body["manifest_sha256"]), signer)


def _seal(kind: str, body: dict[str, canon.Json], signer: str, key: DeviceKey) -> bytes:
    """Version 1 is for what the device key signed; version 2 has the signer's public key beside it."""
    full: dict[str, canon.Json] = {**body, "format": f"localgpt.policy.{kind}/v1"}
    if signer:
        full |= {"format": f"localgpt.policy.{kind}/v2", "signer": signer}
    return canon.encode({**full, "hmac_sha256": _mac(kind, full, key)}) + b"\n"


def _open(
    kind: str, data: bytes, key: DeviceKey, path: str, fields: dict[str, type]
) -> tuple[dict[str, canon.Json], str]:
    """The authenticated fields, and the signer."""
    try:
        body = canon.decode_object(data.removesuffix(b"\n"))
    except canon.CanonError as error:
        raise _corrupted(kind, "it is not canonical JSON") from error
    if not data.endswith(b"\n"):
        raise _corrupted(kind, "it is cut off")
    mac, version = body.pop("hmac_sha256", None), body.get("format")
    if version not in {f"localgpt.policy.{kind}/v1", f"localgpt.policy.{kind}/v2"} or not _is_hex(mac):
        raise _corrupted(kind, "unknown version")
    if not same(cast("str", mac).encode(), _mac(kind, body, key).encode()):
        raise _corrupted(kind, "this device key did not write it")
    if body.get("path") != path:
        raise _corrupted(kind, "it belongs to another workspace")
    typed = {**fields, "signer": str} if str(version).endswith("/v2") else fields
    if body.keys() != {"format", "path", *typed} or any(
        type(body[name]) is not wanted for name, wanted in typed.items()
    ):
        raise _corrupted(kind, "its fields are not those of its version")
    return body, str(body.get("signer", ""))


def _is_hex(mac: object) -> bool:
    return isinstance(mac, str) and len(mac) == 64 and mac.isascii()


def _mac(kind: str, body: dict[str, canon.Json], key: DeviceKey) -> str:
    """The format's name, and so its version, is part of what is authenticated."""
    return tagged_mac(key.subkey(f"localgpt policy {kind} v1"), f"localgpt.policy.{kind}/v1", canon.encode(body)).hex()


def _corrupted(kind: str, what: str) -> StateCorrupted:
    return StateCorrupted(f"the policy's {kind} in the state directory is damaged: {what}", cure=_CURE)
