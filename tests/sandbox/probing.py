"""The suite of ``localgpt.sandbox.probes`` run as for everybody: by its command, in a pid namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import localgpt
from localgpt.sandbox.probes import catalogue
from localgpt.sandbox.probes.catalogue import Attempt

ORDINARY = 1000
BARE, RUNG_A, RUNG_B = "bare", "rung A", "rung B"
_PYTHONS = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt in one launcher."""

    outcome: str
    detail: str
    expected: bool


class Rows:
    """What the command said. `why_not`: launchers that are not to be had here, as it said itself."""

    def __init__(self, output: str, why_not: str) -> None:
        self.why_not = why_not
        self._rows = {
            (row["launcher"], row["attempt"]): Row(row["outcome"], row["detail"], row["expected"])
            for row in map(json.loads, output.splitlines())
        }

    def of(self, launcher: str, attempt: Attempt) -> Row:
        """The row of one attempt; the test is skipped where there is no rung A, or no namespace to go bare in."""
        if launcher != RUNG_B and not any(name == launcher for name, _ in self._rows):
            pytest.skip(f"{launcher}: {self.why_not}")
        return self._rows[launcher, attempt.name]


def run_suite(user: int | None = None) -> Rows:
    """Run every attempt bare and on both rungs, as `user` (for root) or as whoever runs the tests."""
    python = sys.executable if user is None else _python_of(user)
    argv = [python, "-B", "-m", "localgpt.sandbox.probes", "--json", *([] if user is None else ["--user", str(user)])]
    path = os.environ.get("PATH", os.defpath)
    with tempfile.TemporaryDirectory(prefix="localgpt-suite-") as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        environment = {"PATH": path, "PYTHONPATH": str(_copied(Path(folder))), "HOME": "/nonexistent"}
        done = subprocess.run(argv, cwd="/", env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return Rows(done.stdout, done.stderr.strip())


def _copied(folder: Path) -> Path:
    """The sandbox alone, where every user can read it; returns what to import from."""
    package, target = Path(localgpt.__file__).parent, folder / "src/localgpt"
    target.mkdir(parents=True)
    for name in ("__init__.py", "errors.py"):
        shutil.copy(package / name, target / name)
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package / "sandbox", target / "sandbox", ignore=compiled)
    shutil.copytree(catalogue.DATA, folder / "sandbox", ignore=compiled)
    return target.parent


def _python_of(user: int) -> str:
    """An interpreter that `user` may run, new enough."""
    test = "import sys; sys.exit(sys.version_info < (3, 11))"
    for python in _PYTHONS:
        try:
            done = subprocess.run(
                [python, "-c", test], user=user, group=user, extra_groups=[], cwd="/", capture_output=True, check=False
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    pytest.skip(f"no Python 3.11 or newer that user {user} may run")
