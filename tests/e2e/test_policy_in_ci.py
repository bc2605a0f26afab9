"""The GitHub Action and the pre-commit hook of this repository, run on a repository with a policy.

LocalGPT itself is the one that these tests run in (LOCALGPT_RUN); that a clone's `run` sets one up, test_clean_clone
shows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from scripts.bootstrap import CHECKOUT

from localgpt.crypto.note import NoteSecret
from tests.cli.command import COMMAND
from tests.cli.test_policy import CASES, STRICT, WIDE, sarif

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")]
ACTION = yaml.safe_load((CHECKOUT / "action.yml").read_text("utf-8"))
_INPUT = re.compile(r"\$\{\{ inputs\.([\w-]+) \}\}")


class Repository:
    """A repository with a policy in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        home = path.parent / "home"
        home.mkdir()
        machine = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "LOCALGPT_TEST"))}
        self.environ = {
            **machine,
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "LOCALGPT_RUN": COMMAND[0],
        }
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=self.path, env=self.environ, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        """Write files (`_` in a name stands for a dot), commit, and give the commit."""
        for name, text in files.items():
            (self.path / name.replace("__", ".")).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "policy")
        return self.git("rev-parse", "HEAD")

    def action(self, **inputs: str) -> tuple[str, int, str]:
        """Run the action's steps as a runner does: (the step that failed or "", its status, all output)."""
        values = {name: str(known.get("default", "")) for name, known in ACTION["inputs"].items()}
        values |= {name.replace("_", "-"): value for name, value in inputs.items()}
        output = self.path.parent / "output"
        said = ""
        for step in ACTION["runs"]["steps"]:
            assert step["shell"] == "bash"
            assert "${{" not in step["run"], "an input in the text of a script could be a command"
            env = {name: _INPUT.sub(lambda found: values[found[1]], text) for name, text in step.get("env", {}).items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
                cwd=self.path,
                env={
                    **self.environ,
                    **env,
                    "GITHUB_ACTION_PATH": str(CHECKOUT),
                    "GITHUB_OUTPUT": str(output),
                    "CI": "true",
                },
                capture_output=True,
                text=True,
                check=False,
            )
            said += done.stdout + done.stderr
            if done.returncode:
                return step["id"], done.returncode, said
        return "", 0, said


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def sign(repository: Repository, secret: NoteSecret) -> None:
    """Sign the document as its owner does, on a machine of their own."""
    from datetime import UTC, datetime

    from localgpt.policy.noted import sign_as_note

    document = (repository.path / "LocalGPT.md").read_bytes()
    note = sign_as_note(document, secret, path="LocalGPT.md", sequence=1, signed_at=datetime.now(UTC), signed_by="cli")
    (repository.path / ".localgpt_manifest.note").write_bytes(note)


def test_the_action(repository):
    secret = NoteSecret.generate("team.example/policy")
    base = repository.commit(LocalGPT__md=STRICT, policy__pub=f"{secret.public_key()}\n")
    sign(repository, secret)
    assert repository.action(public_key="policy.pub", base=base)[:2] == ("", 0)
    assert sarif((repository.path / "localgpt-policy.sarif").read_text()) == []
    assert (repository.path.parent / "output").read_text() == "sarif=localgpt-policy.sarif\n"

    (repository.path / "LocalGPT.md").write_text(WIDE)
    step, status, said = repository.action(public_key="policy.pub", base=base)
    assert (step, status, "Policy: TAMPERED" in said) == ("verify", 3, True)
    sign(repository, secret)
    step, status, _ = repository.action(public_key="policy.pub", base=base)
    assert (step, status) == ("check", 1)
    assert sarif((repository.path / "localgpt-policy.sarif").read_text())[0]["ruleId"] == "check.too-wide"

    (repository.path / "LocalGPT.md").write_text(STRICT.replace('argv = ["git", "push"]', 'argv = ["git", "pull"]'))
    step, status, said = repository.action(base=base)
    assert (step, status, "deny argv 'git', 'push' is gone" in said) == ("diff", 1, True)
    assert repository.action(base=base, allow_looser="true")[0] == ""
    (repository.path / "LocalGPT.cases.toml").write_text(CASES)
    assert repository.action()[:2] == ("test", 1)
    assert 'failures="2"' in (repository.path / "localgpt-policy.xml").read_text()


def test_the_hook(repository):
    (repository.path / "LocalGPT.md").write_text(STRICT)
    repository.git("add", "-A")

    def hook() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pre-commit", "try-repo", str(CHECKOUT), "localgpt-policy", "--all-files", "--verbose"],
            cwd=repository.path,
            env={
                **repository.environ,
                "PRE_COMMIT_HOME": str(repository.path.parent / "cache"),
                "PRE_COMMIT_COLOR": "never",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    good = hook()
    assert good.returncode == 0, good.stdout + good.stderr
    assert "LocalGPT policy" in good.stdout
    assert "Passed" in good.stdout
    (repository.path / "LocalGPT.md").write_text(WIDE)
    repository.git("add", "-A")
    bad = hook()
    assert (bad.returncode, "check.too-wide" in bad.stdout) == (1, True)
