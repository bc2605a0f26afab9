"""What this host can confine, found out by doing it: a real zygote over an empty folder."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass

from localgpt.errors import SandboxError
from localgpt.sandbox import cures, landlock
from localgpt.sandbox.executor import Executor
from localgpt.sandbox.plan import Plan
from localgpt.sandbox.proof import Mechanism, Proof, Rung


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
        advice = cures.without_namespaces(cures.look(), proof.why_not_higher)
        reason, cure = advice.reason, advice.cure
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
