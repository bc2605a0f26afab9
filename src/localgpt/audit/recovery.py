"""Beginning a new log where the old one cannot go on: a restored backup, a moved machine, a loss that is accepted.

The old log is kept beside the new one, whose first entry names it and what was known of its end. Nothing is hidden:
from then on every verification says so.
"""

from __future__ import annotations

import os
from pathlib import Path

from localgpt.audit.appending import Replaced
from localgpt.audit.epoch import MAX_EPOCH_BYTES, Epoch
from localgpt.audit.errors import TamperError
from localgpt.audit.files import EPOCH_NAME, read_bytes, unopenable
from localgpt.audit.log import AuditLog
from localgpt.audit.report import Report
from localgpt.crypto import DeviceKey


def replaced_by(directory: Path, report: Report, reason: str) -> Replaced:
    """What a new log says of this one: its name from the first entry, else from the open epoch, else from a pin."""
    origin = report.origin
    if not origin:
        data = read_bytes(directory / EPOCH_NAME, MAX_EPOCH_BYTES)
        try:
            origin = "" if data is None else Epoch.decode(data).origin
        except TamperError:
            origin = ""
    pinned = [each.origin for pin in report.pins for each in pin.pinned]
    return Replaced(reason, origin or next(iter(pinned), ""), report.entries, report.last_leaf)


def begin_anew(directory: Path, key: DeviceKey, report: Report, reason: str) -> Path:
    """Set the log aside and begin a new one that names it. Returns where the old one is.

    Raises:
        LogUnopenable, LogPoisoned
    """
    replaces = replaced_by(directory, report, reason)
    number = 1
    while (aside := directory.with_name(f"{directory.name}.lost-{number}")).exists():
        number += 1
    try:
        if directory.exists():
            os.rename(directory, aside)  # noqa: PTH104 -- its errors name both paths
    except OSError as error:
        raise unopenable(directory, error) from error
    AuditLog.open(directory, key=key, replaces=replaces).close()
    return aside
