"""What ``localgpt audit verify`` and ``head`` find out: keys, pins, and where the last verification ended."""

from __future__ import annotations

import contextlib
from pathlib import Path

from localgpt.audit.checkpoints import identity_of, last_checkpoint
from localgpt.audit.disk import SystemDisk, replace_file
from localgpt.audit.epoch import MAX_EPOCH_BYTES, Epoch
from localgpt.audit.files import CHECKPOINTS_NAME, EPOCH_NAME, read_bytes
from localgpt.audit.machine_pins import read_pins
from localgpt.audit.report import Report
from localgpt.audit.resume import Trusted
from localgpt.audit.verify import verify_log
from localgpt.cli.state import State
from localgpt.cli.trust import key_or_none
from localgpt.crypto import DeviceKey

_REMEMBERED_BYTES = 64 * 1024


def verified(state: State, *, new: bool = False) -> Report:
    """Verify the log of this run's state directory; `new`: from where the last verification ended."""
    key = key_or_none(state)
    place = state.base_paths.cache_dir / "audit-verified"
    trusted = _remembered(place, key) if new and key is not None else None
    directory = state.base_paths.audit_dir
    pins = () if key is None else read_pins(directory, key, state.environ)
    report = verify_log(directory, key, trusted=trusted, pins=pins)
    if key is not None and report.trusted is not None:
        with contextlib.suppress(OSError):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(SystemDisk(), place, report.trusted.encode(key))
    return report


def _remembered(place: Path, key: DeviceKey) -> Trusted | None:
    data = read_bytes(place, _REMEMBERED_BYTES)
    return None if data is None else Trusted.decode(data, key)


def last_head(state: State) -> dict[str, object]:
    """The identity and the last checkpoint, as they are to be written down; empty before the first epoch is closed."""
    directory = state.base_paths.audit_dir
    key, data = key_or_none(state), read_bytes(directory / EPOCH_NAME, MAX_EPOCH_BYTES)
    if key is None or data is None:
        return {"identity": "", "checkpoint": "", "size": 0}
    origin = Epoch.decode(data).origin
    sealed = last_checkpoint(directory / CHECKPOINTS_NAME)
    return {
        "identity": str(identity_of(key, origin)),
        "checkpoint": "" if sealed is None else sealed.note.encode().decode(),
        "size": 0 if sealed is None else sealed.checkpoint.size,
    }
