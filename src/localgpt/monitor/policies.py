"""Opening the policy with all that guards it: key or public key, and what the audit log knows of its signatures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from localgpt.config import Paths
from localgpt.crypto import DeviceKey
from localgpt.errors import AuditError
from localgpt.policy import PolicyStore

_KINDS: Final = frozenset({"policy.signed", "policy.recovered", "policy.state"})


def open_policy(paths: Paths, public_key: str, key: DeviceKey | None) -> PolicyStore:
    """The policy of this workspace. `public_key`: of the configuration, "" when the device key signs.

    Raises:
        PublicKeyMalformed
    """
    logged = logged_signatures(paths.audit_dir, paths.workspace)
    return PolicyStore(paths.workspace, paths.state_dir, key, public_key=public_key, logged=logged)


def logged_signatures(audit_dir: Path, workspace: Path) -> Callable[[], int]:
    """A function that gives the highest sequence which the log names for a document in `workspace`; 0 for none.

    Entries before the first bad one count; the log's own verification says what is wrong with it.
    """
    return lambda: _highest(audit_dir, os.path.realpath(workspace))


def _highest(audit_dir: Path, workspace: str) -> int:
    from localgpt.audit.query import Query, read_entries  # noqa: PLC0415 -- only when the state remembers nothing

    highest = 0
    try:
        for entry in read_entries(audit_dir, Query(kinds=_KINDS, path=workspace)):
            sequence = entry.fields.get("sequence")
            highest = max(highest, sequence if isinstance(sequence, int) else 0)
    except AuditError:
        return highest
    return highest
