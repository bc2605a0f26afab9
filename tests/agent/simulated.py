"""A monitor and a model in a thread, at the other end of a real channel: they follow a script and keep what came."""

from __future__ import annotations

import itertools
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from localgpt.agent.loop import Sources, TurnLoop
from localgpt.agent.session import Disk, OsDisk, SessionFile
from localgpt.tools import DECLARATIONS
from localgpt.wire import (
    AgentStart,
    Channel,
    Confidentiality,
    Integrity,
    Label,
    Message,
    ModelDelta,
    ModelDone,
    ModelFailed,
    ModelRequest,
    ModelTraits,
    PeerGone,
    StopReason,
    ToolCall,
    ToolMode,
    ToolOutcome,
    ToolRequest,
    ToolResult,
    TurnCancel,
    TurnEnd,
    TurnLimits,
    TurnStart,
    TurnText,
    Usage,
)

FOREIGN = Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, "shell")


def traits(
    mode: ToolMode = ToolMode.NATIVE, *, context: int = 32_000, output: int = 1024, demo: bool = False
) -> ModelTraits:
    return ModelTraits("sim", mode, context, output, demo)


def says(
    text: str, *calls: ToolCall, stop: StopReason = StopReason.END, pieces: int = 7
) -> Callable[[ModelRequest], list[Message]]:
    """A model's answer, streamed in pieces of that many characters."""

    def answer(request: ModelRequest) -> list[Message]:
        deltas = [ModelDelta(request.request_id, text[i : i + pieces]) for i in range(0, len(text), pieces)]
        reason = StopReason.TOOLS if calls else stop
        return [*deltas, ModelDone(request.request_id, text, calls, reason, Usage(10, 5))]

    return answer


def fails(code: str, *, retryable: bool = False, after: str = "") -> Callable[[ModelRequest], list[Message]]:
    """A model call that fails, after `after` was streamed."""

    def answer(request: ModelRequest) -> list[Message]:
        deltas = [ModelDelta(request.request_id, after)] if after else []
        return [*deltas, ModelFailed(request.request_id, code, f"simulated {code}", retryable)]

    return answer


def silent(request: ModelRequest) -> list[Message]:
    """A model that takes the request and never answers."""
    del request
    return []


def call(name: str, arguments: str, id: str = "") -> ToolCall:  # noqa: A002 -- the field's name
    return ToolCall(id, name, arguments)


Answer = Callable[[ModelRequest], list[Message]]
Tool = Callable[[ToolRequest], list[Message]]


def printed(text: str = "ok", *, outcome: ToolOutcome = ToolOutcome.DONE, notice: str = "") -> Tool:
    """A tool that gives this result."""
    return lambda request: [ToolResult(request.call_id, outcome, text, FOREIGN, notice)]


@dataclass
class Monitor:
    """The scripted side. `model` gives the answers in order; `tool` answers every call; `on_request` may cancel."""

    channel: Channel
    model: Iterator[Answer]
    tool: Tool
    interrupt: Callable[[Message], list[Message]] = lambda message: []
    requests: list[ModelRequest] = field(default_factory=list)
    tools: list[ToolRequest] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    ended: list[TurnEnd] = field(default_factory=list)
    over: queue.Queue[TurnEnd] = field(default_factory=queue.Queue)

    def serve(self) -> None:
        try:
            while True:
                message = self.channel.receive(30)
                for reply in [*self._react(message), *self.interrupt(message)]:
                    self.channel.send(reply)
        except PeerGone:
            return

    def _react(self, message: Message) -> list[Message]:
        match message:
            case ModelRequest():
                self.requests.append(message)
                return next(self.model)(message)
            case ToolRequest():
                self.tools.append(message)
                return self.tool(message)
            case TurnText():
                self.shown.append(message.text)
            case TurnEnd():
                self.ended.append(message)
                self.over.put(message)
            case _:
                raise AssertionError(message)
        return []

    @property
    def text(self) -> str:
        return "".join(self.shown)


@dataclass
class Conversation:
    """An agent's loop and its monitor."""

    loop: TurnLoop
    monitor: Monitor
    session: SessionFile
    directory: Path
    rest: list[Message] = field(default_factory=list)

    def turn(self, text: str, **fields: object) -> TurnEnd:
        """Run one turn to its end."""
        number = len(self.monitor.ended) + 1
        self.rest = self.loop.run(TurnStart(f"t{number}", text, **fields))  # type: ignore[arg-type]
        return self.monitor.over.get(timeout=10)

    def lines(self) -> list[str]:
        return (self.directory / "s1.jsonl").read_text().splitlines()


def cancelling(when: Callable[[Message], bool]) -> Callable[[Message], list[Message]]:
    """An interrupt that cancels the turn at the first message for which `when` holds."""
    return lambda message: [TurnCancel(message.turn_id)] if when(message) else []  # type: ignore[union-attr]


@contextmanager
def conversation(
    directory: Path,
    *model: Answer,
    tool: Tool | None = None,
    with_model: ModelTraits | None = None,
    limits: TurnLimits | None = None,
    interrupt: Callable[[Message], list[Message]] | None = None,
    disk: Disk | None = None,
    resume: bool = False,
    clock: Callable[[], float] | None = None,
) -> Iterator[Conversation]:
    ours, theirs = socket.socketpair()
    monitor = Monitor(Channel(theirs), iter(model), tool or printed())
    if interrupt is not None:
        monitor.interrupt = interrupt
    thread = threading.Thread(target=monitor.serve)
    thread.start()
    traits_ = with_model or traits()
    tools = () if traits_.tool_mode is ToolMode.OFF else DECLARATIONS
    limits = limits or TurnLimits()
    start = AgentStart("s1", str(directory), resume, "/project", traits_, tools, limits)
    ids = itertools.count(1)
    sources = Sources(clock or time.monotonic, lambda: 1_800_000_000_000, lambda: f"id{next(ids)}")
    session = SessionFile(str(directory), "s1", "/project", sources.now_ms, disk or OsDisk())
    loaded = session.load(resume=resume)
    channel = Channel(ours)
    loop = TurnLoop(channel, start, session, loaded.entries, sources)
    try:
        yield Conversation(loop, monitor, session, directory)
    finally:
        channel.close()
        thread.join(10)
        session.close()
