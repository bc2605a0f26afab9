"""What the sandbox tests share: executors on exactly one rung."""

from __future__ import annotations

import contextlib
import os
import tempfile

import pytest

from localgpt.errors import SandboxError
from localgpt.sandbox import Executor, Plan, Rung
from localgpt.sandbox.probes.world import PYTHON

__all__ = ["PYTHON", "executor"]


def executor(plan: Plan, rung: Rung, max_abi: int = 99) -> Executor:
    """An executor on exactly `rung`, not yet entered; the test is skipped where the host has no such rung."""
    if rung not in _available():
        pytest.skip(f"this host does not reach rung {rung}")
    return Executor(plan, max_rung=rung, max_abi=max_abi)


_rungs: list[Rung] = []


def _available() -> list[Rung]:
    if not _rungs:
        for rung in Rung:
            with (
                contextlib.suppress(SandboxError),
                tempfile.TemporaryDirectory() as folder,
                Executor(Plan.read_only(os.path.realpath(folder)), max_rung=rung) as running,
            ):
                _rungs.append(running.proof.rung)
    return _rungs
