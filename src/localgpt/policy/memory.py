"""The state directory's two files for one workspace: what was verified last, and the highest sequence seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localgpt.crypto import DeviceKey, sha256_hex
from localgpt.crypto.note import NoteKey
from localgpt.errors import PolicyError
from localgpt.policy.check import PolicyState, Status, check_document
from localgpt.policy.errors import StateCorrupted
from localgpt.policy.files import Read, read_once, write_atomically
from localgpt.policy.manifest import Manifest, parse_manifest
from localgpt.policy.noted import parse_policy_note, read_public_key
from localgpt.policy.state import MAX_STATE_BYTES, Pin, Snapshot


@dataclass(frozen=True, slots=True)
class Memory:
    """What the state directory could still prove. `lost`: something was signed here and its rules are not known.

    `floor`: the sequence below which a signature is a rollback, when only the log tells.
    """

    pin: Pin | None = None
    snapshot: Status | None = None
    floor: int = 0
    lost: bool = False
    notes: tuple[str, ...] = ()


class StateFiles:
    """Reads and writes them. `logged`: see `PolicyStore`."""

    def __init__(self, workspace: Path, state_dir: Path, key: DeviceKey | None, logged: Callable[[], int]) -> None:
        name = sha256_hex(os.fsencode(workspace))[:16]
        self.directory = state_dir / "policy"
        self._workspace = str(workspace)
        self._snapshot_path = self.directory / f"{name}.snapshot.json"
        self._pin_path = self.directory / f"{name}.pin.json"
        self._key = key
        self._logged = logged

    def last_document(self) -> bytes | None:
        """The bytes of the document that was verified last, None when nothing authentic tells."""
        file = read_once(self._snapshot_path, MAX_STATE_BYTES)
        if self._key is None or file.data is None:
            return None
        try:
            return Snapshot.decode(file.data, self._key, self._workspace).document
        except StateCorrupted:
            return None

    def recall(self) -> Memory:
        """Read both files and authenticate them."""
        pin_file = read_once(self._pin_path, MAX_STATE_BYTES)
        snapshot_file = read_once(self._snapshot_path, MAX_STATE_BYTES)
        if not pin_file.exists and not snapshot_file.exists:
            return self._recall_from_log()
        if self._key is None:
            return Memory(lost=True, notes=("a policy was signed here, and its device key is gone",))
        notes: list[str] = []
        pin = self._read_pin(pin_file, self._key, notes)
        snapshot, at = self._read_snapshot(snapshot_file, self._key, notes)
        if pin is not None and at is not None and at.sequence < pin.sequence:
            notes.append("the snapshot in the state directory is older than the last signature seen here")
            return Memory(pin, lost=True, notes=tuple(notes))
        floor = self._logged() if at is None and pin is None else 0
        return Memory(at or pin, snapshot, floor, lost=snapshot is None, notes=tuple(notes))

    def _recall_from_log(self) -> Memory:
        """Both files gone: the audit log still knows how many signatures there were."""
        if self._key is None or (sequence := self._logged()) == 0:
            return Memory()
        note = f"the log knows of signature number {sequence} here, and the state directory remembers nothing"
        return Memory(floor=sequence, lost=True, notes=(note,))

    def _read_pin(self, file: Read, key: DeviceKey, notes: list[str]) -> Pin | None:
        try:
            return Pin.decode(file.data or b"", key, self._workspace)
        except StateCorrupted as error:
            notes.append(error.message)
            return None

    def _read_snapshot(self, file: Read, key: DeviceKey, notes: list[str]) -> tuple[Status | None, Pin | None]:
        """The status of the remembered bytes, and the pin that they stand for."""
        try:
            snapshot = Snapshot.decode(file.data or b"", key, self._workspace)
            public = read_public_key(snapshot.signer) if snapshot.signer else None
            manifest = _parse(snapshot.manifest, public)
        except PolicyError as error:
            notes.append(error.message)
            return None, None
        status = check_document(snapshot.document, snapshot.manifest, key, path=manifest.path, public=public)
        pin = Pin.of(self._workspace, manifest.sequence, snapshot.manifest, snapshot.signer)
        return (status, pin) if status.state is PolicyState.VALID else (None, pin)

    def write(self, snapshot: Snapshot, sequence: int, key: DeviceKey) -> None:
        """Replace snapshot, then pin. Hold `exclusive` on `directory` around it.

        Raises:
            OSError
        """
        write_atomically(self._snapshot_path, snapshot.encode(key), 0o600)
        pin = Pin.of(self._workspace, sequence, snapshot.manifest, snapshot.signer)
        write_atomically(self._pin_path, pin.encode(key), 0o600)


def _parse(manifest: bytes, public: NoteKey | None) -> Manifest:
    return parse_manifest(manifest) if public is None else parse_policy_note(manifest, public)
