"""Earlier conversations, as far as a list needs them: the beginning of each session file is read, and no more.

Session files hold foreign text; whatever is shown of them is escaped by whoever shows it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from localgpt.agent.entries import read_entry, read_line
from localgpt.cli.terminal.session import SessionSummary

_HEAD_BYTES: Final = 64 * 1024
_MAX_LISTED: Final = 200


def earlier_sessions(directory: Path, project: Path | None = None) -> list[SessionSummary]:
    """Sessions of `directory`, newest first; only those of the folder `project` when one is given."""
    newest_first = sorted(_files(directory), reverse=True)[:_MAX_LISTED]
    found = (_summary(path, changed) for changed, path in newest_first)
    return [entry for entry in found if entry is not None and project in {None, Path(entry.project)}]


def _files(directory: Path) -> Iterator[tuple[float, Path]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl") and entry.is_file(follow_symlinks=False):
                    yield entry.stat(follow_symlinks=False).st_mtime, Path(entry.path)
    except OSError:
        return


def _summary(path: Path, changed: float) -> SessionSummary | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return None
        lines = [read_line(line) for line in file.read(_HEAD_BYTES).split(b"\n")]
    header = lines[0] if lines else None
    if header is None or header.get("type") != "session":
        return None
    spoken = [entry for line in lines[1:] if line and (entry := read_entry(line)) and entry.is_users_words]
    return SessionSummary(
        session_id=path.stem,
        changed=time.strftime("%Y-%m-%d %H:%M", time.localtime(changed)),
        project=str(header.get("cwd", "")),
        title=spoken[0].text if spoken else "",
    )
