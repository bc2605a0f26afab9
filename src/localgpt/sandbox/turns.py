"""Whose command may be running in a folder just now, in this process or another of the same user's.

What changed between two commands is the user's doing only if nobody's command ran in between. Without this, what a
command of one session wrote would be taken by another session for the user's, and put back by it when the first has
put it away.

Locks on empty files that no command can see. A command in folder F holds "in F" and, for each folder A above it,
"below A", shared; nobody runs in, above or below F if nobody holds "in F", "below F" or any "in A". Whoever looks
takes no lock, so that those who look do not disturb each other; what is in the files tells whether somebody ran
meanwhile.
"""

# Paths are text.
# ruff: noqa: PTH118, PTH120

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import stat
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Final

_PRIVATE: Final = 0o077
_STAMP_BYTES: Final = 8
_Lock = tuple[int, mmap.mmap]


class Turns:
    """The locks of one executor's write roots. Not shared between threads."""

    def __init__(self, roots: Iterable[str]) -> None:
        """Open the lock files; a host that has no place for them is one on which nobody is ever known to be alone."""
        self._locks: dict[str, int] = {}
        mine: list[str] = []
        others: list[str] = []
        for root in roots:
            above = list(_above(root))
            mine += [f"in {root}", *(f"below {folder}" for folder in above)]
            others += [f"in {root}", f"below {root}", *(f"in {folder}" for folder in above)]
        locks: dict[str, _Lock] = {}
        with contextlib.suppress(OSError):
            place = _place()
            for key in dict.fromkeys((*mine, *others)):
                locks[key] = _open(os.path.join(place, hashlib.sha256(os.fsencode(key)).hexdigest()[:32]))
        self._mine = tuple(locks[key] for key in dict.fromkeys(mine) if key in locks)
        complete = len(locks) == len({*mine, *others})
        self._others = tuple(locks[key] for key in dict.fromkeys(others)) if complete else ()
        self._all = tuple(locks.values())

    def quiet(self) -> tuple[bytes, ...] | None:
        """A stamp of this moment if nobody else's command runs, None if somebody's may."""
        stamp = tuple([last[:] for _, last in self._others])  # the faster way to make a short one
        return stamp if stamp and not any(_is_held(lock) for lock, _ in self._others) else None

    def still(self, stamp: tuple[bytes, ...] | None) -> bool:
        """Whether nobody's command ran since `stamp`."""
        return stamp is not None and self.quiet() == stamp

    def run(self) -> None:
        """From now on our command runs, and others see it."""
        now = time.time_ns().to_bytes(_STAMP_BYTES, "little")
        for lock, last in self._mine:
            fcntl.fcntl(lock, fcntl.F_OFD_SETLKW, _SHARED)
            last[:] = now

    def end(self) -> None:
        """Our command has ended, and what it left was looked at."""
        for lock, _ in self._mine:
            fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _NONE)

    def close(self) -> None:
        """Close the files. Idempotent."""
        for lock, last in self._all:
            last.close()
            os.close(lock)
        self._all = self._mine = self._others = ()


def _open(path: str) -> _Lock:
    """Open one lock file, which holds when somebody last began to run."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(lock, _STAMP_BYTES)
        return lock, mmap.mmap(lock, _STAMP_BYTES)
    except OSError:
        os.close(lock)
        raise


def _flock(kind: int) -> bytes:
    """`struct flock` for a whole file, of 64-bit Linux."""
    return struct.pack("hh4xqqi4x", kind, os.SEEK_SET, 0, 0, 0)


_SHARED: Final = _flock(fcntl.F_RDLCK)
_ALONE: Final = _flock(fcntl.F_WRLCK)
_NONE: Final = _flock(fcntl.F_UNLCK)
_FREE: Final = struct.pack("h", fcntl.F_UNLCK)


def _is_held(lock: int) -> bool:
    """Whether anybody else holds it."""
    return fcntl.fcntl(lock, fcntl.F_OFD_GETLK, _ALONE)[:2] != _FREE


def _above(root: str) -> Iterator[str]:
    while (parent := os.path.dirname(root)) != root:
        yield parent
        root = parent


def _place() -> str:
    """A folder of this user's and nobody else's.

    Raises:
        OSError: there is none.
    """
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    place = os.path.join(base, f"localgpt-turns-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(place, 0o700)  # noqa: PTH102 -- text
    status = os.lstat(place)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & _PRIVATE:
        raise PermissionError(f"{place} is somebody else's")
    return place
