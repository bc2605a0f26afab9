"""The policy's files: document and manifest in the workspace, snapshot and pin in the state directory.

Each file is read once, bounded, into bytes that are then verified, parsed and used: no path is looked at twice.
Writing is atomic, and in an order in which a crash never looks like an attack: manifest, snapshot, pin.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from localgpt.crypto import DeviceKey, sha256_hex
from localgpt.crypto.note import NoteKey, NoteSecret
from localgpt.policy.builtin import builtin_policy
from localgpt.policy.check import (
    Effective,
    PolicyState,
    Status,
    authentic_sequence,
    check_document,
    effective,
    rolled_back,
)
from localgpt.policy.document import MAX_DOCUMENT_BYTES, parse_document
from localgpt.policy.emit import emit_grant, with_grant
from localgpt.policy.errors import (
    ChangedWhileReading,
    DocumentUnreadable,
    GrantRefused,
    NothingToSign,
    SignerChanged,
    SigningFailed,
)
from localgpt.policy.files import Read, exclusive, read_once, write_atomically
from localgpt.policy.manifest import MAX_MANIFEST_BYTES, Manifest, sign_manifest
from localgpt.policy.memory import Memory, StateFiles
from localgpt.policy.model import Rule
from localgpt.policy.noted import parse_policy_note, read_public_key, sign_as_note
from localgpt.policy.state import Pin, Snapshot

DOCUMENT_NAMES: Final = ("LocalGPT.md", "POLICY.md")
MANIFEST_NAME: Final = ".localgpt_manifest.json"
NOTE_NAME: Final = ".localgpt_manifest.note"


def _nothing() -> int:
    return 0


class PolicyStore:
    """One workspace's policy. Used by one thread; several processes may have one each.

    `public_key` (one line of text): mode ed25519, in which a signed note of that key counts and nothing else; "" is
    the mode in which the device key signs. `logged`: gives the highest sequence that the audit log knows of this
    workspace; it is asked only when the state directory remembers nothing.

    Raises:
        PublicKeyMalformed
    """

    def __init__(
        self,
        workspace: Path,
        state_dir: Path,
        key: DeviceKey | None,
        *,
        public_key: str = "",
        logged: Callable[[], int] = _nothing,
    ) -> None:
        self._workspace = Path(os.path.realpath(workspace))
        self._memory = StateFiles(self._workspace, state_dir, key, logged)
        self._key = key
        self._public = read_public_key(public_key) if public_key else None
        self._signer = "" if self._public is None else str(self._public)
        self._logged = logged
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
        return self._workspace / (MANIFEST_NAME if self._public is None else NOTE_NAME)

    @property
    def public_key(self) -> NoteKey | None:
        """Whose signed notes count; None when the device key signs."""
        return self._public

    def seen(self) -> Pin | None:
        """What was seen last here, None when nothing authentic tells."""
        return self._memory.recall().pin

    def load(self) -> Effective:
        """Read everything once and say what applies; a valid newer signature becomes the snapshot.

        Nothing that the workspace or the state directory hold makes it raise: it is reported and fails closed.
        """
        document = read_once(self.document_path, MAX_DOCUMENT_BYTES)
        manifest = read_once(self.manifest_path, MAX_MANIFEST_BYTES)
        self._seen = (document, manifest)
        memory = self._memory.recall()
        status = self._check(document, manifest, memory)
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
        return self._memory.last_document()

    def sign(
        self,
        by: str = "cli",
        *,
        shown_digest: str | None = None,
        secret: NoteSecret | None = None,
        portable: bool = False,
        recover: bool = False,
    ) -> Manifest:
        """Sign the document as it is now, with the next sequence number; snapshot and pin follow.

        `shown_digest` (hex SHA-256): what the user saw and agreed to; nothing else is signed then. `secret`: the
        private key of mode ed25519; `portable`: its note holds for a document of this name anywhere. `recover`: the
        user knows that somebody else signed here last.

        Raises:
            NothingToSign, DocumentUnreadable, DocumentError: no document, or it cannot become a policy.
            ChangedWhileReading: the document is not what the user agreed to.
            SignerChanged: the mode or the key is not the one that signed here last.
            SigningFailed: there is no key to sign with, or a file cannot be written.
        """
        path, document = self.document_path, self.document()
        parse_document(document)
        if shown_digest is not None and sha256_hex(document) != shown_digest:
            raise ChangedWhileReading(f"{path} changed after it was shown", cure="read it again: `localgpt sign`")
        if self._key is None:
            raise SigningFailed("there is no device key to sign with", cure="run `localgpt init`")
        self._check_secret(secret)
        try:
            with exclusive(self._memory.directory):
                pin = self._memory.recall().pin
                if pin is not None and pin.signer != self._signer and not recover:
                    raise SignerChanged("another key signed here last", cure="`localgpt recover` explains it and signs")
                name = path.name if portable and secret is not None else str(path)
                return self._sign(name, document, self._key, by, secret)
        except OSError as error:
            where = error.filename or self._workspace
            message = f"cannot write {where}: {error.strerror}"
            raise SigningFailed(message, cure="free space, or make the directory writable") from error

    def grant(self, rule: Rule, *, shown: str, by: str = "grant", secret: NoteSecret | None = None) -> Manifest:
        """Add one allow rule to the document and sign it. `shown`: the line that the user saw and agreed to.

        Raises:
            GrantRefused: the policy is not valid as it stands, or the rule cannot be granted exactly.
            ChangedWhileReading: `shown` is not what would be written.
            And what `sign` raises.
        """
        state, before = self.load().state, self.document()
        if state is not PolicyState.VALID:
            raise GrantRefused(f"the policy is {state.value}", cure="read it, then run `localgpt sign`")
        self._check_secret(secret)
        if emit_grant(rule) != shown:
            raise ChangedWhileReading("the grant is not the one that was shown", cure="look at it again")
        after = with_grant(before, rule)
        self.replace_document(before, after)
        return self.sign(by, shown_digest=sha256_hex(after), secret=secret)

    def replace_document(self, before: bytes, after: bytes) -> None:
        """Write the document anew, if it is still `before` (or still missing). It is not signed by that.

        Raises:
            ChangedWhileReading: it is not `before` any more.
            SigningFailed: it cannot be written.
        """
        file = read_once(self.document_path, MAX_DOCUMENT_BYTES)
        if file.error or (file.data is not None and file.data != before):
            raise ChangedWhileReading(f"{file.path} changed meanwhile", cure="look at it, and begin again")
        try:
            mode = stat.S_IMODE(file.path.stat().st_mode) if file.exists else 0o644
            write_atomically(Path(os.path.realpath(file.path)), after, mode)
        except OSError as error:
            raise SigningFailed(f"cannot write {file.path}: {error.strerror}", cure="make it writable") from error

    def last_sequence(self) -> int:
        """The highest number that was given here, as far as anything authentic tells; 0 for none."""
        return 0 if self._key is None else self._highest_sequence(self._key)

    def _check_secret(self, secret: NoteSecret | None) -> None:
        if self._public is None and secret is not None:
            raise SigningFailed("the configuration names no public key", cure="localgpt config set policy.public_key …")
        if self._public is not None and (secret is None or str(secret.public_key()) != self._signer):
            message = f"the private key of {self._public.name} ({self._public.key_id.hex()}) signs here"
            raise SigningFailed(message, cure="localgpt sign --key FILE")

    def _sign(self, path: str, document: bytes, key: DeviceKey, by: str, secret: NoteSecret | None) -> Manifest:
        sequence, now = self._highest_sequence(key) + 1, datetime.now(UTC)
        if secret is not None and self._public is not None:
            data = sign_as_note(document, secret, path=path, sequence=sequence, signed_at=now, signed_by=by)
            manifest = parse_policy_note(data, self._public)
        else:
            manifest = sign_manifest(document, key, path=path, sequence=sequence, signed_at=now, signed_by=by)
            data = manifest.encode()
        write_atomically(self.manifest_path, data, 0o644)
        self._memory.write(Snapshot(str(self._workspace), document, data, self._signer), sequence, key)
        return manifest

    def _highest_sequence(self, key: DeviceKey) -> int:
        """The highest number that was given here, as far as anything authentic tells."""
        pin = self._memory.recall().pin
        seen = [self._logged() if pin is None else pin.sequence]
        manifest = read_once(self.manifest_path, MAX_MANIFEST_BYTES).data or b""
        return max([*seen, authentic_sequence(manifest, key, self._public)])

    def _check(self, document: Read, manifest: Read, memory: Memory) -> Status:
        if document.error:
            problem = _unreadable(document)
            return Status(PolicyState.MISSING, None, "", "", problem.message, problem=problem)
        text = b"" if manifest.error else manifest.data
        status = check_document(
            document.data, text, self._key, path=str(document.path), pin=memory.pin, public=self._public
        )
        if manifest.error and status.state is PolicyState.MANIFEST_CORRUPTED:
            return replace(status, detail=f"{manifest.path}: {manifest.error}")
        if status.manifest is not None and status.manifest.sequence < memory.floor:
            return rolled_back(status, status.manifest.sequence, memory.floor)
        return status

    def _remember(self, document: Read, manifest: Read, status: Status) -> tuple[str, ...]:
        """Make a valid document the snapshot, unless it is already, or a newer one was signed meanwhile."""
        if status.manifest is None or document.data is None or manifest.data is None or self._key is None:
            return ()
        sequence = status.manifest.sequence
        wanted = Pin.of(str(self._workspace), sequence, manifest.data, self._signer)
        memory = self._memory.recall()
        if memory.pin == wanted and not memory.lost and not memory.notes:
            return ()
        try:
            with exclusive(self._memory.directory):
                pin = self._memory.recall().pin
                if pin is None or pin.sequence <= sequence:
                    snapshot = Snapshot(str(self._workspace), document.data, manifest.data, self._signer)
                    self._memory.write(snapshot, sequence, self._key)
        except OSError as error:
            return (f"the verified policy could not be remembered in {self._memory.directory}: {error.strerror}",)
        return ()


def _unreadable(file: Read) -> DocumentUnreadable:
    return DocumentUnreadable(f"{file.path}: {file.error}", cure="make it a readable file of yours")


def _signature_gone(status: Status, memory: Memory) -> tuple[str, ...]:
    """A document without a signature where there was one is not new: somebody took the signature away."""
    if status.state not in (PolicyState.UNSIGNED, PolicyState.MISSING) or memory.pin is None:
        return ()
    number = memory.pin.sequence
    return (
        f"a policy was signed here (number {number}) and its signature is gone: read LocalGPT.md before you sign it",
    )
