"""Watch which paths a command asks for, so that a plan can be proposed. Watching allows nothing.

A second filter stops calls that name a path and tells the runtime (seccomp user notification), which reads the path
and lets the call go on to Landlock and the mounts, where it is refused or not as ever; what the first filter refuses
never gets here. A command can change the path behind the runtime's back: then what is learned is wrong, and nothing
else. Each call costs a round trip, so only `sandbox run --learn` watches.

Source: seccomp_unotify(2).
"""

# A plan holds paths as text, which is compared and never touched through an object.
# ruff: noqa: PTH112, PTH115, PTH117, PTH118, PTH120, PTH123

from __future__ import annotations

import fcntl
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from localgpt.sandbox.denials import Denial, Want, judge
from localgpt.sandbox.plan import Plan
from localgpt.sandbox.syscalls import NUMBERS
from localgpt.sandbox.toolchains import is_inside

_RECEIVE, _RESPOND, _IS_VALID = 0xC050_2100, 0xC018_2101, 0x4008_2102  # SECCOMP_IOCTL_NOTIF_*
_NOTICE: Final = struct.Struct("=QIIiIQ6Q")
_ANSWER: Final = struct.Struct("=QqiI")
_CONTINUE: Final = 1
_AT_FDCWD: Final = -100
_PATH_MAX: Final = 4096
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
MOST: Final = 100_000  #: different paths; a command that asks for more is not understood any more

# Where each call has a folder's descriptor (None: the working directory), a path, and what tells reading from writing:
# an argument with open()'s flags, or a constant.
_CALLS: Final[dict[str, tuple[tuple[int | None, int, int | bool], ...]]] = {
    "open": ((None, 0, 1),), "openat": ((0, 1, 2),), "creat": ((None, 0, True),),
    "stat": ((None, 0, False),), "lstat": ((None, 0, False),), "newfstatat": ((0, 1, False),),
    "statx": ((0, 1, False),), "access": ((None, 0, False),), "faccessat": ((0, 1, False),),
    "faccessat2": ((0, 1, False),), "execve": ((None, 0, False),), "chdir": ((None, 0, False),),
    "mkdir": ((None, 0, True),), "mkdirat": ((0, 1, True),), "unlink": ((None, 0, True),),
    "unlinkat": ((0, 1, True),), "rmdir": ((None, 0, True),), "truncate": ((None, 0, True),),
    "rename": ((None, 0, True), (None, 1, True)), "renameat": ((0, 1, True), (2, 3, True)),
    "renameat2": ((0, 1, True), (2, 3, True)), "symlink": ((None, 1, True),), "symlinkat": ((1, 2, True),),
    "link": ((None, 1, True),), "linkat": ((2, 3, True),),
}  # fmt: skip
WATCHED: Final = tuple(name for name in _CALLS if NUMBERS.get(name) is not None)
_BY_NUMBER: Final = {NUMBERS[name]: paths for name, paths in _CALLS.items() if NUMBERS.get(name) is not None}


@dataclass(frozen=True, slots=True)
class Touch:
    """A path that a command asked for: absolute, normalised, with links as the command spelled them."""

    path: str
    write: bool


class Learner:
    """The runtime's end of the second filter; closes its descriptor."""

    def __init__(self, listener: int) -> None:
        self._listener = listener
        self._touched: dict[Touch, None] = {}

    @property
    def touched(self) -> tuple[Touch, ...]:
        """Everything asked for so far, in the order in which it was first asked for."""
        return tuple(self._touched)

    def handlers(self) -> dict[int, Callable[[], bool]]:
        """What to poll for reading while a command runs, and what to call then."""
        return {self._listener: self._notified}

    def close(self) -> None:
        os.close(self._listener)

    def _notified(self) -> bool:
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, notice)
        except OSError:
            return True  # whoever asked is dead already
        number, pid, _, call, _, _, *arguments = _NOTICE.unpack(notice)
        found = [touch for each in _BY_NUMBER.get(call, ()) if (touch := _touch(pid, each, arguments)) is not None]
        try:
            fcntl.ioctl(self._listener, _IS_VALID, struct.pack("=Q", number))  # what was read is that process's
            fcntl.ioctl(self._listener, _RESPOND, _ANSWER.pack(number, 0, 0, _CONTINUE))
        except OSError:
            return True
        if len(self._touched) < MOST:
            self._touched.update(dict.fromkeys(found))
        return True


def _touch(pid: int, where: tuple[int | None, int, int | bool], arguments: list[int]) -> Touch | None:
    folder, path, writes = where
    text = _read_text(pid, arguments[path])
    if not text:
        return None
    if not os.path.isabs(text):
        base = _folder(pid, folder, arguments)
        if base is None:
            return None
        text = os.path.join(base, text)
    write = writes if isinstance(writes, bool) else bool(arguments[writes] & _WRITES)
    return Touch(os.path.normpath(text), write)


def _folder(pid: int, argument: int | None, arguments: list[int]) -> str | None:
    descriptor = _AT_FDCWD if argument is None else (arguments[argument] & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000
    name = "cwd" if descriptor == _AT_FDCWD else f"fd/{descriptor}"
    try:
        target = os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return None
    return target if os.path.isabs(target) else None


def _read_text(pid: int, address: int) -> str:
    """The NUL-terminated text at `address` of a process; "" where it cannot be read."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            data = memory.read(_PATH_MAX - address % _PATH_MAX)  # to the end of the page: the next may not be there
            if b"\0" not in data:
                data += memory.read(_PATH_MAX)
    except (OSError, ValueError, OverflowError):
        return ""
    text, end, _ = data.partition(b"\0")
    return os.fsdecode(text) if end else ""


def proposals(plan: Plan, touched: Iterable[Touch], home: str) -> tuple[Denial, ...]:
    """The smallest grants under which what is there could have been read, and what was asked for written.

    What is not there, or not open to the user either, is nothing that a grant would show. Where three or more files of
    one folder are wanted, the folder is, unless it is the home or above it.
    """
    wanted: dict[Want, list[str]] = {Want.READ: [], Want.WRITE: []}
    for touch in touched:
        path = _real(touch.path)
        there = os.path.lexists(path) or (touch.write and os.path.isdir(os.path.dirname(path)))
        denial = judge(plan, path, write=touch.write) if there else None
        if denial is not None and denial.grant:
            grant = denial.grant if not touch.write or not os.path.lexists(path) else path
            if os.access(grant, os.W_OK if touch.write else os.R_OK):  # else the user may not either
                wanted[denial.want].append(grant)
    writes = _gathered(wanted[Want.WRITE], home)
    reads = [path for path in _gathered(wanted[Want.READ], home) if not any(is_inside(path, root) for root in writes)]
    return tuple(
        Denial(want, path, "not in the plan", path) for want, paths in ((Want.READ, reads), (Want.WRITE, writes))
        for path in paths if not is_inside(home, path)
    )  # fmt: skip


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return path


def _gathered(paths: list[str], home: str) -> list[str]:
    """Folders for many files of theirs, and nothing that lies inside another; a folder that was only looked at counts
    as itself, and one above others is not proposed for them."""
    found = set(paths)
    found = {path for path in found if not any(other != path and is_inside(other, path) for other in found)}
    parents = Counter(os.path.dirname(path) for path in found)
    many = {parent for parent, count in parents.items() if count >= 3 and not is_inside(home, parent) and parent != "/"}
    found = {parent if (parent := os.path.dirname(path)) in many else path for path in found}
    return sorted(path for path in found if not any(other != path and is_inside(path, other) for other in found))
