"""`audit replay`: what really happened in a session, decided again under another policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.house import House
from tests.e2e.test_chat import calls, scripted
from tests.gateway.scripted_server import running

pytestmark = pytest.mark.e2e

NO_PUSH = '# Rules\n\n```toml policy\n[[deny]]\nargv = ["git", "push"]\n```\n'
READ = {"tool_calls": [{"name": "read_file", "arguments": {"path": "notes.txt"}}]}


@pytest.fixture
def recorded(tmp_path: Path) -> House:
    """A session under a policy that denies `git push`, in which the model tried it."""
    house = House(tmp_path / "home")
    assert house.run("init").returncode == 0
    house.policy.write_text(NO_PUSH)
    assert house.run("sign", "--yes").returncode == 0
    (house.project / "notes.txt").write_text("hello\n")
    *pushes, last = calls("git push --force", "echo $((1 + 1))")
    with running([READ, *pushes, last]) as server:
        scripted(house, server.base_url)
        done = house.run("ask", "--tools", "--trust", "do it", timeout_s=180)
        assert done.returncode == 0, done.stderr
    return house


def test_a_log_is_decided_again(recorded):
    (recorded.project / "open.md").write_text("# Rules\n")
    looser = recorded.run("audit", "replay", "open.md")
    assert looser.returncode == 1
    assert "shell /bin/bash was deny (rule.deny), would be allow (run.confined, built-in)" in looser.stdout
    assert "3 same" not in looser.stdout
    assert ", 1 looser, 0 stricter, 0 unknown" in looser.stdout

    (recorded.project / "same.md").write_text(NO_PUSH)
    same = recorded.run("audit", "replay", "same.md", "--all")
    assert same.returncode == 0
    assert ", 0 looser, 0 stricter, 0 unknown" in same.stdout
    assert "read_file" in same.stdout

    (recorded.project / "closed.md").write_text('```toml policy\n[[deny]]\ntool = ["*"]\n```\n')
    closed = recorded.json("audit", "replay", "closed.md", "--json")
    assert closed["counts"]["stricter"] >= 2
    assert all(each["code"] == "replay.stricter" for each in closed["results"])


def test_what_the_log_does_not_hold_is_unknown(recorded):
    for session in (recorded.state / "agents/main/sessions").glob("*.jsonl"):
        session.unlink()
    (recorded.project / "open.md").write_text("# Rules\n")
    done = recorded.run("audit", "replay", "open.md", "--all")
    assert done.returncode == 0
    assert "2 unknown" in done.stdout
    assert "neither in the log nor in its session's file" in done.stdout
