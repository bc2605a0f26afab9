"""The installed command in an empty home, as a user would start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Result:
    """What one run gave."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Home:
    """An empty home directory and the command in it."""

    path: Path
    cwd: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """Nothing of the tester's own environment but the search path."""
        base = {"HOME": str(self.path), "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
        return {**base, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(self.path.parent), **self.extra}

    def run(self, *argv: str, stdin: str | bytes = "", timeout_s: float = 60) -> Result:
        """Run ``localgpt ARGV``."""
        done = subprocess.run(
            [*COMMAND, *argv],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env=self.environ,
            cwd=self.cwd,
            timeout=timeout_s,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))

    def ok(self, *argv: str, stdin: str = "") -> Result:
        """Run and insist on exit status 0."""
        result = self.run(*argv, stdin=stdin)
        assert result.status == 0, result
        return result

    @property
    def config_file(self) -> Path:
        return self.path / ".config/localgpt/config.toml"

    @property
    def data(self) -> Path:
        return self.path / ".local/share/localgpt"

    @property
    def state(self) -> Path:
        return self.path / ".local/state/localgpt"

    @property
    def workspace(self) -> Path:
        return self.data / "workspace"

    def write_config(self, text: str) -> Path:
        """Write the configuration file, private."""
        self.config_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.config_file.write_text(text)
        self.config_file.chmod(0o600)
        return self.config_file


def _command() -> list[str]:
    installed = Path(sys.executable).with_name("localgpt")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "localgpt"]


COMMAND = _command()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home and an empty project folder, not inside each other."""
    path, project = tmp_path / "home", tmp_path / "project"
    path.mkdir(mode=0o700)
    project.mkdir(mode=0o700)
    return Home(path, project)
