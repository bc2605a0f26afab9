"""A pid namespace around everything that runs attempts: one that gets through must not reach the host's processes.

Without it, an attempt whose launcher holds nothing back could signal whatever its user may signal. So the whole run
(world, launchers, judge) goes into a namespace first, and launchers other than this sandbox refuse to start outside.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Final

from localgpt.sandbox import kernel
from localgpt.sandbox.faults import NotConfined

_MS_REC_PRIVATE: Final = 0x4000 | 0x4_0000
_LAST_PID: Final = "20000"  #: so that no pid out here is one in a launcher's own, nearly empty, namespace
_PROC_FLAGS: Final = 2 | 4 | 8  # nosuid, nodev, noexec


@dataclass(frozen=True, slots=True)
class Container:
    """The proof of being in another pid namespace than the one with the identity `outer`."""

    outer: str

    def __post_init__(self) -> None:
        if os.readlink("/proc/self/ns/pid") == self.outer or os.getpid() != 1:  # noqa: PTH115 -- a magic link
            raise NotConfined(
                "attempts run without this sandbox only inside a pid namespace made for them",
                cure="run them by `python -m localgpt.sandbox.probes` on a host that allows namespaces",
            )


def enter(user: int | None = None) -> Container:
    """Go on as pid 1 of a new pid namespace, with a /proc of its own; the caller's process waits and exits with it.

    Args:
        user: id of the user and group to go on as; only root may choose.

    Raises:
        OSError: no such namespace can be made here.
    """
    outer = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 -- a magic link
    uid, gid = os.geteuid(), os.getegid()
    kernel.call("unshare", kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | (kernel.CLONE_NEWUSER if uid else 0))
    if uid:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 -- a magic file
                file.write(line)
    child = os.fork()
    if child:
        _wait(child)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.call("mount", None, b"/", None, _MS_REC_PRIVATE, None)
    kernel.call("mount", b"proc", b"/proc", b"proc", _PROC_FLAGS, None)
    with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:  # noqa: PTH123 -- a magic file
        file.write(_LAST_PID)
    if user is not None and not uid:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    return Container(outer)


def _wait(child: int) -> None:
    """The rest of the life of the process outside."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child as well
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) % 256)
