"""A control group for one zygote: the kernel bounds memory and processes of the whole tree, and can end it at once.

Only where a part of the cgroup v2 hierarchy is delegated to this user (a systemd user session, root) with the memory
and pids controllers in it; anywhere else `usage` watches instead. Nothing of the host is changed but for one directory,
which goes with the zygote, and, as root, controllers that were not passed on to groups below the root are.

Source: Documentation/admin-guide/cgroup-v2.rst; systemd.resource-control(5), Delegate=.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from localgpt.sandbox.proof import Mechanism

_NEEDED: Final = frozenset({"memory", "pids"})
_HELPERS: Final = 2  #: warden and zygote
_HELPER_BYTES: Final = 32 << 20
_END_S: Final = 2.0
_STEP_S: Final = 0.002
_PREFIX: Final = "localgpt-"


class NotDelegated(Exception):  # noqa: N818 -- named after the condition
    """This user has no part of the hierarchy; the text says what is lacking."""


def delegated(memory_bytes: int, processes: int) -> tuple[Cgroup | None, str]:
    """A group with these limits, or None and why there is none."""
    try:
        return Cgroup(memory_bytes, processes), ""
    except NotDelegated as error:
        return None, str(error)


def with_cgroup(
    mechanisms: tuple[Mechanism, ...], cgroup: Cgroup | None, warden: int, said: str
) -> tuple[Mechanism, ...]:
    """What the self-test has shown, and what the group adds to it; `said` is why there is none."""
    if cgroup is None:
        return (*mechanisms, ("cgroup", False, said), ("memory-limit", False, "a watch twenty times a second"))
    held = cgroup.holds(warden)
    others = tuple(each for each in mechanisms if each[0] != "process-limit" or not held)
    return (*others, *((name, held, cgroup.path) for name in ("cgroup", "memory-limit", "process-limit")))


class Cgroup:
    """One group with limits, empty at first."""

    def __init__(self, memory_bytes: int, processes: int) -> None:
        """Make it beneath the nearest group above this process where that is allowed.

        Args:
            memory_bytes: of everything in it, files in memory included, beside what the two helper processes need.
            processes: threads of everything in it, beside the two helpers.

        Raises:
            NotDelegated: nowhere.
        """
        limits = {
            "memory.max": memory_bytes + _HELPER_BYTES,
            "memory.swap.max": 0,  # or what does not fit goes to disk, and the limit is none
            "pids.max": processes + _HELPERS,
        }
        said = "no cgroup v2 hierarchy is mounted"
        for parent in _candidates():
            try:
                self._path, self._ended = _make(parent, limits), 0
            except OSError as error:
                said = f"{parent}: {error.strerror or error}"
            else:
                return
        raise NotDelegated(said)

    @property
    def path(self) -> str:
        return str(self._path)

    def add(self, pid: int) -> None:
        """Move a process in; what it starts from now on is in it as well. `holds` tells whether the kernel did it."""
        with contextlib.suppress(OSError):
            (self._path / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def holds(self, pid: int) -> bool:
        """Whether a process is in it, with the limits as they were set."""
        set_to = [" ".join(_lines(str(self._path / name))) for name in ("memory.max", "pids.max")]
        return str(pid) in _lines(str(self._path / "cgroup.procs")) and all(map(str.isdigit, set_to))  # "max" is none

    def ran_out(self) -> bool:
        """Whether processes of it have ended, since this was last asked, because there was no memory left."""
        before, self._ended = self._ended, 0
        for line in _lines(str(self._path / "memory.events")):
            if line.startswith("oom_kill "):
                self._ended = int(line.split()[1])
        return self._ended > before

    def close(self) -> None:
        """End whoever is left in it and remove it. Idempotent."""
        with contextlib.suppress(OSError):  # before Linux 5.14 there is no such file, and the warden has done it
            (self._path / "cgroup.kill").write_text("1", encoding="ascii")
        deadline = time.monotonic() + _END_S
        while True:
            try:
                self._path.rmdir()
            except OSError as error:
                if error.errno == errno.EBUSY and time.monotonic() < deadline:
                    time.sleep(_STEP_S)
                    continue
            return


def _candidates() -> Iterator[Path]:
    """The groups above this process, nearest first. Not its own: a group with processes has no groups that share."""
    mount = _mount_point()
    own = next((line[3:] for line in _lines("/proc/self/cgroup") if line.startswith("0::")), None)
    if mount is None or own is None:
        return
    folder = mount / own.lstrip("/")
    while folder not in {mount, folder.parent} and mount in folder.parents:
        folder = folder.parent
        yield folder
    if folder == mount and os.geteuid() == 0:  # the root of the hierarchy, or of a container's part
        yield mount


def _make(parent: Path, limits: dict[str, int]) -> Path:
    """A new group with `limits` beneath `parent`.

    Raises:
        OSError: not allowed, or the controllers are not there.
    """
    passed_on = set((parent / "cgroup.subtree_control").read_text(encoding="ascii").split())
    if lacking := _NEEDED - passed_on:
        if lacking - set((parent / "cgroup.controllers").read_text(encoding="ascii").split()):
            raise OSError(errno.ENODEV, f"without the {' and '.join(sorted(lacking))} controllers")
        wanted = " ".join(f"+{name}" for name in sorted(lacking))
        (parent / "cgroup.subtree_control").write_text(wanted, encoding="ascii")
    if not os.access(parent / "cgroup.procs", os.W_OK):  # or nobody can be moved from above into it
        raise PermissionError(errno.EPERM, "its processes may not be moved")
    folder = parent / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        for name, value in limits.items():
            with contextlib.suppress(FileNotFoundError):  # no swap accounting: then memory.max is all there is
                (folder / name).write_text(str(value), encoding="ascii")
    except OSError:
        folder.rmdir()
        raise
    return folder


def _mount_point() -> Path | None:
    for line in _lines("/proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
