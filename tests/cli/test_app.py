"""The command line as a whole: help, exit statuses, errors, start-up."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from localgpt import __version__
from localgpt.cli.app import COMMANDS
from localgpt.errors import ExitStatus
from tests.cli.command import COMMAND, home

__all__ = ["home"]

#: What a light command must never import: each costs more than the whole budget, or opens a door.
HEAVY = {
    "pydantic", "pydantic_core", "openai", "anthropic", "httpx", "httpx2", "numpy", "rich", "prompt_toolkit", "tomlkit",
    "xllamacpp", "asyncio", "sqlite3", "http", "ssl", "localgpt.gateway", "localgpt.agent", "localgpt.monitor",
    "localgpt.sandbox",
}  # fmt: skip


@pytest.mark.parametrize("argv", [["--version"], ["-V"], ["--debug", "--version"]])
def test_version(home, argv):
    result = home.run(*argv)
    assert (result.status, result.out, result.err) == (0, f"localgpt {__version__}\n", "")


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_the_overview_names_every_command_and_makes_nothing(home, argv):
    result = home.ok(*argv)
    for name, entry in COMMANDS.items():
        assert (f"\n  {name} " in result.out) == bool(entry.section)
    assert "Exit status: 0 done" in result.out
    assert list(home.path.iterdir()) == []


@pytest.mark.parametrize(
    "argv",
    [["--version"], ["config", "show"], ["config", "get", "agent.max_tokens"], ["paths"], ["--help"], ["nonsense"]],
)
def test_light_commands_import_nothing_heavy(home, argv):
    code = f"import sys; sys.argv = ['localgpt', *{argv!r}]; from localgpt.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, env=home.environ, check=False
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "localgpt" in loaded
    heavy = {
        name
        for name in loaded
        if name in HEAVY or name.partition(".")[0] in HEAVY or name.startswith(tuple(f"{h}." for h in HEAVY))
    }
    assert not heavy


def test_version_imports_not_even_the_command_line(home):
    code = "import sys; sys.argv = ['localgpt', '--version']; from localgpt.__main__ import main; main();"
    code += "print(len(sys.modules), 'typer' in sys.modules, 'enum' in sys.modules)"
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(len(sys.modules))"], capture_output=True, text=True, check=True
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=home.environ, check=True)
    count, typer, enum = done.stdout.splitlines()[-1].split()
    assert (typer, enum) == ("False", "False")
    assert int(count) <= int(bare.stdout) + 4


@pytest.mark.parametrize(
    ("argv", "error", "cure"),
    [
        (["confg"], "error: there is no command 'confg'; did you mean 'config'?", "cure: localgpt --help"),
        (["config", "shwo"], "error: no such command 'shwo'. Did you mean 'show'", "cure: localgpt config --help"),
        (
            ["paths", "--profile", "x"],
            "error: no such option: --profile",
            "cure: global options come before the command",
        ),
        (["--nope"], "error: no such option: --nope", "cure: localgpt --help"),
        (["config", "set", "a"], "error: missing argument", "cure: localgpt config set --help"),
        (["--agent", "../x", "paths"], "error: '../x' cannot be the name of an agent", "cure: use 1 to 32 of"),
        (["--profile", "a/b", "paths"], "error: 'a/b' cannot be the name of a profile", "cure: use 1 to 32 of"),
        (
            ["--config", "/nope.toml", "config", "show"],
            "error: /nope.toml: there is no such file",
            "cure: localgpt config init",
        ),
    ],
)
def test_wrong_usage_has_status_2_and_names_the_cure(home, argv, error, cure):
    result = home.run(*argv)
    assert result.status == ExitStatus.USAGE
    assert result.out == ""
    first, second = result.err.splitlines()[:2]
    assert first.startswith(error)
    assert second.startswith(cure)


def test_foreign_text_in_errors_is_escaped(home):
    result = home.run("\x1b]0;owned\x07\x1b[31mx")
    assert result.status == ExitStatus.USAGE
    assert "\x1b" not in result.err
    home.write_config("[agent]\nmax_tokens = '\x1b[31m'\n".replace("'", '"'))
    result = home.run("config", "show")
    assert "\x1b" not in result.err + result.out


def test_no_traceback_unless_asked(home):
    home.write_config("[agent\n")
    assert "Traceback" not in home.run("config", "show").err
    assert "Traceback" in home.run("--debug", "config", "show").err


def test_a_reader_that_goes_away_is_no_crash(home):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "config", "show"], stdout=writer, stderr=subprocess.PIPE, env=home.environ, check=False
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == ExitStatus.FAILED


def test_a_full_disk_behind_standard_output_is_an_error():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, "paths"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == ExitStatus.FAILED
    assert b"error: no space left on device\ncure: the disk is full" in done.stderr


def test_an_output_that_knows_only_ascii_is_no_crash(home):
    home.extra.update({"PYTHONIOENCODING": "ascii", "LANG": "C"})
    assert home.run("doctor").status in {0, 1}


def test_ctrl_c_at_a_question_gives_130(home):
    home.ok("init")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "sign"], stdin=follower, stdout=follower, stderr=follower, env=home.environ, start_new_session=True
    )
    os.close(follower)
    seen = b""
    deadline = time.monotonic() + 20
    while b"[y/N]" not in seen and time.monotonic() < deadline:
        seen += os.read(leader, 65536)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) == ExitStatus.INTERRUPTED
    os.close(leader)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_or_statuses(home, name):
    help_ = home.ok(name, "--help").out
    assert help_.startswith(f"Usage: localgpt {name} ")
    subcommands = re.findall(r"^  ([a-z]+)  +\S", help_.partition("Commands:\n")[2], re.MULTILINE)
    pages = [home.ok(name, sub, "--help").out for sub in subcommands] or [help_]
    assert all("Usage: localgpt" in page for page in pages)
    assert any(
        word in page for page in [help_, *pages] for word in ("Example", "Exit status", "Go on", "md sign", "Aliases")
    )


def test_reporting_commands_take_json(home):
    for argv in (["paths"], ["config", "show"], ["config", "path"], ["verify"], ["doctor"], ["audit", "verify"],
                 ["sandbox", "status"], ["models", "list"], ["session", "list"]):  # fmt: skip
        json.loads(home.run(*argv, "--json").out)
