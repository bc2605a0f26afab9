"""What a new device key has to take over: every policy that the old one signed and remembered on this machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from localgpt.crypto import DeviceKey
from localgpt.errors import PolicyError
from localgpt.policy.check import PolicyState
from localgpt.policy.errors import NothingToSign
from localgpt.policy.files import read_once
from localgpt.policy.manifest import Manifest
from localgpt.policy.state import MAX_STATE_BYTES
from localgpt.policy.store import PolicyStore


@dataclass(frozen=True, slots=True)
class TakenOver:
    """One workspace. `manifest`: what was signed anew, None when it was not (`problem` says why)."""

    workspace: str
    document: str
    manifest: Manifest | None
    problem: str = ""


def workspaces(state_dir: Path) -> tuple[Path, ...]:
    """The workspaces that the state directory remembers a policy of, as far as its files can be read."""
    found: dict[Path, None] = {}
    for file in sorted((state_dir / "policy").glob("*.json")):
        try:
            path = json.loads(read_once(file, MAX_STATE_BYTES).data or b"{}")["path"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(path, str) and path.startswith("/"):
            found[Path(path)] = None
    return tuple(found)


def take_over(workspace: Path, state_dir: Path, old: DeviceKey, new: DeviceKey, *, public_key: str = "") -> TakenOver:
    """Sign what `old` vouches for with `new`, with the next number. What `old` does not vouch for is left alone: its
    rules stay locked until a person has read it.

    With `public_key` the device key does not sign; only the record in the state directory is made anew.
    """
    before = PolicyStore(workspace, state_dir, old, public_key=public_key)
    state, last = before.load().state, before.last_sequence()
    where = str(before.document_path)
    if state is not PolicyState.VALID:
        return TakenOver(str(workspace), where, None, f"the policy is {state.value}: read it, then `localgpt recover`")
    after = PolicyStore(workspace, state_dir, new, public_key=public_key, logged=lambda: last)
    try:
        manifest = after.load().status.manifest if public_key else after.sign("key-rotate", recover=True)
    except (PolicyError, NothingToSign) as error:
        return TakenOver(str(workspace), where, None, error.message)
    return TakenOver(str(workspace), where, manifest)
