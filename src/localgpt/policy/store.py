"""The policy's files: document and manifest in the workspace, snapshot and pin in the state directory.

Each file is read once, bounded, into bytes that are then verified, parsed and used: no path is looked at twice.
Writing is atomic, and in an order in which a crash never looks like an attack: manifest, snapshot, pin.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from localgpt.crypto import DeviceKey, same, sha256_hex
from localgpt.errors import PolicyError
from localgpt.policy.builtin import builtin_policy
from localgpt.policy.check import Effective, PolicyState, Status, check_document, effective
from localgpt.policy.document import MAX_DOCUMENT_BYTES, parse_document
from localgpt.policy.errors import (
    ChangedWhileReading,
    DocumentUnreadable,
    NothingToSign,
    SigningFailed,
    StateCorrupted,
)
from localgpt.policy.files import Read, exclusive, read_once, write_atomically
from localgpt.policy.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest, sign_manifest
from localgpt.policy.state import MAX_STATE_BYTES, Pin, Snapshot

DOCUMENT_NAMES: Final = ("LocalGPT.md", "POLICY.md")
MANIFEST_NAME: Final = ".localgpt_manifest.json"


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the state directory could still prove. `lost`: something was signed here and its rules are not known."""

    pin: Pin | None = None
    snapshot: Status | None = None
    lost: bool = False
    notes: tuple[str, ...] = ()


