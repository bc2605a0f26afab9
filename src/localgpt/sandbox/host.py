"""What this host can confine, found out by doing it: a real zygote over an empty folder."""

# A plan holds paths as text, which is compared and never touched through an object.
# ruff: noqa: PTH110

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localgpt.errors import SandboxError
from localgpt.sandbox import landlock
from localgpt.sandbox.executor import Executor
from localgpt.sandbox.plan import Plan
from localgpt.sandbox.proof import Mechanism, Proof, Rung

# Setting, the value that keeps an ordinary user from namespaces with capabilities, what it is called.
_SWITCHES: Final = (
    ("/proc/sys/user/max_user_namespaces", "0", "this host's administrator allows no user namespaces"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "this host keeps user namespaces for root"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor takes capabilities from user namespaces"),
)
_CONTAINER_MARKS: Final = ("/.dockerenv", "/run/.containerenv")


@dataclass(frozen=True, slots=True)
class HostReport:
    """What a host offers. `proof` is None exactly when nothing can run; `reason` and `cure` then say why.

    With rung B, `reason` says why it is not A. `cure` never loosens the host.
    """

    system: str
    kernel: str
    machine: str
    landlock_abi: int
    proof: Proof | None
    reason: str
    cure: str

    @property
    def rung(self) -> Rung | None:
        return None if self.proof is None else self.proof.rung


def probe_host(max_rung: Rung = Rung.A) -> HostReport:
    """Start a zygote, test it, and report. Takes some tens of milliseconds; leaves nothing behind."""
    system = os.uname()
    proof, reason, cure = None, "", ""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="localgpt-probe-") as folder,
            Executor(Plan.read_only(os.path.realpath(folder)), max_rung=max_rung) as executor,
        ):
            proof = executor.proof
    except SandboxError as error:
        reason, cure = error.message, error.cure or ""
    if proof is not None and proof.rung is Rung.B:
        reason, cure = _why_not_namespaces(proof.why_not_higher)
    abi = landlock.abi() if sys.platform == "linux" else 0
    return HostReport(system.sysname, system.release, system.machine, abi, proof, reason, cure)


def probe_network(max_rung: Rung = Rung.A) -> Mechanism:
    """Whether commands can be kept to hosts one by one: such a plan is started and tested; nobody is connected."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="localgpt-probe-") as folder,
            Executor(Plan.read_only(os.path.realpath(folder), hosts=["example.org"]), max_rung=max_rung) as executor,
        ):
            seen = {name: detail for name, held, detail in executor.proof.mechanisms if held}
            return "hosts", True, f"one by one, by a proxy in two processes: {seen['canary-socket']}"
    except SandboxError as error:
        return "hosts", False, error.message


def _why_not_namespaces(said: str) -> tuple[str, str]:
    for path, value, meaning in _SWITCHES:
        if _content(path) == value:
            return f"{meaning} ({path} is {value}); {said}", "none needed: rung B confines commands without namespaces"
    if any(os.path.exists(mark) for mark in _CONTAINER_MARKS):
        return f"this container may not make namespaces; {said}", "run outside the container for rung A"
    return said, "none needed: rung B confines commands without namespaces"


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
