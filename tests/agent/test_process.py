"""The agent as the monitor starts it: its own process, isolated, confined, with one socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localgpt.tools import DECLARATIONS
from localgpt.wire import (
    AgentReady,
    AgentStart,
    Channel,
    GatewayReady,
    Message,
    ModelDone,
    ModelRequest,
    ModelTraits,
    StopReason,
    ToolCall,
    ToolMode,
    ToolOutcome,
    ToolRequest,
    ToolResult,
    TurnEnd,
    TurnLimits,
    TurnReason,
    TurnStart,
    TurnText,
    Usage,
)
from tests.agent.simulated import FOREIGN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="confinement of a process is proven on Linux")

MODEL = ModelTraits("sim", ToolMode.NATIVE, 32_000, 1024)


class Agent:
    """A running agent process and the monitor's end of its channel."""

    def __init__(self, channel: Channel, process: subprocess.Popen[bytes]) -> None:
        self.channel = channel
        self.process = process

    def next(self, kind: type[Message]) -> Message:
        """The next message of a kind; others on the way are dropped."""
        while True:
            message = self.channel.receive(20)
            if isinstance(message, kind):
                return message

    def begin(self, directory: Path, *, resume: bool = False, session: str = "s1") -> AgentReady:
        self.channel.send(AgentStart(session, str(directory), resume, "/p", MODEL, DECLARATIONS, TurnLimits()))
        ready = self.channel.receive(20)
        assert isinstance(ready, AgentReady)
        return ready

    def answer(self, text: str, *calls: ToolCall) -> ModelRequest:
        """Be the model for one request."""
        request = self.next(ModelRequest)
        assert isinstance(request, ModelRequest)
        self.channel.send(ModelDone(request.request_id, text, calls, StopReason.END, Usage()))
        return request

    def end(self) -> tuple[int, str]:
        self.channel.close()
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors.decode()


@contextmanager
def agent() -> Iterator[Agent]:
    ours, theirs = socket.socketpair()
    argv = [sys.executable, "-I", "-m", "localgpt.agent", "--fd", str(theirs.fileno())]
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        argv, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    theirs.close()
    running = Agent(Channel(ours), process)
    try:
        yield running
    finally:
        running.channel.close()
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_turn_with_a_tool_call_and_a_resume(tmp_path):
    with agent() as first:
        assert first.begin(tmp_path / "sessions") == AgentReady(0, "")
        first.channel.send(TurnStart("t1", "list the files"))
        first.answer("", ToolCall("c1", "shell", '{"command":"ls"}'))
        request = first.next(ToolRequest)
        assert request == ToolRequest("c1", "t1", "shell", '{"command":"ls"}')
        first.channel.send(ToolResult("c1", ToolOutcome.DONE, "a\nb", FOREIGN, "exit status 0"))
        first.answer("two files")
        assert first.next(TurnText) == TurnText("t1", "two files")
        end = first.next(TurnEnd)
        assert end == TurnEnd("t1", TurnReason.DONE, "", Usage())
        assert first.end() == (0, "")
    with agent() as second:
        assert second.begin(tmp_path / "sessions", resume=True) == AgentReady(1, "")
        second.channel.send(TurnStart("t2", "thanks"))
        request_again = second.answer("welcome")
        assert [m.text.split("\n")[0] for m in request_again.messages[1:3]] == ["list the files", ""]
        assert request_again.messages[2].tool_calls[0].id == "c1"
        assert "a\nb" in request_again.messages[3].text


def test_killed_in_the_middle_of_a_call_it_resumes_with_the_call_closed(tmp_path):
    with agent() as first:
        first.begin(tmp_path)
        first.channel.send(TurnStart("t1", "go"))
        first.answer("", ToolCall("c1", "shell", '{"command":"ls"}'))
        first.next(ToolRequest)
        first.process.kill()
        first.process.wait()
    with agent() as second:
        assert second.begin(tmp_path, resume=True).turns == 1
        second.channel.send(TurnStart("t2", "and?"))
        messages = second.answer("ok").messages
        assert "interrupted" in messages[3].text
        assert messages[3].tool_call_id == "c1"
        second.next(TurnEnd)


def test_torn_line_is_reported_at_the_start(tmp_path):
    (tmp_path / "s1.jsonl").write_text('{"type":"session","version":1,"id":"s1"}\n{"type":"mess')
    with agent() as running:
        assert "torn" in running.begin(tmp_path, resume=True).warning


def test_ctrl_c_of_the_terminal_does_not_end_it(tmp_path):
    with agent() as running:
        running.begin(tmp_path)
        running.process.send_signal(signal.SIGINT)
        running.channel.send(TurnStart("t1", "still there?"))
        running.answer("yes")
        assert running.next(TurnEnd).reason is TurnReason.DONE  # type: ignore[union-attr]


def test_it_leaves_with_the_monitor(tmp_path):
    with agent() as running:
        running.begin(tmp_path)
        assert running.end() == (0, "")


@pytest.mark.parametrize("session", ["../evil", ""])
def test_bad_session_id_ends_it_with_a_sentence(tmp_path, session):
    with agent() as running:
        start = AgentStart(session, str(tmp_path), False, "/p", MODEL, (), TurnLimits())
        running.channel.send(start)
        status, errors = running.process.wait(20), running.process.stderr
        assert status == 2
        assert errors is not None
        assert b"session.bad-id" in errors.read()


def test_another_first_message_ends_it(tmp_path):
    with agent() as running:
        running.channel.send(GatewayReady())
        assert running.process.wait(20) == 1


def test_started_by_hand_it_says_who_starts_it():
    done = subprocess.run(
        [sys.executable, "-I", "-m", "localgpt.agent"], check=False, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2
    assert "started by localgpt" in done.stderr


def test_its_kernel_status_shows_confinement(tmp_path):
    with agent() as running:
        running.begin(tmp_path)
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        descriptors = os.listdir(f"/proc/{running.process.pid}/fd")  # noqa: PTH208 -- names only
        assert len(descriptors) == 4, descriptors  # three standard ones and its channel


PROBE = """
import json, os, socket, subprocess, sys
from localgpt.agent.confinement import confine
session, outside = sys.argv[1:3]
confine(session)
def tries(what):
    try:
        what()
        return "done"
    except BaseException as error:
        return type(error).__name__
print(json.dumps({
    "write inside": tries(lambda: open(session + "/x", "w").write("x")),
    "write outside": tries(lambda: open(outside + "/x", "w").write("x")),
    "read outside": tries(lambda: open(outside + "/secret").read()),
    "read /etc/passwd": tries(lambda: open("/etc/passwd").read()),
    "run": tries(lambda: subprocess.run(["/bin/true"], check=True)),
    "internet socket": tries(lambda: socket.socket(socket.AF_INET)),
    "unix socket": tries(lambda: socket.socket(socket.AF_UNIX)),
    "import": tries(lambda: __import__("xml.dom.minidom")),
}))
"""


def test_what_it_gives_up(tmp_path):
    session, outside = tmp_path / "sessions", tmp_path / "outside"
    session.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("s")
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROBE, str(session), str(outside)], check=True, capture_output=True, timeout=30
    )
    found = json.loads(done.stdout)
    assert found.pop("write inside") == "done"
    assert found.pop("import") == "done"
    assert set(found.values()) <= {"PermissionError", "OSError"}, found
