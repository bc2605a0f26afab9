"""The device key and the policy as the commands `init`, `sign`, `verify` and `doctor` see them."""

from __future__ import annotations

from localgpt.cli.state import State
from localgpt.crypto import DeviceKey, KeyMissing, load_device_key
from localgpt.policy.check import PolicyState
from localgpt.policy.store import PolicyStore

#: What scripts rely on: 0 valid, 1 there is no document, 3 anything else.
STATUS_OF = {PolicyState.VALID: 0, PolicyState.MISSING: 1}

CURES = {
    PolicyState.VALID: "",
    PolicyState.UNSIGNED: "read it, then: localgpt sign",
    PolicyState.MISSING: "localgpt init brings back what was signed last, or a starter",
    PolicyState.TAMPERED: "read what changed, then: localgpt sign (or restore the file)",
    PolicyState.MANIFEST_CORRUPTED: "read LocalGPT.md, then: localgpt sign",
}


def key_or_none(state: State) -> DeviceKey | None:
    """Give the device key, None when there is none. Raises the other `DeviceKeyError` leaves."""
    try:
        return load_device_key(state.paths.device_key)
    except KeyMissing:
        return None


def open_store(state: State) -> PolicyStore:
    """Open the policy of this run's workspace."""
    paths = state.paths

    def logged() -> int:
        from localgpt.monitor.policies import logged_signatures  # the log is read only when nothing else tells

        return logged_signatures(paths.audit_dir, paths.workspace)()

    public_key = state.config.policy_public_key
    return PolicyStore(paths.workspace, paths.state_dir, key_or_none(state), public_key=public_key, logged=logged)
