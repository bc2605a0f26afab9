"""Fixtures of the sandbox tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.sandbox import Executor, Limits, Plan, Rung
from tests.sandbox.world import executor


@pytest.fixture(params=list(Rung), ids=lambda rung: f"rung{rung}")
def rung(request: pytest.FixtureRequest) -> Rung:
    value = request.param
    assert isinstance(value, Rung)
    return value


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def running(rung: Rung, project: Path) -> Iterator[Executor]:
    limits = Limits(timeout_s=20, output_bytes=1 << 16, file_bytes=1 << 20, processes=24)
    with executor(Plan.workspace_write(project, limits=limits), rung) as entered:
        yield entered
