"""The empty folders that stand for absent names: shared by executors, gone with the last, taken over after a crash."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from localgpt.sandbox import Plan, Rung
from localgpt.sandbox.holds import MARK_NS, Holds, is_held, standing
from tests.sandbox.world import executor

_HOLDER = """
import sys
from localgpt.sandbox import Executor, Plan, Rung
with Executor(Plan.workspace_write(sys.argv[1]), max_rung=Rung.A, min_rung=Rung.A):
    print("ready", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_they_are_gone_with_the_executor(project: Path) -> None:
    with executor(Plan.workspace_write(project), Rung.A):
        assert {".envrc", ".vscode", "LocalGPT.md"} <= names(project)
    assert names(project) == set()


def test_nothing_is_made_where_nothing_is_mounted(project: Path) -> None:
    with executor(Plan.workspace_write(project), Rung.B):
        assert names(project) == set()
    with executor(Plan.read_only(project), Rung.A):
        assert names(project) == set()


def test_the_last_of_several_removes_them(project: Path) -> None:
    plan = Plan.workspace_write(project)
    with executor(plan, Rung.A) as second:
        with executor(plan, Rung.A):
            pass
        assert ".envrc" in names(project)
        assert second.run(["sh", "-c", "echo evil > .envrc"]).exit_status != 0
    assert names(project) == set()


def test_what_the_host_puts_into_one_stays(project: Path) -> None:
    with executor(Plan.workspace_write(project), Rung.A):
        (project / ".vscode/tasks.json").write_text("mine\n")
        (project / ".idea").rmdir()
        (project / ".idea").mkdir()
        os.utime(project / ".husky")
    assert names(project) == {".vscode", ".idea", ".husky"}


def killed(project: Path) -> None:
    """An executor whose runtime is killed while it serves."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(project)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        (warden,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        ended = os.pidfd_open(int(warden))
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert select.select([ended], [], [], 20)[0]
        os.close(ended)


def test_a_killed_runtime_leaves_nothing(project: Path) -> None:
    executor(Plan.read_only(project), Rung.A)
    killed(project)
    assert names(project) == set()


def test_a_killed_runtime_leaves_what_another_needs(project: Path) -> None:
    with executor(Plan.workspace_write(project), Rung.A) as running:
        killed(project)
        assert running.run(["sh", "-c", "rmdir .envrc; echo evil > .envrc"]).exit_status != 0
        assert ".envrc" in names(project)
    assert names(project) == set()


def test_what_a_loss_of_power_left_is_taken_over(project: Path) -> None:
    for name in (".envrc", ".claude"):
        (project / name).mkdir()
        os.utime(project / name, ns=(MARK_NS, MARK_NS))
    with executor(Plan.workspace_write(project), Rung.A) as running:
        assert running.run(["sh", "-c", "rmdir .envrc; echo evil > .envrc"]).exit_status != 0
        assert running.run(["sh", "-c", "echo evil > .claude/settings.json"]).exit_status != 0
    assert names(project) == set()


def test_an_empty_folder_of_the_users_is_not_taken_over(project: Path) -> None:
    (project / ".vscode").mkdir()
    os.utime(project / ".vscode", (1, 1))
    found = standing([str(project / ".vscode")], [str(project)])
    assert found.kept == (str(project / ".vscode"),)
    holds = Holds([str(project / ".vscode")])
    assert holds.paths == ()
    holds.close()
    assert names(project) == {".vscode"}


def test_two_that_start_at_once_share(project: Path) -> None:
    first, second = Holds([str(project / ".envrc")]), Holds([str(project / ".envrc")])
    assert first.paths == second.paths == (str(project / ".envrc"),)
    assert is_held((project / ".envrc").lstat())
    first.close()
    assert names(project) == {".envrc"}
    second.close()
    assert names(project) == set()
    first.close()


@pytest.mark.parametrize(
    ("made", "protected", "expected"),
    [
        ((), ".envrc", ((), (".envrc",), ())),
        ((), ".claude/settings.json", ((), (".claude",), ())),
        ((".claude/",), ".claude/settings.json", ((), (".claude/settings.json",), ())),
        ((), ".git/hooks", ((), (), ())),
        ((".git/",), ".git/hooks", ((), (".git/hooks",), ())),
        ((".git/",), ".git/config", ((), (), ())),
        ((".git/", ".git/config"), ".git/config", ((".git/config",), (), ())),
        ((), "tools/own", ((), (), ())),
        ((".claude",), ".claude/settings.json", ((".claude",), (), ())),
    ],
)
def test_how_a_name_stands(
    project: Path, made: tuple[str, ...], protected: str, expected: tuple[tuple[str, ...], ...]
) -> None:
    for name in made:
        (project / name).mkdir() if name.endswith("/") else (project / name).write_text("x")
    found = standing([str(project / protected)], [str(project)])
    assert (found.kept, found.absent, found.links) == tuple(
        tuple(str(project / name) for name in each) for each in expected
    )


def test_git_sees_none_of_them(project: Path) -> None:
    env = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent"}
    subprocess.run(["git", "init", "-q", str(project)], env=env, check=True)
    with executor(Plan.workspace_write(project), Rung.A) as running:
        inside = running.run(["git", "status", "--porcelain"])
        outside = subprocess.run(
            ["git", "status", "--porcelain"], cwd=project, env=env, capture_output=True, check=True
        )
        running.run(["git", "add", "-A"])
    assert inside.stdout == outside.stdout == b""
