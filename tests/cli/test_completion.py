"""Shell completion, through real shells where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, home

__all__ = ["home"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(home, shell):
    out = home.ok("completion", shell).out
    assert "_LOCALGPT_COMPLETE" in out
    assert f"complete_{shell}" in out


def test_another_shell_is_refused(home):
    assert home.run("completion", "tcsh").status == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("localgpt c", {"chat", "config", "completion"}),
        ("localgpt config ", {"show", "get", "set", "path", "init"}),
        ("localgpt sandbox r", {"run"}),
        ("localgpt completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(home, words, expected):
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    code = f"""
        eval "$({COMMAND[0]} completion bash)"
        COMP_WORDS=({words}); [[ "{words}" == *' ' ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _localgpt_completion {COMMAND[0]}; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, env=home.environ, check=True)
    assert set(done.stdout.split()) == expected, done


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_installing_writes_one_file_and_edits_none(home, shell):
    (home.path / ".bashrc").write_text("# mine\n")
    for _ in range(2):
        out = home.ok("completion", shell, "--install").out
    path = out.splitlines()[0].removeprefix("wrote ")
    assert "_LOCALGPT_COMPLETE" in Path(path).read_text()
    files = [f for f in home.path.rglob("*") if f.is_file()]
    assert len(files) == 2
    assert (home.path / ".bashrc").read_text() == "# mine\n"
