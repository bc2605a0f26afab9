"""The temporary directory that commands get where they cannot have a /tmp of their own (rung B).

It is locked while it is in use, so that what a runtime left behind when it was killed is found and removed by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_PREFIX: Final = "localgpt-tmp-"


class PrivateDirectory:
    """A fresh directory for one zygote; `home` inside it is what commands get as their home."""

    def __init__(self) -> None:
        """Make it, and remove those that nobody uses any more."""
        base = Path(tempfile.gettempdir()).resolve()
        self.path = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
        try:
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            Path(self.path).rmdir()
            raise
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(self.path, "home").mkdir(mode=0o700)
        _sweep(base)

    def close(self) -> None:
        """Remove it with all its content."""
        _remove(self.path)
        os.close(self._lock)


def _sweep(base: Path) -> None:
    for path in base.glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):  # in use, gone, or another user's
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # An empty one may be between its making and its lock.
                if os.fstat(descriptor).st_uid == os.geteuid() and any(path.iterdir()):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(str(path))
            finally:
                os.close(descriptor)


def _remove(path: str) -> None:
    """Remove a tree that a command has filled: links are not followed, and what resists stays for the next sweep."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return
    with contextlib.suppress(RecursionError, OSError):  # directories whose mode their maker took away
        for _, names, _, descriptor in os.fwalk(path):
            for name in names:
                with contextlib.suppress(OSError):
                    _make_writable(name, descriptor)
    with contextlib.suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)


def _make_writable(name: str, parent: int) -> None:
    """Give a directory its owner's rights back; never by a name that could meanwhile be a link."""
    location = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{location}").chmod(0o700)
    finally:
        os.close(location)
