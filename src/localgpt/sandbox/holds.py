"""Empty folders that stand where protected names are absent, so that there is something to mount upon.

A command cannot make `.envrc` when a read-only `.envrc/` is mounted there. The folder is real, in the project, and
gone with the last executor that needs it. An empty *folder*, because git and build tools do not see one.

Nothing is written down elsewhere. When the runtime is killed, the warden removes the folders; one that is left all the
same, after a loss of power, is known by being empty and by its time of
change, and the next executor that needs it takes it over. Executors of one project share it: each holds a lock, and
whoever gets it alone in the end removes the folder. What the host puts into it is the host's, and stays.
"""

# Paths are text, and looked up through a descriptor.
# ruff: noqa: PTH112, PTH114, PTH119, PTH120

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from localgpt.sandbox import kernel
from localgpt.sandbox.names import shipped_names
from localgpt.sandbox.toolchains import is_inside

MARK_NS: Final = 981_173_106_000_000_000  #: 2001-02-03 04:05:06 UTC, whole because some file systems round
_SETTLE_S: Final = 0.2
_STEP_S: Final = 0.002


@dataclass(frozen=True, slots=True)
class Standing:
    """How each protected path of a plan stands now.

    `kept`: it is there. `absent`: it can be held: its folder is there. `links`: it is a symbolic link, or the first
    part of it that is one, to be covered. What is in none of them cannot be held, and is looked at after commands.
    """

    kept: tuple[str, ...]
    absent: tuple[str, ...]
    links: tuple[str, ...]


def standing(protected: Iterable[str], roots: Iterable[str]) -> Standing:
    """Sort the protected paths by what is there now, outermost first."""
    kept: list[str] = []
    absent: list[str] = []
    links: list[str] = []
    roots = tuple(roots)
    holdable = _holdable(roots)
    for path in sorted(set(protected)):
        root = next((each for each in roots if path != each and is_inside(path, each)), None)
        if root is None:
            continue
        first, status = _first_unusual(root, path)
        if any(is_inside(first, each) for each in (*kept, *absent, *links)):
            continue
        is_git = os.path.basename(first) == ".git"  # git must be able to make a repository, or use one
        if status is None:
            absent += [first] if path in holdable and not is_git else []
        elif stat.S_ISLNK(status.st_mode):
            links += [] if is_git else [first]
        else:
            kept.append(first)
    return Standing(tuple(kept), tuple(absent), tuple(links))


def default_protected(root: str) -> tuple[str, ...]:
    """The shipped protected names below one write root."""
    names = shipped_names()
    git = f"{root}/.git"
    if not os.path.lexists(git):  # a command may make a repository; what it puts into it is judged afterwards
        repository: tuple[str, ...] = ()
    elif os.path.isdir(git) and not os.path.islink(git):
        repository = tuple(f".git/{name}" for name in (*names.git_held, *names.git_found))
    else:
        repository = (".git",)
    return tuple(f"{root.rstrip('/')}/{name}" for name in (*names.held, *names.found, *repository))


class Holds:
    """The empty folders of one executor. `paths` are those that stand; the rest could not be made."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Make them, or take over what a killed runtime left."""
        self._held: list[tuple[int, str, int]] = []  # folder, name in it, the held folder itself, locked
        self.paths: tuple[str, ...] = ()
        for path in paths:
            with contextlib.suppress(OSError):  # a folder that nobody may write: no command can either
                folder = kernel.open_beneath_no_symlink(os.fsencode(os.path.dirname(path)))
                if (held := _hold(folder, os.path.basename(path))) < 0:
                    os.close(folder)
                    continue
                self._held.append((folder, os.path.basename(path), held))
                self.paths += (path,)

    def close(self) -> None:
        """Remove those that nobody else holds. Idempotent."""
        while self._held:
            folder, name, held = self._held.pop()
            with contextlib.suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(folder, name, held) and is_held(os.fstat(held)):
                    os.rmdir(name, dir_fd=folder)
            os.close(held)
            os.close(folder)


def is_held(status: os.stat_result) -> bool:
    """Whether this is a folder of ours, in which the host has put nothing."""
    return stat.S_ISDIR(status.st_mode) and status.st_mtime_ns == MARK_NS


def _holdable(roots: tuple[str, ...]) -> frozenset[str]:
    names = shipped_names()
    inside = (*names.held, *(f".git/{name}" for name in names.git_held))
    return frozenset(f"{root.rstrip('/')}/{name}" for root in roots for name in inside)


def _first_unusual(root: str, path: str) -> tuple[str, os.stat_result | None]:
    """The first part of `path` below `root` that is absent or a link, or else `path`; and what it is."""
    at = root
    for part in path[len(root.rstrip("/")) + 1 :].split("/"):
        at = f"{at.rstrip('/')}/{part}"
        try:
            status = os.lstat(at)
        except OSError:
            return at, None
        if is_held(status):  # another executor's, or what a killed one left: nothing is there
            return at, None
        if stat.S_ISLNK(status.st_mode) or (at != path and not stat.S_ISDIR(status.st_mode)):
            return at, status
    return path, status


def _hold(folder: int, name: str) -> int:
    """The locked descriptor of a held folder, -1 when something else is there."""
    made = False
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
        made = True
    except FileExistsError:
        pass
    held = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if made:
            os.utime(held, ns=(MARK_NS, MARK_NS))
        fcntl.flock(held, fcntl.LOCK_SH)
        if (made or _becomes_marked(held)) and _is_at(folder, name, held):
            return held
    except OSError:
        os.close(held)
        raise
    os.close(held)
    return -1


def _becomes_marked(held: int) -> bool:
    """Whether the folder is one of ours; one that is being made this instant gets a moment to become it."""
    deadline = time.monotonic() + _SETTLE_S
    while not is_held(os.fstat(held)):
        young = time.time() - os.fstat(held).st_ctime < _SETTLE_S
        if os.listdir(held) or not young or time.monotonic() > deadline:
            return False
        time.sleep(_STEP_S)
    return True


def _is_at(folder: int, name: str, held: int) -> bool:
    """Whether `name` still leads to the folder that is held."""
    try:
        return os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(held))
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return False
        raise