class PolicyStore:
    """One workspace's policy. Used by one thread; several processes may have one each."""

    def __init__(self, workspace: Path, state_dir: Path, key: DeviceKey | None) -> None:
        self._workspace = Path(os.path.realpath(workspace))
        name = sha256_hex(os.fsencode(self._workspace))[:16]
        self._state_dir = state_dir / "policy"
        self._snapshot_path = self._state_dir / f"{name}.snapshot.json"
        self._pin_path = self._state_dir / f"{name}.pin.json"
        self._key = key
        self._seen: tuple[Read, Read] | None = None

    @property
    def document_path(self) -> Path:
        """The document that counts: LocalGPT.md, or POLICY.md when only that exists."""
        for name in DOCUMENT_NAMES:
            if os.path.lexists(self._workspace / name):
                return self._workspace / name
        return self._workspace / DOCUMENT_NAMES[0]

    @property
    def manifest_path(self) -> Path:
        return self._workspace / MANIFEST_NAME

    def load(self) -> Effective:
        """Read everything once and say what applies; a valid newer signature becomes the snapshot.

        Nothing that the workspace or the state directory hold makes it raise: it is reported and fails closed.
        """
        document = read_once(self.document_path, MAX_DOCUMENT_BYTES)
        manifest = read_once(self.manifest_path, MAX_MANIFEST_BYTES)
        self._seen = (document, manifest)
        memory = self._recall()
        status = self._check(document, manifest, memory.pin)
        notes = memory.notes + self._remember(document, manifest, status) + _signature_gone(status, memory)
        return effective(builtin_policy(), status, memory.snapshot, lost=memory.lost, notes=notes)

    def changed(self) -> bool:
        """Whether document or manifest differ from what `load` read: two stats, and their bytes only when needed.

        True before the first `load`.
        """
        if self._seen is None:
            return True
        document, manifest = self._seen
        return not (
            document.is_current(self.document_path, MAX_DOCUMENT_BYTES)
            and manifest.is_current(self.manifest_path, MAX_MANIFEST_BYTES)
        )

    def document(self) -> bytes:
        """The document's bytes as they are now, for showing what `sign` would sign.

        Raises:
            NothingToSign, DocumentUnreadable: there is no document, or it cannot be read.
        """
        document = read_once(self.document_path, MAX_DOCUMENT_BYTES)
        if document.error:
            raise _unreadable(document)
        if document.data is None:
            raise NothingToSign(f"there is no {document.path}", cure="run `localgpt init`")
        return document.data

    def last_signed(self) -> bytes | None:
        """The document's bytes as they were last verified here, None when nothing authentic tells."""
        file = read_once(self._snapshot_path, MAX_STATE_BYTES)
        if self._key is None or file.data is None:
            return None
        try:
            return Snapshot.decode(file.data, self._key, str(self._workspace)).document
        except StateCorrupted:
            return None

    def sign(self, by: str = "cli", *, shown_digest: str | None = None) -> Manifest:
        """Sign the document as it is now, with the next sequence number; snapshot and pin follow.

        `shown_digest` (hex SHA-256): what the user saw and agreed to; nothing else is signed then.

        Raises:
            NothingToSign, DocumentUnreadable, DocumentError: no document, or it cannot become a policy.
            ChangedWhileReading: the document is not what the user agreed to.
            SigningFailed: there is no device key, or a file cannot be written.
        """
        path, document = self.document_path, self.document()
        parse_document(document)
        if shown_digest is not None and sha256_hex(document) != shown_digest:
            raise ChangedWhileReading(f"{path} changed after it was shown", cure="read it again: `localgpt sign`")
        if self._key is None:
            raise SigningFailed("there is no device key to sign with", cure="run `localgpt init`")
        try:
            with exclusive(self._state_dir):
                return self._sign(path, document, self._key, by)
        except OSError as error:
            where = error.filename or self._workspace
            message = f"cannot write {where}: {error.strerror}"
            raise SigningFailed(message, cure="free space, or make the directory writable") from error

    def _sign(self, path: Path, document: bytes, key: DeviceKey, by: str) -> Manifest:
        sequence = self._highest_sequence(key) + 1
        manifest = sign_manifest(
            document, key, path=str(path), sequence=sequence, signed_at=datetime.now(UTC), signed_by=by
        )
        write_atomically(self.manifest_path, manifest.encode(), 0o644)
        self._write_memory(Snapshot(str(self._workspace), document, manifest.encode()), sequence, key)
        return manifest

    def _write_memory(self, snapshot: Snapshot, sequence: int, key: DeviceKey) -> None:
        write_atomically(self._snapshot_path, snapshot.encode(key), 0o600)
        pin = Pin.of(str(self._workspace), sequence, snapshot.manifest)
        write_atomically(self._pin_path, pin.encode(key), 0o600)

    def _highest_sequence(self, key: DeviceKey) -> int:
        """The highest number that this key has given, as far as anything authentic tells."""
        memory = self._recall()
        seen = [0 if memory.pin is None else memory.pin.sequence]
        try:
            manifest = parse_manifest(read_once(self.manifest_path, MAX_MANIFEST_BYTES).data or b"")
        except PolicyError:
            return max(seen)
        if manifest.version > 1 and same(manifest.hmac_sha256.encode(), manifest.mac(key).encode()):
            seen.append(manifest.sequence)
        return max(seen)

    def _check(self, document: Read, manifest: Read, pin: Pin | None) -> Status:
        if document.error:
            problem = _unreadable(document)
            return Status(PolicyState.MISSING, None, "", "", problem.message, problem=problem)
        text = b"" if manifest.error else manifest.data
        status = check_document(document.data, text, self._key, path=str(document.path), pin=pin)
        if manifest.error and status.state is PolicyState.MANIFEST_CORRUPTED:
            return replace(status, detail=f"{manifest.path}: {manifest.error}")
        return status

    # --- the state directory ------------------------------------------------------------------------------------

    def _recall(self) -> _Memory:
        pin_file = read_once(self._pin_path, MAX_STATE_BYTES)
        snapshot_file = read_once(self._snapshot_path, MAX_STATE_BYTES)
        if not pin_file.exists and not snapshot_file.exists:
            return _Memory()
        if self._key is None:
            return _Memory(lost=True, notes=("a policy was signed here, and its device key is gone",))
        notes: list[str] = []
        pin = self._read_pin(pin_file, self._key, notes)
        snapshot, at = self._read_snapshot(snapshot_file, self._key, notes)
        if pin is not None and at is not None and at.sequence < pin.sequence:
            notes.append("the snapshot in the state directory is older than the last signature seen here")
            return _Memory(pin, None, lost=True, notes=tuple(notes))
        return _Memory(at or pin, snapshot, lost=snapshot is None, notes=tuple(notes))

    def _read_pin(self, file: Read, key: DeviceKey, notes: list[str]) -> Pin | None:
        try:
            return Pin.decode(file.data or b"", key, str(self._workspace))
        except StateCorrupted as error:
            notes.append(error.message)
            return None

    def _read_snapshot(self, file: Read, key: DeviceKey, notes: list[str]) -> tuple[Status | None, Pin | None]:
        """The status of the remembered bytes, and the pin that they stand for."""
        try:
            snapshot = Snapshot.decode(file.data or b"", key, str(self._workspace))
            manifest = parse_manifest(snapshot.manifest)
        except PolicyError as error:
            notes.append(error.message)
            return None, None
        status = check_document(snapshot.document, snapshot.manifest, key, path=manifest.path)
        pin = Pin.of(str(self._workspace), manifest.sequence, snapshot.manifest)
        return (status, pin) if status.state is PolicyState.VALID else (None, pin)

    def _remember(self, document: Read, manifest: Read, status: Status) -> tuple[str, ...]:
        """Make a valid document the snapshot, unless it is already, or a newer one was signed meanwhile."""
        if status.manifest is None or document.data is None or manifest.data is None or self._key is None:
            return ()
        sequence = status.manifest.sequence
        wanted = Pin.of(str(self._workspace), sequence, manifest.data)
        memory = self._recall()
        if memory.pin == wanted and not memory.lost and not memory.notes:
            return ()
        try:
            with exclusive(self._state_dir):
                pin = self._recall().pin
                if pin is None or pin.sequence <= sequence:
                    snapshot = Snapshot(str(self._workspace), document.data, manifest.data)
                    self._write_memory(snapshot, sequence, self._key)
        except OSError as error:
            return (f"the verified policy could not be remembered in {self._state_dir}: {error.strerror}",)
        return ()


def _unreadable(file: Read) -> DocumentUnreadable:
    return DocumentUnreadable(f"{file.path}: {file.error}", cure="make it a readable file of yours")


def _signature_gone(status: Status, memory: _Memory) -> tuple[str, ...]:
    """A document without a signature where there was one is not new: somebody took the signature away."""
    if status.state not in (PolicyState.UNSIGNED, PolicyState.MISSING) or memory.pin is None:
        return ()
    number = memory.pin.sequence
    return (
        f"a policy was signed here (number {number}) and its signature is gone: read LocalGPT.md before you sign it",
    )
