"""Roots are the folders that they were: not what took their place, before the first zygote or before the next one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from localgpt.sandbox import Plan, Rung, faults
from tests.sandbox.world import executor


def zygotes() -> list[int]:
    """Children of this process, and theirs, that run the zygote."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for warden in (task / "children").read_text().split():
            found += [int(pid) for pid in Path(f"/proc/{warden}/task/{warden}/children").read_text().split()]
    return found


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_folder_that_took_the_place_of_a_root_is_refused(rung: Rung, project: Path, tmp_path: Path) -> None:
    with executor(Plan.workspace_write(project), rung) as running:
        assert running.run(["true"]).exit_status == 0
        project.rename(tmp_path / "moved")
        project.mkdir()
        (project / "new").write_text("x")
        for pid in zygotes():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises((faults.SwappedRoot, faults.ZygoteDied)):
            running.run(["cat", "new"])
        with pytest.raises(faults.SwappedRoot):
            running.run(["cat", "new"])
        project.joinpath("new").unlink()
        project.rmdir()
        (tmp_path / "moved").rename(project)
        assert running.run(["true"]).exit_status == 0


def test_a_root_that_is_gone_or_a_link_is_refused(rung: Rung, project: Path, tmp_path: Path) -> None:
    plan = Plan.workspace_write(project)
    project.rename(tmp_path / "moved")
    for _ in range(2):
        with pytest.raises(faults.SwappedRoot), executor(plan, rung):
            pass
        if not project.is_symlink():
            project.symlink_to(tmp_path / "moved")


def test_a_start_that_fails_leaves_no_descriptor(rung: Rung, project: Path) -> None:
    plan = Plan.workspace_write(project)
    before = descriptors()
    project.rmdir()
    for _ in range(3):
        with pytest.raises(faults.SwappedRoot), executor(plan, rung):
            pass
    assert descriptors() == before


def test_closing_leaves_no_descriptor(rung: Rung, project: Path) -> None:
    plan = Plan.workspace_write(project)
    with executor(plan, rung):
        pass
    before = len(descriptors())
    with executor(plan, rung) as running:
        running.run(["sh", "-c", "mkdir -p a/b; echo evil > a/.envrc"])
    del running  # what a cancel of it would wake lives as long as it does
    assert len(descriptors()) == before
