"""The file that remembers input lines: readable by its owner only, bounded, never followed through a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 512 * 1024


def prepare_history(path: Path) -> Path | None:
    """Make the history file (0600) or narrow its mode, and cut it when it grew too long.

    Returns None when it cannot be used (read-only home, not a regular file, someone else's): input is not remembered.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o600)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return None
        os.fchmod(fd, 0o600)
        if found.st_size > MAX_BYTES:
            _shorten(path, os.pread(fd, MAX_BYTES // 2, found.st_size - MAX_BYTES // 2))
    except OSError:
        return None
    finally:
        os.close(fd)
    return path


def _shorten(path: Path, keep: bytes) -> None:
    """Keep the newest half, from an entry's beginning; replaced in one step."""
    start = keep.find(b"\n# ")
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(keep[start:] if start >= 0 else b"")
    fresh.replace(path)
