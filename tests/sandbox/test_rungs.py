"""Rungs are proven once and never lost silently: what fails for one plan says nothing about the host."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from localgpt.errors import SandboxError
from localgpt.sandbox import Executor, Plan, Rung
from localgpt.sandbox import executor as executors
from localgpt.sandbox.faults import RungLost
from tests.sandbox.world import executor


def spoiled(project: Path) -> Plan:
    """A plan that no rung A can serve, for a reason of its own."""
    plan = Plan.read_only(project)
    return Plan(plan.cwd, (*plan.read_roots, f"/proc/{os.getpid()}/task"), (), env=plan.env, links=plan.links)


def test_a_plan_that_fails_is_not_held_against_the_host(project: Path):
    with executor(Plan.read_only(project), Rung.A):
        pass
    try:
        with Executor(spoiled(project)) as running:
            assert running.proof.why_not_higher
    except SandboxError:
        pass
    with Executor(Plan.read_only(project)) as running:
        assert running.proof.rung is Rung.A


def test_an_executor_serves_nothing_below_what_is_asked(project: Path):
    with executor(Plan.read_only(project), Rung.A):
        pass
    with pytest.raises(SandboxError), Executor(spoiled(project), min_rung=Rung.A):
        pass


def test_a_replaced_zygote_does_not_come_back_on_a_lower_rung(project: Path, monkeypatch: pytest.MonkeyPatch):
    with executor(Plan.read_only(project), Rung.A) as running:
        assert running._link is not None
        os.kill(running._link.warden_pid, 9)
        select.select([running._link], [], [], 10)  # the end of the zygote, which dies with its warden
        start = Executor._start_rung

        def refused(self: Executor, rung: Rung, abi: int, why: str) -> None:
            if rung is Rung.A:
                raise OSError(1, "move_mount: refused")
            start(self, rung, abi, why)

        monkeypatch.setattr(Executor, "_start_rung", refused)
        for _ in range(2):
            with pytest.raises(RungLost):
                running.run(["true"])
        monkeypatch.undo()
        assert running.run(["true"]).exit_status == 0
        assert running.proof.rung is Rung.A
        assert not executors._known_refusal
