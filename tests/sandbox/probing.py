"""The suite of ``localgpt.sandbox.probes`` run as for everybody: by its command, in a pid namespace of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from localgpt.sandbox.probes import users
from localgpt.sandbox.probes.catalogue import Attempt

ORDINARY = 1000
BARE, RUNG_A, RUNG_B = "bare", "rung A", "rung B"


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
    with tempfile.TemporaryDirectory(prefix="localgpt-suite-") as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        try:
            argv, env = users.command(Path(folder), user)
        except LookupError as error:
            pytest.skip(str(error))
        argv += ["--json"]
        done = subprocess.run(argv, cwd="/", env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return Rows(done.stdout, done.stderr.strip())
