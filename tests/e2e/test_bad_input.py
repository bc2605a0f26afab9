"""What goes wrong on real machines: each case names cause and cure, returns the right status and loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.house import House, command
from tests.e2e.test_chat import scripted, start
from tests.gateway.scripted_dialects import Answer
from tests.gateway.scripted_server import ScriptedServer, running

pytestmark = pytest.mark.e2e
ROOT = os.geteuid() == 0
WITHOUT_LANDLOCK = """
import errno, os, sys
import pyseccomp
refuse = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
for name in (444, 445, 446):
    refuse.add_rule(pyseccomp.ERRNO(errno.ENOSYS), name)
refuse.load()
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "home")


def failed(done: subprocess.CompletedProcess[str], status: int, *words: str) -> str:
    """Check that a command failed with `status`, with cause and cure in one message without a traceback."""
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr
    assert "cure:" in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    return done.stderr


def asked(
    house: House, answers: list[Answer], *arguments: str, stdin: str = ""
) -> tuple[subprocess.CompletedProcess[str], ScriptedServer]:
    """One question to a scripted model in a trusted folder."""
    with running(answers) as server:
        scripted(house, server.base_url)
        return house.run("ask", "--trust", *(arguments or ("go",)), stdin=stdin), server


def tool(name: str, **arguments: object) -> Answer:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def told(server: ScriptedServer) -> str:
    return json.dumps(server.script.requests[-1].body["messages"])


# --- configuration, key, homes ----------------------------------------------------------------------------------


def test_broken_toml(house: House):
    house.configure('[agent]\ndefault_model = "x\n')
    failed(house.run("ask", "hi"), 2, "config.toml", "line 2")
    assert (house.home / ".config/localgpt/config.toml").read_text().startswith("[agent]")


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_key_of_the_wrong_length(house: House, content: bytes):
    assert house.run("init").returncode == 0
    key = house.data / "localgpt.device.key"
    key.write_bytes(content)
    for words in (("ask", "hi"), ("verify",), ("sign", "--yes"), ("audit", "verify")):
        done = house.run(*words)
        assert done.returncode in (2, 3), done.stderr
        assert "32" in done.stderr
        assert "cure:" in done.stderr
    assert key.read_bytes() == content


@pytest.mark.skipif(ROOT, reason="root reads every file")
def test_an_unreadable_key(house: House):
    assert house.run("init").returncode == 0
    (house.data / "localgpt.device.key").chmod(0)
    done = house.run("ask", "hi")
    assert done.returncode in (2, 3)
    assert "device.key" in done.stderr
    assert "cure:" in done.stderr


def test_a_key_that_others_can_read(house: House):
    assert house.run("init").returncode == 0
    (house.data / "localgpt.device.key").chmod(0o644)
    done = house.run("verify")
    assert done.returncode in (2, 3)
    assert "chmod 600" in done.stderr


@pytest.mark.skipif(ROOT, reason="root writes everywhere")
def test_a_read_only_home(house: House):
    house.home.chmod(0o500)
    try:
        failed(house.run("ask", "hi"), 2, str(house.home))
    finally:
        house.home.chmod(0o700)


def test_home_as_project(house: House):
    failed(house.run("ask", "hi", cwd=house.home), 2, "home folder")
    failed(house.run("ask", "hi", cwd=Path("/")), 2)


def test_a_project_that_holds_the_running_environment(house: House):
    failed(house.run("ask", "hi", cwd=Path(sys.prefix)), 2, "itself runs from")


