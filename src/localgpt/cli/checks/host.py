"""Checks of the sandbox: what this kernel offers, and what a real zygote proves."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from localgpt.cli.checks.finding import Finding, fail, ok, warn
from localgpt.cli.state import State


def findings(_state: State) -> Iterator[Finding]:
    """Run every check of this group."""
    yield _kernel()
    yield _proven()


def _kernel() -> Finding:
    if platform.system() != "Linux":
        return fail("kernel", f"{platform.system()} is not supported yet", "run it on Linux, or in a Linux VM")
    return ok("kernel", f"Linux {platform.release()} on {platform.machine()}")


def _proven() -> Finding:
    from localgpt.sandbox import Rung, probe_host

    report = probe_host()
    if report.proof is None:
        return fail("confinement", f"nothing runs here: {report.reason}", report.cure or "localgpt sandbox status")
    if report.proof.rung is Rung.A:
        return ok("confinement", f"proven, rung A, in {report.proof.duration_ms:.0f} ms")
    return warn("confinement", f"proven, rung {report.proof.rung.value} of A and B: {report.reason}", report.cure)
