"""The two commands as they are typed: options, and errors before anything is started."""

import subprocess
import sys
from pathlib import Path

import pytest

from localgpt.cli.chat import newest_session
from localgpt.cli.terminal.front import SilentFront
from localgpt.cli.terminal.screen import PLAIN_LOOKS
from tests.cli.terminal_driver import environment
from tests.cli.terminal_sim import Emulator, screen_on
from tests.cli.test_terminal_earlier import session


def localgpt(home: Path, *arguments: str, piped: bytes = b"", cwd: Path | None = None) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "localgpt", *arguments],
        input=piped,
        capture_output=True,
        cwd=cwd or home,
        env=environment(HOME=str(home)),
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("chat", ["--model", "--continue", "--session", "--add-dir", "--trust", "--plain"]),
        (
            "ask",
            ["--model", "--continue", "--session", "--add-dir", "--trust", "--plain", "--json", "--tools", "--quiet"],
        ),
    ],
)
def test_help_names_the_options(tmp_path: Path, command: str, options: list[str]) -> None:
    status, out, _ = localgpt(tmp_path, command, "--help")
    assert status == 0
    assert all(option in out for option in options)
    assert "--yes" not in out  # there is no blanket approval


@pytest.mark.parametrize("arguments", [[], ["-"], [" "]])
def test_no_question_is_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    status, out, err = localgpt(tmp_path, "ask", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: there is no question\ncure: localgpt ask")


@pytest.mark.parametrize("command", [["ask", "hello"], ["chat"]])
def test_the_home_folder_is_no_project(tmp_path: Path, command: list[str]) -> None:
    status, out, err = localgpt(tmp_path, *command)
    assert status == 2
    assert out == ""
    assert "home folder" in err
    assert "\ncure: " in err


def test_continue_takes_the_newest_session_of_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = Emulator()
    front = SilentFront(screen_on(emulator, PLAIN_LOOKS))
    monkeypatch.chdir(tmp_path)
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    session(sessions, "elsewhere", "/other")
    assert newest_session(sessions, front) is None
    assert "there is no earlier session of this folder" in emulator.lines[0]
    session(sessions, "older", str(tmp_path.resolve()), age_s=100)
    session(sessions, "newer", str(tmp_path.resolve()), age_s=50)
    assert newest_session(sessions, front) == "newer"
