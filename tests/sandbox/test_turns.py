"""Who runs beside whom: the same folder, above, below and beside it, in this process and in others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localgpt.sandbox.names import ProtectedNames, fold, is_executed_later
from localgpt.sandbox.turns import Turns

_RUNNER = """
import sys
from localgpt.sandbox.turns import Turns
turns = Turns([sys.argv[1]])
turns.run()
print("runs", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "tmp"))


@pytest.mark.parametrize(
    ("one", "other", "disturbed"),
    [("/p/x", "/p/x", True), ("/p", "/p/x", True), ("/p/x/y/z", "/p", True), ("/p/x", "/p/y", False),
     ("/p/x", "/p/xy", False)],
)  # fmt: skip
def test_who_disturbs_whom(one: str, other: str, disturbed: bool) -> None:
    first, second = Turns([one]), Turns([other])
    stamp = second.quiet()
    assert stamp is not None
    first.run()
    assert (second.quiet() is None) == disturbed
    first.end()
    assert second.quiet() is not None
    assert second.still(stamp) != disturbed
    for turns in (first, second):
        turns.close()
        turns.close()


def test_ones_own_command_is_no_disturbance() -> None:
    turns = Turns(["/p", "/p/x"])
    turns.run()
    assert turns.quiet() is not None
    turns.end()


def test_another_process_counts_until_it_is_killed(tmp_path: Path) -> None:
    turns = Turns(["/p"])
    with subprocess.Popen(
        [sys.executable, "-c", _RUNNER, "/p"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"runs\n"
        assert turns.quiet() is None
        other.kill()
        other.wait()
    assert turns.quiet() is not None


def test_without_a_place_of_ones_own_nobody_is_alone(tmp_path: Path) -> None:
    squatted = tmp_path / f"tmp/localgpt-turns-{os.geteuid()}"
    squatted.mkdir()
    squatted.chmod(0o777)
    turns = Turns(["/p"])
    assert turns.quiet() is None
    turns.run()
    turns.end()


def test_names_are_found_at_any_depth_and_in_any_spelling() -> None:
    names = ProtectedNames([".envrc", ".claude/settings.json"])
    assert names.find("a/.ENVRC/x") == "a/.ENVRC"
    assert names.find("a/.claude/settings.json") == "a/.claude/settings.json"
    assert names.find("a/.claude/other.json") is None
    assert names.find("envrc") is None
    assert fold("e\u0301") == fold("\u00c9")
    assert fold(".g\u200cit") == ".git"


@pytest.mark.parametrize(
    ("path", "mode", "later"),
    [("Makefile", 0o644, True), ("a/makefile", 0o644, True), ("x", 0o755, True), ("x.py", 0o644, False),
     (".venv/bin/x", 0o644, True), ("a/.venv/lib/x", 0o644, False), (".github/workflows/x.yml", 0o644, True),
     ("a/b.sh", 0o644, True)],
)  # fmt: skip
def test_what_is_executed_later(path: str, mode: int, later: bool) -> None:
    assert is_executed_later(path, mode) == later
