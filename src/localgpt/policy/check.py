"""From bytes to the state of a policy, and from the state to the rules that apply. Pure.

Whatever happens to the document or the manifest, the rules that apply are never looser than those that were signed
last: when the file is not valid, the meet of the built-in rules and the last verified snapshot applies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from localgpt import canon
from localgpt.crypto import DeviceKey, same, sha256_hex
from localgpt.crypto.note import NoteError, NoteKey, open_note
from localgpt.errors import PolicyError
from localgpt.policy.builtin import builtin_policy, shipped_flow
from localgpt.policy.decide import decide_all
from localgpt.policy.document import Document, parse_document
from localgpt.policy.errors import (
    BuiltinBroken,
    DocumentError,
    ManifestCorrupted,
    PolicyRollback,
    SignerChanged,
    TamperError,
)
from localgpt.policy.extends import shipped_rules, tightened
from localgpt.policy.flowrules import merge_flow
from localgpt.policy.manifest import Manifest, parse_manifest
from localgpt.policy.model import Decision, Flow, Policy, Request
from localgpt.policy.noted import NOTE_VERSION, parse_policy_note, verify_note
from localgpt.policy.state import Pin

_ROLLBACK_CURE: Final = "if you restored a backup on purpose, read LocalGPT.md and run `localgpt recover`"
_SIGNER_CURE: Final = "if you changed it on purpose, read LocalGPT.md and run `localgpt recover`"


class PolicyState(StrEnum):
    """What the document and its manifest are."""

    VALID = "valid"
    UNSIGNED = "unsigned"
    MISSING = "missing"
    TAMPERED = "tampered"
    MANIFEST_CORRUPTED = "manifest-corrupted"


@dataclass(frozen=True, slots=True)
class Status:
    """The result of checking one document. `policy` and `manifest` are set exactly when `state` is VALID.

    `digest`: hex SHA-256 of the document's bytes, "" when there is none. `detail`: one sentence for a person.
    `problem`: the named error behind a state other than VALID, or the reason why a signed text cannot be used.
    """

    state: PolicyState
    policy: Policy | None
    prose: str
    digest: str
    detail: str
    manifest: Manifest | None = None
    problem: PolicyError | None = None


@dataclass(frozen=True, slots=True)
class Effective:
    """What applies now: the meet of `policies`. `digest` (hex SHA-256) names exactly these rules, prose and state.

    `notes`: sentences that a person should see, as a snapshot that could not be written.
    """

    policies: tuple[Policy, ...]
    prose: str
    state: PolicyState
    digest: str
    status: Status
    notes: tuple[str, ...] = ()

    def decide(self, flow: Flow, request: Request) -> Decision:
        """Decide under everything that applies: the strictest answer."""
        return decide_all(self.policies, flow, request)


def check_document(
    document: bytes | None,
    manifest: bytes | None,
    key: DeviceKey | None,
    *,
    path: str,
    pin: Pin | None = None,
    builtin: Policy | None = None,
    public: NoteKey | None = None,
) -> Status:
    """Verify `document` (None: there is none) against `manifest` with `key`, for the absolute `path`. Never raises.

    With `public` the mode is ed25519: `manifest` is a signed note, and `key` is not needed.
    """
    if document is None:
        return Status(PolicyState.MISSING, None, "", "", "there is no LocalGPT.md")
    digest = sha256_hex(document)
    try:
        parsed = parse_document(document)
        unusable = None
    except DocumentError as error:
        parsed, unusable = None, error
    status = _check_signature(document, manifest, public or key, path, pin)
    if status.state is not PolicyState.VALID:
        return replace(status, problem=status.problem or unusable)
    if parsed is None:
        detail = f"the signature is right, but this version cannot use the text: {unusable}"
        return Status(PolicyState.UNSIGNED, None, "", digest, detail, problem=unusable)
    try:
        return replace(status, policy=policy_of(parsed, builtin), prose=parsed.prose)
    except BuiltinBroken as error:
        return Status(PolicyState.UNSIGNED, None, "", digest, error.message, problem=error)


def policy_of(document: Document, builtin: Policy | None = None) -> Policy:
    """The rules of one parsed document, and of the policy that it extends, on top of the built-in ones.

    Raises:
        BuiltinBroken: the policy that it extends is missing or damaged.
    """
    base = builtin or builtin_policy()
    named: dict[str, canon.Json] = {"builtin": base.digest, "document": document.digest}
    rules, flow, table = document.rules, base.flow, base.table
    if document.extends:
        extended, named["extends"] = shipped_rules(document.extends)
        rules, flow, table = (*extended, *rules), shipped_flow(document.extends)[0], tightened(table, document.extends)
    flow = merge_flow(flow, document.flow) if document.flow else flow
    digest = sha256_hex(b"localgpt.policy.rules/v1\x00" + canon.encode(named))
    return replace(base, table=table, rules=rules, flow=flow, digest=digest)


def locked_policy(builtin: Policy | None = None) -> Policy:
    """Reading and local models, nothing else: a signed policy existed and nobody can tell what it denied."""
    base = builtin or builtin_policy()
    return replace(base, digest=sha256_hex(b"localgpt.policy.locked/v1\x00" + base.digest.encode()), locked=True)


def effective(
    builtin: Policy, status: Status, snapshot: Status | None, *, lost: bool = False, notes: tuple[str, ...] = ()
) -> Effective:
    """What applies. `snapshot`: the status of the last verified bytes, None when nothing was ever signed here.

    `lost`: something was signed here and its snapshot cannot be authenticated; everything but reading is refused.
    """
    if status.state is PolicyState.VALID and status.policy is not None:
        return _effective((status.policy,), status.prose, status, notes)
    last = None if snapshot is None else snapshot.policy
    if last is not None and snapshot is not None:
        return _effective((builtin, last), snapshot.prose, status, notes)
    if lost:
        return _effective((builtin, locked_policy(builtin)), "", status, notes)
    return _effective((builtin,), "", status, notes)


def _effective(policies: tuple[Policy, ...], prose: str, status: Status, notes: tuple[str, ...]) -> Effective:
    named: canon.Json = {
        "policies": [policy.digest for policy in policies],
        "prose": sha256_hex(prose.encode()),
        "state": status.state.value,
    }
    digest = sha256_hex(b"localgpt.policy.effective/v1\x00" + canon.encode(named))
    return Effective(policies, prose, status.state, digest, status, notes)


def _check_signature(
    document: bytes, manifest: bytes | None, key: DeviceKey | NoteKey | None, path: str, pin: Pin | None
) -> Status:
    digest = sha256_hex(document)
    if manifest is None:
        return Status(PolicyState.UNSIGNED, None, "", digest, "the document was never signed, or its manifest is gone")
    try:
        parsed = parse_policy_note(manifest, key) if isinstance(key, NoteKey) else parse_manifest(manifest)
        if key is None:
            return Status(PolicyState.UNSIGNED, None, "", digest, "without the device key no signature can be checked")
        if isinstance(key, NoteKey):
            verify_note(manifest, document, key, path)
        else:
            parsed.verify(document, key, path)
        _check_signer(key, pin)
        _check_order(parsed, manifest, pin)
    except ManifestCorrupted as error:
        return Status(PolicyState.MANIFEST_CORRUPTED, None, "", digest, error.message, problem=error)
    except TamperError as error:
        return Status(PolicyState.TAMPERED, None, "", digest, error.message, problem=error)
    return Status(PolicyState.VALID, None, "", digest, _signed_by(parsed), manifest=parsed)


def _check_signer(key: DeviceKey | NoteKey, pin: Pin | None) -> None:
    """A configuration that names another public key, or none, does not change who may sign what was signed here."""
    signer = str(key) if isinstance(key, NoteKey) else ""
    if pin is not None and pin.signer != signer:
        before = f"by {pin.signer.partition('+')[0]}" if pin.signer else "with the device key"
        raise SignerChanged(f"what was seen here last was signed {before}", cure=_SIGNER_CURE)


def _check_order(parsed: Manifest, manifest: bytes, pin: Pin | None) -> None:
    if pin is None or parsed.sequence > pin.sequence or (parsed.version == 1 and pin.sequence == 0):
        return
    if parsed.sequence < pin.sequence:
        raise _rollback(parsed.sequence, pin.sequence)
    if sha256_hex(manifest) != pin.manifest_sha256:
        raise PolicyRollback(f"another document was signed with the same number {pin.sequence}", cure=_ROLLBACK_CURE)


def _rollback(sequence: int, seen: int) -> PolicyRollback:
    message = f"this is signature number {sequence}, but number {seen} was seen here"
    return PolicyRollback(message, cure=_ROLLBACK_CURE)


def rolled_back(status: Status, sequence: int, seen: int) -> Status:
    """What `status` becomes when only the audit log knows that signature number `seen` was made here."""
    problem = _rollback(sequence, seen)
    return Status(PolicyState.TAMPERED, None, "", status.digest, problem.message, problem=problem)


def authentic_sequence(manifest: bytes, key: DeviceKey, public: NoteKey | None) -> int:
    """The number in a manifest or note whose signature is right, whatever became of its document; else 0."""
    try:
        if public is not None:
            open_note(manifest, [public])
            return parse_policy_note(manifest, public).sequence
        parsed = parse_manifest(manifest)
    except (PolicyError, NoteError):
        return 0
    right = parsed.version > 1 and same(parsed.hmac_sha256.encode(), parsed.mac(key).encode())
    return parsed.sequence if right else 0


def _signed_by(manifest: Manifest) -> str:
    if manifest.version == 1:
        return (
            "signed by the Rust LocalGPT (manifest version 1: time, signer, path and order are not authenticated); "
            "`localgpt sign` makes a version-2 manifest"
        )
    how = ", as a public note" if manifest.version == NOTE_VERSION else ""
    return f"signature number {manifest.sequence}, {manifest.signed_at}, by {manifest.signed_by}{how}"