def test_a_kernel_without_landlock_still_talks(house: House):
    pytest.importorskip("pyseccomp")
    with running([tool("shell", command="echo ran"), {"text": "I could not."}]) as server:
        scripted(house, server.base_url)
        done = subprocess.run(
            [sys.executable, "-I", "-c", WITHOUT_LANDLOCK, *command(), "ask", "--trust", "go"],
            cwd=house.project,
            env=house.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "I could not." in done.stdout
    assert "Landlock" in done.stderr
    assert "exit_status" not in json.dumps(house.entries())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", folder], check=False, capture_output=True
    ).returncode:
        pytest.skip("file systems can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_refuses_effects_and_talks_on(house: House, small_disk: Path):
    house.environment["LOCALGPT_STATE_DIR"] = str(small_disk / "state")
    assert house.run("init").returncode == 0
    done, _ = asked(house, [{"text": "Hello."}])
    assert done.returncode == 0, done.stderr
    with (small_disk / "filler").open("wb") as filler:
        fill(filler.fileno())
    done, _ = asked(house, [tool("shell", command="touch ran"), {"text": "It was refused."}])
    assert "Traceback" not in done.stderr
    assert "It was refused." in done.stdout
    assert not (house.project / "ran").exists()


def fill(descriptor: int) -> None:
    try:
        while os.write(descriptor, bytes(4096)):
            pass
    except OSError:
        return


# --- models -----------------------------------------------------------------------------------------------------


def test_a_model_server_that_dies_in_the_middle(house: House):
    done, _ = asked(house, [{"text": "I was about to say something long.", "cut_after": 3}] * 6)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "I was" in done.stdout


def test_nobody_listens(house: House):
    scripted(house, "http://127.0.0.1:9/v1")
    done = house.run("ask", "hi")
    assert done.returncode == 4
    assert "127.0.0.1" in done.stderr


@pytest.mark.parametrize(
    "arguments", [{"command": 3}, {"command": ["ls"]}, {"cmd": "ls"}, {}, {"command": "ls", "timeout_s": "x"}]
)
def test_a_tool_call_with_wrong_types(house: House, arguments: dict[str, object]):
    done, server = asked(house, [tool("shell", **arguments), {"text": "I see."}])
    assert done.returncode == 0, done.stderr
    assert "command" in told(server)
    assert "outcome" not in [entry["kind"] for entry in house.entries()]


def test_a_tool_call_that_is_not_json(house: House):
    broken: Answer = {"tool_calls": [{"name": "shell", "arguments_text": '{"command": "l'}]}
    done, server = asked(house, [broken, {"text": "I see."}])
    assert done.returncode == 0, done.stderr
    assert "JSON" in told(server)


def test_a_question_of_one_megabyte(house: House):
    done, server = asked(house, [{"text": "Long."}], "-", stdin="word " * 220_000)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "long" in done.stderr.lower() or "large" in done.stderr.lower()
    assert not [seen for seen in server.script.requests if seen.method == "POST"]


# --- files and commands -----------------------------------------------------------------------------------------


def test_a_file_of_200_megabytes(house: House):
    big = house.project / "big.log"
    with big.open("wb") as out:
        out.write(b"first line\n")
        for _ in range(200):
            out.write(b"another line of the same file\n" * 35_000)
    done, server = asked(house, [tool("read_file", path="big.log", limit=1), {"text": "I see."}])
    assert done.returncode == 0, done.stderr
    assert "first line" in told(server)
    assert len(told(server)) < 100_000


def test_binary_output(house: House):
    done, server = asked(house, [tool("shell", command="head -c 100000 /dev/urandom"), {"text": "I see."}])
    assert done.returncode == 0
    assert "not text" in told(server) or "binary" in told(server)
    assert len(told(server)) < 50_000


def test_a_command_that_never_ends(house: House):
    house.configure("")
    with running([tool("shell", command="sleep 1000 & sleep 1000", timeout_s=1), {"text": "I see."}]) as server:
        scripted(house, server.base_url)
        done = house.run("ask", "--trust", "go")
    assert done.returncode == 0
    assert "time limit" in told(server)
    outcome = next(entry for entry in house.entries() if entry["kind"] == "outcome")
    assert outcome["timed_out"] is True
    assert outcome["duration_ms"] < 10_000


def test_endless_output(house: House):
    done, server = asked(house, [tool("shell", command="yes | head -c 300000000"), {"text": "I see."}])
    assert done.returncode == 0, done.stderr
    assert len(told(server)) < 3_000_000


ESCAPES = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b[31mred\x1b]8;;http://evil\x07link\x9b31m\u202eevil\r\x08"


def test_escape_sequences_of_a_model_and_of_a_command_never_reach_the_terminal(house: House):
    (house.project / "evil\x1b[2J.txt").write_text(ESCAPES)
    script: list[Answer] = [
        {
            "text": f"look {ESCAPES}",
            "tool_calls": [{"name": "shell", "arguments": {"command": "cat evil*; ls; # \x1b[2J\u202e"}}],
        },
        {"text": f"done {ESCAPES} That is all."},
    ]
    with running(script) as server:
        scripted(house, server.base_url)
        with house.first_chat() as terminal:
            start(terminal)
            terminal.type("go")
            terminal.wait_for("That is all")
            terminal.type("/quit")
            terminal.end()
    assert b"\x1b]52" not in terminal.raw
    assert b"\x1b]8" not in terminal.raw
    assert b"\x1b[2J\x1b[31m" not in terminal.raw
    assert "\u202e".encode() not in terminal.raw
    assert b"\xc2\x9b" not in terminal.raw
