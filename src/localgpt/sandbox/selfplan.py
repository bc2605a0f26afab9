"""Confine the calling process for good: the gateway, the agent and the model server, before they read anything foreign.

Afterwards the process can import Python modules, start threads, use the descriptors it holds and what its plan names.
It can execute nothing, signal nobody outside, and open no other file and no other kind of socket.
"""

# A plan holds paths as text, which is compared and never touched through an object.
# ruff: noqa: PTH110, PTH117, PTH118, PTH208

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass
from typing import Final

from localgpt.sandbox import kernel, landlock, rules, seccomp
from localgpt.sandbox.faults import KernelTooOld, MissingRoot, NotConfined, RelativeRoot
from localgpt.sandbox.rules import Sockets
from localgpt.sandbox.support import usable_abi
from localgpt.sandbox.syscalls import ARCH

_SYSTEM: Final = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache",
    "/etc/localtime", "/usr/share/zoneinfo", "/usr/share/locale", "/usr/lib/locale", "/proc/self", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu", "/dev/zero", "/dev/random", "/dev/urandom",
)  # fmt: skip


class ThreadsRunning(NotConfined):
    """Other threads would stay unconfined: Landlock holds for the calling thread before ABI 8."""

    code = "sandbox.threads"


@dataclass(frozen=True, slots=True)
class SelfPlan:
    """What a process of the runtime keeps. Absolute paths that exist; the interpreter's own are added.

    `read`: files and directories to read; `write`: to read and change. `sockets`: what it may open beyond the
    descriptors it holds. A client of unix sockets can reach any socket file that its user can, until Landlock ABI 9
    confines it to the write roots.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    sockets: frozenset[Sockets] = frozenset()


def confine_self(plan: SelfPlan, *, without_landlock: bool = False) -> bool:
    """Give up everything that `plan` does not keep. There is no way back.

    Args:
        plan: what is kept.
        without_landlock: go on where the kernel has none. Nothing can be executed and no other socket opened then, but
            files are no longer held back; commands never run on such a kernel, so this keeps only talking alive.

    Returns:
        Whether Landlock holds.

    Raises:
        ThreadsRunning: other threads exist and the kernel cannot confine them as well.
        SandboxError: another leaf of it, when the kernel cannot do it; the process must then end.
    """
    abi = _abi(without_landlock=without_landlock)
    if abi < 8 and len(os.listdir("/proc/self/task")) > 1:
        raise ThreadsRunning("threads are running already", cure="confine the process before it starts any")
    program = seccomp.assemble(ARCH, rules.process_rules(plan.sockets))
    locations = [*_locations(plan)]
    try:
        kernel.drop_capabilities()
        kernel.no_new_privileges()
        if abi:
            _restrict(abi, plan.sockets, locations)
        for location, _ in locations:
            os.close(location)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        kernel.load_filter(program.code, all_threads=True)
    except OSError as error:
        raise NotConfined(f"this process could not confine itself: {error}", cure="see `localgpt doctor`") from error
    return abi > 0


def _abi(*, without_landlock: bool) -> int:
    try:
        return usable_abi()
    except KernelTooOld:
        if without_landlock:
            return 0
        raise


def _restrict(abi: int, sockets: frozenset[Sockets], locations: list[tuple[int, int]]) -> None:
    ruleset = landlock.Ruleset(
        abi, network=_denied_network(sockets), scope=landlock.SCOPE_ABSTRACT_UNIX | landlock.SCOPE_SIGNAL
    )
    for location, rights in locations:
        ruleset.allow(location, rights)
    ruleset.restrict_self(all_threads=abi >= 8)


def _denied_network(sockets: frozenset[Sockets]) -> int:
    denied = 0 if Sockets.INET_CLIENT in sockets else landlock.NET_CONNECT_TCP
    return denied if Sockets.LOOPBACK_LISTENER in sockets else denied | landlock.NET_BIND_TCP


def _locations(plan: SelfPlan) -> list[tuple[int, int]]:
    own = [path for path in dict.fromkeys(map(os.path.realpath, (*_interpreter(), *_SYSTEM))) if _usable(path)]
    named = [(_named(path), landlock.READ) for path in plan.read]
    changed = [(_named(path), landlock.WRITE | landlock.RESOLVE_UNIX) for path in plan.write]
    null = [("/dev/null", landlock.DEVICE)]
    grants = [*((path, landlock.READ) for path in own), *named, *changed, *null]
    return [(os.open(path, os.O_PATH | os.O_CLOEXEC), rights) for path, rights in grants]


def _interpreter() -> list[str]:
    """Where modules and shared libraries are imported from."""
    paths = sysconfig.get_paths()
    found = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [os.path.join(prefix, "lib") for prefix in (sys.prefix, sys.base_prefix, sys.base_exec_prefix)]
    return [*found, *(path for path in sys.path if os.path.isabs(path)), os.path.join(sys.prefix, "pyvenv.cfg")]


def _usable(path: str) -> bool:
    return path != "/" and os.path.exists(path)


def _named(path: str) -> str:
    if not os.path.isabs(path):
        raise RelativeRoot(f"{path!r} is not an absolute path", cure="give the full path")
    try:
        return os.path.realpath(path, strict=True)
    except OSError as error:
        raise MissingRoot(f"{path}: {error.strerror}", cure="make it before confining, or leave it out") from error
