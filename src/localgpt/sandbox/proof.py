"""What has been proven about the zygote that serves, as a vector and not as a promise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Rung(StrEnum):
    """How strong the confinement is; each is a named minimum set, and one missing element means the lower one."""

    A = "A"  #: Landlock, seccomp and limits inside own user, pid, mount, net and ipc namespaces
    B = "B"  #: Landlock, seccomp and limits


Mechanism = tuple[str, bool, str]

_FILTERS: Final = frozenset({
    "filter-namespaces", "filter-mounts", "filter-processes", "filter-kernel", "filter-surfaces", "filter-limits",
    "filter-signals", "filter-devices", "filter-modes", "filter-system-v", "filter-sockets",
    "filter-hidden",
})  # fmt: skip
_BOTH: Final = _FILTERS | {
    "landlock", "no-new-privs", "seccomp", "capabilities", "rlimits", "descriptors", "canary-file", "canary-write",
    "canary-socket", "canary-process", "proc-sys", "works",
}  # fmt: skip
# A mechanism that the self-test reports and no rung demands says more about the host: "landlock-scopes" (not needed in
# a pid namespace; without them rung B refuses signals altogether), "process-limit", "memory-limit", "cgroup".
REQUIRED: Final[dict[Rung, frozenset[str]]] = {
    Rung.A: _BOTH | {"userns", "userns-capabilities", "pidns", "mountns", "netns", "ipcns", "proc", "metadata"},
    Rung.B: _BOTH | {"truncate", "filter-shared", "filter-zygote"},
}
NETWORKED: Final = frozenset({"proxy-front", "proxy-dialer"})  #: demanded besides when commands may reach hosts


@dataclass(frozen=True, slots=True)
class Proof:
    """What the self-test of one zygote found. `mechanisms`: name, whether it held, what was seen.

    `why_not_higher` is "" on rung A. `duration_ms` is the whole start: process, confinement and self-test.
    """

    rung: Rung
    mechanisms: tuple[Mechanism, ...]
    why_not_higher: str
    duration_ms: float

    def holds(self, name: str) -> bool:
        """Whether the mechanism `name` was proven."""
        return any(held for each, held, _ in self.mechanisms if each == name)


def missing(rung: Rung, mechanisms: tuple[Mechanism, ...], *, networked: bool = False) -> tuple[Mechanism, ...]:
    """What `rung` demands and this zygote did not show; a probe that did not report counts as failed."""
    seen = {name: (name, held, detail) for name, held, detail in mechanisms}
    return tuple(
        seen.get(name, (name, False, "no report"))
        for name in sorted(REQUIRED[rung] | (NETWORKED if networked else frozenset()))
        if not seen.get(name, (name, False, ""))[1]
    )
