"""Whole sessions: real agent, real gateway, a scripted model server, a real sandbox and log."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localgpt.audit import read_entries
from localgpt.config import Paths, ensure_directories, load, resolve_paths
from localgpt.crypto import create_device_key, load_device_key
from localgpt.monitor.events import (
    Answer,
    Choice,
    Event,
    Notice,
    Question,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)
from localgpt.monitor.project import Project
from localgpt.monitor.runtime import NoSuchSession, Runtime, Setup
from localgpt.monitor.session import Session
from localgpt.policy import PolicyStore, starter_document
from localgpt.wire import ToolOutcome, TurnReason
from tests.gateway.scripted_dialects import Answer as Said
from tests.gateway.scripted_server import ScriptedServer, running


class Denier:
    def __init__(self) -> None:
        self.asked: list[Question] = []

    def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        return Answer(Choice.DENY, "not today")


class Stage:
    """One runtime on a planted home, with a scripted model."""

    def __init__(self, root: Path, answers: list[Said], more: str = "") -> None:
        self.script = running(answers)
        self.server: ScriptedServer = self.script.__enter__()
        self.home = root / "home"
        self.project = self.home / "work"
        self.project.mkdir(parents=True)
        (root / "run").mkdir(mode=0o700)
        self.environ = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(root / "run")}
        self.paths: Paths = resolve_paths(self.environ)
        ensure_directories(self.paths)
        create_device_key(self.paths.device_key)
        self.paths.policy_document.write_bytes(starter_document())
        PolicyStore(self.paths.workspace, self.paths.state_dir, load_device_key(self.paths.device_key)).sign()
        provider = f'[providers.openai_compatible]\nbase_url = "{self.server.base_url}"\n'
        text = f'[agent]\ndefault_model = "openai-compat/scripted"\n{more}\n{provider}'
        self.paths.config_file.write_text(text)
        self.user = Denier()
        config = load(self.paths.config_file, {}).config
        self.runtime = Runtime(Setup(self.paths, config, self.environ, Project(self.project, trusted=True)), self.user)
        selection = self.runtime.choose_model(None, None)
        self.model = self.runtime.use_model(selection, None)

    def session(self, resume: str | None = None) -> Session:
        return self.runtime.session(self.model, resume=resume, find_model=lambda _name: self.model)

    def close(self) -> None:
        self.runtime.close()
        self.script.__exit__(None, None, None)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in read_entries(self.paths.audit_dir)]


MakeStage = Callable[..., Stage]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[MakeStage]:
    opened: list[Stage] = []

    def make(answers: list[Said], more: str = "") -> Stage:
        opened.append(Stage(tmp_path, answers, more))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def shell(command: str) -> Said:
    return {"tool_calls": [{"name": "shell", "arguments": {"command": command}}]}


def said(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def ended(events: list[Event]) -> TurnFinished:
    assert isinstance(events[-1], TurnFinished)
    return events[-1]


def test_a_turn_with_a_tool_call(stage: MakeStage):
    on = stage([shell("echo from the sandbox"), {"text": "It said so."}])
    session = on.session()
    events = list(session.turn("go"))
    session.close()
    assert ended(events).reason is TurnReason.DONE
    assert "It said so." in said(events)
    (finished,) = [event for event in events if isinstance(event, ToolFinished)]
    assert "from the sandbox" in finished.output
    bodies = [seen.body for seen in on.server.script.requests if seen.method == "POST"]
    assert "from the sandbox" in str(bodies[-1]["messages"])
    assert "policy" in str(bodies[0]["messages"][0]["content"]).lower()
    kinds = on.kinds()
    assert kinds.index("model.call") < kinds.index("decision", kinds.index("model.call")) < kinds.index("outcome")
    assert session.status().usage.input_tokens >= 0


def test_a_session_is_resumed_with_what_was_said(stage: MakeStage):
    on = stage([{"text": "One."}, {"text": "Two."}])
    first = on.session()
    list(first.turn("my name is Ada"))
    first.close()
    second = on.session(first.session_id)
    events = list(second.turn("who am I?"))
    second.close()
    assert "Two." in said(events)
    assert "Ada" in str([seen.body for seen in on.server.script.requests if seen.method == "POST"][-1]["messages"])


def test_a_session_that_does_not_exist(stage: MakeStage):
    on = stage([])
    for name in ("nope", "../../etc/passwd", ""):
        with pytest.raises(NoSuchSession):
            on.session(name)


def test_cancel_ends_a_running_command_and_the_turn(stage: MakeStage):
    on = stage([shell("sleep 50"), {"text": "never"}, {"text": "Still here."}])
    session = on.session()
    events: list[Event] = []
    for event in session.turn("go"):
        events.append(event)
        if isinstance(event, ToolStarted):
            threading.Timer(0.3, session.cancel).start()
    assert ended(events).reason is TurnReason.CANCELLED
    again = list(session.turn("and now?"))
    session.close()
    assert ended(again).reason is TurnReason.DONE


def test_cancel_drops_a_hanging_model(stage: MakeStage):
    on = stage([{"text": "I am", "hang_after": 1}, {"text": "Back."}])
    session = on.session()
    events: list[Event] = []
    for event in session.turn("go"):
        events.append(event)
        if isinstance(event, TextDelta):
            session.cancel()
    assert ended(events).reason is TurnReason.CANCELLED
    assert ended(list(session.turn("again"))).reason is TurnReason.DONE
    session.close()
    results = [entry for entry in read_entries(on.paths.audit_dir) if entry.kind == "model.result"]
    assert [entry.fields["code"] for entry in results] == ["model.cancelled", "end"]


def kill(name: str) -> None:
    """Kill the child of this process that runs the module `name`."""
    mine = [
        Path(f"/proc/{pid}") for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    ]
    for process in mine:
        if name.encode() in (process / "cmdline").read_bytes().split(b"\x00"):
            os.kill(int(process.name), signal.SIGKILL)
            os.waitid(os.P_PID, int(process.name), os.WEXITED | os.WNOWAIT)
            return
    raise AssertionError(f"no process {name}")


@pytest.mark.parametrize("room", ["localgpt.agent", "localgpt.gateway"])
def test_a_crash_ends_the_turn_with_a_message_and_the_session_goes_on(stage: MakeStage, room: str):
    on = stage([{"text": "I am", "hang_after": 1}, {"text": "Back."}])
    session = on.session()
    events: list[Event] = []
    for event in session.turn("my name is Ada"):
        events.append(event)
        if isinstance(event, TextDelta):
            kill(room)
    assert ended(events).reason is TurnReason.CRASHED
    assert any(isinstance(event, Notice) and "signal 9" in event.text for event in events)
    again = list(session.turn("again"))
    session.close()
    assert ended(again).reason is TurnReason.DONE
    assert "Back." in said(again)
    assert "process.end" in on.kinds()


@pytest.mark.parametrize("room", ["localgpt.agent", "localgpt.gateway"])
def test_a_crash_during_a_command_ends_command_and_turn(stage: MakeStage, room: str):
    on = stage([shell("sleep 50"), {"text": "Back."}, {"text": "Back."}])
    session = on.session()
    events: list[Event] = []
    for event in session.turn("go"):
        events.append(event)
        if isinstance(event, ToolStarted):
            threading.Timer(0.3, kill, (room,)).start()
    assert ended(events).reason is TurnReason.CRASHED
    (finished,) = [event for event in events if isinstance(event, ToolFinished)]
    assert finished.duration_s < 20
    assert ended(list(session.turn("again"))).reason is TurnReason.DONE
    session.close()


def test_a_crash_between_turns_is_mended_at_the_next(stage: MakeStage):
    on = stage([{"text": "One."}, {"text": "Two."}])
    session = on.session()
    assert ended(list(session.turn("a"))).reason is TurnReason.DONE
    kill("localgpt.agent")
    kill("localgpt.gateway")
    events = list(session.turn("b"))
    session.close()
    assert sum(isinstance(event, Notice) for event in events) == 2
    assert ended(events).reason is TurnReason.DONE


def test_a_model_server_that_is_not_there(stage: MakeStage):
    on = stage([])
    on.server.close()
    session = on.session()
    events = list(session.turn("hello"))
    session.close()
    assert ended(events).reason is TurnReason.MODEL
    assert ended(events).message


def test_the_same_call_over_and_over_is_stopped(stage: MakeStage):
    on = stage([shell("echo again")] * 10)
    session = on.session()
    events = list(session.turn("go"))
    session.close()
    assert ended(events).reason in (TurnReason.REPEATED, TurnReason.MODEL)
    assert sum(isinstance(event, ToolFinished) for event in events) <= 3


def test_a_denied_call_reaches_the_model_with_its_reason(stage: MakeStage):
    on = stage(
        [{"tool_calls": [{"name": "write_file", "arguments": {"path": "../other/x", "content": "y"}}]}, {"text": "ok"}]
    )
    (on.home / "other").mkdir()
    session = on.session()
    events = list(session.turn("go"))
    session.close()
    (finished,) = [event for event in events if isinstance(event, ToolFinished)]
    assert finished.outcome is ToolOutcome.DENIED
    assert "not today" in str(
        [seen.body for seen in on.server.script.requests if seen.method == "POST"][-1]["messages"]
    )


def test_nobody_is_left_after_close(stage: MakeStage):
    on = stage([{"text": "One."}])
    before = set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
    session = on.session()
    list(session.turn("a"))
    session.close()
    assert set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()) <= before
