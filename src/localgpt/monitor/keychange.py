"""Changing the device key: policies are signed anew, and the log begins anew beside the one before.

The log of the old key is kept whole under the old key's id, with the old key beside the new one: what was written can
still be read and verified. A key that is lost takes only signing with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from localgpt.audit import AuditLog
from localgpt.audit.appending import Replaced
from localgpt.audit.files import LOG_NAME
from localgpt.audit.recovery import replaced_by
from localgpt.audit.report import LogVerdict
from localgpt.audit.verify import verify_log
from localgpt.config import Paths
from localgpt.crypto import DeviceKey, KeyMissing, load_device_key
from localgpt.crypto.keys import replace_device_key, retired_path
from localgpt.errors import AuditError, PolicyError
from localgpt.policy.rekey import TakenOver, take_over, workspaces


class KeyNotChanged(PolicyError):  # noqa: N818 -- named after the condition
    """Something must be mended first, so that nothing is lost by a new key."""

    code = "key.not-changed"


@dataclass(frozen=True, slots=True)
class Changed:
    """`retired`: where the old key is now; `log`: where its log is; None when there was none."""

    key_id: str
    previous: str
    retired: Path | None
    log: Path | None
    policies: tuple[TakenOver, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _End:
    """How many entries a log has, and the hash of the last; `replaced` is what the next log says of it."""

    entries: int
    leaf: str
    replaced: Replaced | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """The log of a retired key. `verdict` is None when that key is gone too: it can be read, not verified."""

    key_id: str
    directory: Path
    entries: int
    verdict: LogVerdict | None


def archived_log(paths: Paths, key_id: str) -> Path:
    """Where the log of a retired key lies."""
    return paths.audit_dir.with_name(f"{paths.audit_dir.name}.{key_id}")


def archives(paths: Paths) -> tuple[Archive, ...]:
    """Every log of a retired key, verified with that key where it is still there."""
    found = []
    for directory in sorted(paths.audit_dir.parent.glob(f"{paths.audit_dir.name}.*")):
        key_id = directory.name.rpartition(".")[2]
        try:
            key: DeviceKey | None = load_device_key(retired_path(paths.device_key, key_id))
        except PolicyError:
            key = None
        report = verify_log(directory, key)
        found.append(Archive(key_id, directory, report.entries, report.verdict if key else None))
    return tuple(found)


def change_key(paths: Paths, new: DeviceKey, action: str, *, public_key: str = "", lost: bool = False) -> Changed:
    """Put `new` in force. `lost`: the old key is gone, so nothing of its is taken over.

    Raises:
        KeyNotChanged: the log is not intact, or (unless `lost`) there is no old key.
        DeviceKeyError: a key file cannot be read or written.
    """
    old = _old_key(paths, lost=lost)
    end = _log_state(paths, old)
    retired = replace_device_key(paths.device_key, new)
    previous = old.key_id if old is not None else "lost"
    log = _set_log_aside(paths, previous) if end.entries else None
    taken = () if old is None else _take_over_all(paths, old, new, public_key)
    changed = Changed(new.key_id, previous, retired, log, taken)
    return replace(changed, problem=_begin_log(paths, new, action, changed, end))


def restore_key(paths: Paths, key: DeviceKey, *, public_key: str = "") -> Changed | None:
    """Put a key of a backup back; None when it is in force already. Its own log, if set aside, goes on.

    Raises:
        As `change_key`.
    """
    try:
        present: DeviceKey | None = load_device_key(paths.device_key)
    except KeyMissing:
        present = None
    if present is not None and present.key_id == key.key_id:
        return None
    if present is None:
        replace_device_key(paths.device_key, key)
        problem = _note_restored(paths, key)
        return Changed(key.key_id, "lost", None, None, (), problem)
    return change_key(paths, key, "restored", public_key=public_key)


def _note_restored(paths: Paths, key: DeviceKey) -> str:
    """The key came back to its own log: go on with it."""
    try:
        log = AuditLog.open(paths.audit_dir, key=key)
        log.append("key.changed", action="restored", key_id=key.key_id)
        log.close()
    except AuditError as error:
        return f"the log could not be written: {error.message}"
    return ""


def _take_over_all(paths: Paths, old: DeviceKey, new: DeviceKey, public_key: str) -> tuple[TakenOver, ...]:
    return tuple(
        take_over(workspace, paths.state_dir, old, new, public_key=public_key)
        for workspace in workspaces(paths.state_dir)
    )


def _old_key(paths: Paths, *, lost: bool) -> DeviceKey | None:
    try:
        return None if lost else load_device_key(paths.device_key)
    except KeyMissing as error:
        cure = "localgpt key restore FILE, or when there is no backup: localgpt key rotate --lost"
        raise KeyNotChanged("there is no device key to change", cure=cure) from error


def _log_state(paths: Paths, key: DeviceKey | None) -> _End:
    if not (paths.audit_dir / LOG_NAME).exists():
        return _End(0, "")
    report = verify_log(paths.audit_dir, key)
    if report.verdict is LogVerdict.TAMPERED and key is not None:
        cure = "localgpt audit verify; when the key that wrote it is gone: localgpt key rotate --lost"
        raise KeyNotChanged("the log is not what this key wrote", cure=cure)
    replaced = replaced_by(paths.audit_dir, report, "key-changed") if report.entries else None
    return _End(report.entries, report.last_leaf, replaced)


def _set_log_aside(paths: Paths, key_id: str) -> Path:
    place = archived_log(paths, key_id)
    number = 1
    while place.exists():
        number += 1
        place = archived_log(paths, f"{key_id}-{number}")
    paths.audit_dir.rename(place)
    return place


def _begin_log(paths: Paths, new: DeviceKey, action: str, changed: Changed, before: _End) -> str:
    """Write the change, and every signature that came of it, as the first entries of the new log."""
    try:
        log = AuditLog.open(paths.audit_dir, key=new, replaces=before.replaced)
        try:
            log.append(
                "key.changed",
                action=action,
                key_id=new.key_id,
                previous=None if changed.previous == "lost" else changed.previous,
                path=None if changed.retired is None else str(changed.retired),
                log_entries=before.entries or None,
                log_leaf=before.leaf or None,
            )
            for each in changed.policies:
                if each.manifest is not None:
                    _log_signature(log, each)
        finally:
            log.close()
    except AuditError as error:
        return f"the log could not be written: {error.message}"
    return ""


def _log_signature(log: AuditLog, each: TakenOver) -> None:
    assert each.manifest is not None
    log.append(
        "policy.signed",
        sequence=each.manifest.sequence,
        document=each.manifest.content_sha256,
        by=each.manifest.signed_by,
        key_id=each.manifest.key_id,
        path=each.document,
    )
