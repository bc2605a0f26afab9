"""A session: the loop that carries messages between agent and gateway past the mediator.

Nothing goes from the agent to the gateway or to the kernel without a decision and an audit entry. A crash of either
process ends the turn with a message; the process is started anew and the agent reloads its session file.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from localgpt.monitor.children import Room
from localgpt.monitor.events import Event, Level, Notice, SessionStatus, TurnFinished
from localgpt.monitor.mediator import Mediator
from localgpt.monitor.models import ChosenModel
from localgpt.monitor.peers import Arrived, Crashed, Peers, TimedOut, Woken
from localgpt.monitor.screening import Outgoing
from localgpt.wire import (
    AgentReady,
    AgentStart,
    AgentUpdate,
    Attachment,
    EmbeddedFailed,
    EmbeddedReady,
    GatewayCall,
    GatewayCancel,
    GatewayStart,
    ModelDelta,
    ModelDone,
    ModelFailed,
    ModelRequest,
    ToolDeclaration,
    ToolMode,
    ToolRequest,
    TurnCancel,
    TurnEnd,
    TurnReason,
    TurnStart,
    TurnText,
    Usage,
)

_GRACE_S: Final = 15.0  #: beyond the turn's own deadline, before the agent counts as stuck
_CANCEL_S: Final = 5.0  #: for the agent to end a cancelled turn


@dataclass(slots=True)
class _Turn:
    """What is known of the running turn."""

    turn_id: str
    deadline: float
    cancelled: bool = False
    outgoing: Outgoing = field(default_factory=Outgoing)


class Session:
    """One conversation. Not thread-safe, except for `cancel`."""

    def __init__(
        self,
        *,
        start: AgentStart,
        model: ChosenModel,
        tools: tuple[ToolDeclaration, ...],
        mediator: Mediator,
        peers: Peers,
        find_model: Callable[[str], ChosenModel],
    ) -> None:
        self._start = start
        self._model = model
        self._all_tools = tools
        self._mediator = mediator
        self._peers = peers
        self._find_model = find_model
        self._calls: dict[str, GatewayCall] = {}
        self._waiting_for_model: list[GatewayCall] = []
        self._embedded_ready = model.embedded is None
        self._pending: list[Event] = []
        self._usage = Usage()
        self._ended = False
        self._begin()

    # --- what a front calls -------------------------------------------------------------------------------------

    @property
    def session_id(self) -> str:
        return self._start.session_id

    def status(self) -> SessionStatus:
        """What a status line shows now."""
        traits = self._start.model
        return self._mediator.status(
            session_id=self.session_id,
            model=traits.name,
            provider=self._model.endpoint.provider,
            demo_tier=traits.demo_tier,
            tools_on=traits.tool_mode is not ToolMode.OFF,
            usage=self._usage,
        )

    def turn(self, text: str, attachments: tuple[Attachment, ...] = ()) -> Iterator[Event]:
        """Give the user's words to the agent and yield what happens until the turn is over.

        Ctrl-C (`KeyboardInterrupt` while waiting here, or `cancel`) ends the turn; the generator still runs to its
        `TurnFinished`.
        """
        turn = _Turn(uuid.uuid4().hex[:12], time.monotonic() + self._start.limits.deadline_s + _GRACE_S)
        self._peers.forget_wakes()
        yield from self._flush()
        attachments = (*self._mediator.take_attachments(), *attachments)
        yield from self._mediator.begin_turn(turn.turn_id, text, attachments)
        for crash in self._peers.reap():
            yield from self._mend(crash)
        self._peers.send(Room.AGENT, TurnStart(turn.turn_id, text, attachments))
        end = yield from self._pump(turn)
        yield from turn.outgoing.finish()
        self._usage += end.usage
        self._mediator.end_turn(turn.turn_id, end)
        yield from self._flush()
        yield TurnFinished(end.reason, end.message, end.usage)

    def user_command(self, command: str) -> Iterator[Event]:
        """Run a command that the user typed (`!cmd`), confined and logged like any other."""
        yield from self._mediator.user_command(command)

    def cancel(self) -> None:
        """End the running turn or command as soon as possible. Safe in signal handlers and other threads."""
        self._peers.wake()
        self._mediator.cancel()

    def set_tools(self, on: bool) -> None:
        """Offer the tools to the model, or take them away."""
        mode = self._model.tool_mode if on else ToolMode.OFF
        self._update(replace(self._start, model=replace(self._start.model, tool_mode=mode), tools=self._offered(mode)))

    def set_model(self, name: str) -> None:
        """Go on with another model; an embedded one is started or stopped as needed.

        Raises:
            ConfigError, ModelError: it is not known, cannot be used or was not confirmed; nothing has changed.
        """
        model = self._find_model(name)
        if self._model.embedded is not None:
            self._stop(Room.EMBEDDED)
        self._forget_model()
        self._model = model
        self._update(replace(self._start, model=model.traits, tools=self._offered(model.traits.tool_mode)))
        self._stop(Room.GATEWAY)
        self._restart(Room.GATEWAY)
        self._start_embedded()

    def close(self) -> None:
        """End the session and its processes."""
        if not self._ended:
            self._ended = True
            for room in Room:
                self._stop(room)
            self._peers.close()
            self._forget_model()
            self._mediator.close(self._usage)

    # --- processes ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._mediator.start_process(self._peers, Room.AGENT, self._start)
        self._mediator.start_process(self._peers, Room.GATEWAY, self._gateway_start())
        self._start_embedded()
        warnings = self._mediator.begin(self.status(), resumed=self._start.resume)
        self._pending += [Notice(Level.WARNING, text) for text in warnings]

    def _gateway_start(self) -> GatewayStart:
        socket_path = self._model.endpoint.socket_path
        return GatewayStart(self._model.keys, () if socket_path is None else (str(Path(socket_path).parent),))

    def _start_embedded(self) -> None:
        self._embedded_ready = self._model.embedded is None
        if self._model.embedded is not None:
            self._mediator.start_process(self._peers, Room.EMBEDDED, self._model.embedded)

    def _restart(self, room: Room) -> None:
        if room is Room.AGENT:
            self._start = replace(self._start, resume=True)
            self._mediator.start_process(self._peers, room, self._start)
        elif room is Room.GATEWAY:
            self._mediator.start_process(self._peers, room, self._gateway_start())
        else:
            self._start_embedded()

    def _stop(self, room: Room) -> None:
        if (ended := self._peers.stop(room)) is not None:
            pid, status = ended
            self._mediator.process_ended(room, pid=pid, status=status)

    def _forget_model(self) -> None:
        if self._model.private_dir:
            shutil.rmtree(self._model.private_dir, ignore_errors=True)

    def _update(self, start: AgentStart) -> None:
        self._start = start
        self._peers.send(Room.AGENT, AgentUpdate(start.model, start.tools))

    def _offered(self, mode: ToolMode) -> tuple[ToolDeclaration, ...]:
        return () if mode is ToolMode.OFF else self._all_tools

    # --- the loop -----------------------------------------------------------------------------------------------

    def _pump(self, turn: _Turn) -> Generator[Event, None, TurnEnd]:
        while True:
            incoming = self._wait(turn)
            match incoming:
                case Woken():
                    self._cancel(turn)
                case TimedOut():
                    return (yield from self._stuck(turn))
                case Crashed():
                    return (yield from self._crashed(turn, incoming))
                case Arrived(message=TurnEnd() as end) if end.turn_id == turn.turn_id:
                    return end
                case Arrived():
                    yield from self._handle(turn, incoming)

    def _wait(self, turn: _Turn) -> Arrived | Crashed | Woken | TimedOut:
        try:
            return self._peers.wait(turn.deadline)
        except KeyboardInterrupt:
            return Woken()

    def _handle(self, turn: _Turn, arrived: Arrived) -> Iterator[Event]:
        match arrived.message:
            case TurnText(turn_id=turn_id, text=text) if turn_id == turn.turn_id:
                yield from turn.outgoing.feed(text)
            case ToolRequest() as request if arrived.room is Room.AGENT:
                yield from turn.outgoing.finish()
                with self._peers.watched(self._mediator.cancel):  # a crash ends the command, and then the turn
                    result = yield from self._mediator.tool(request)
                self._peers.send(Room.AGENT, result)
                if self._mediator.exhausted:
                    yield Notice(Level.WARNING, "too much was refused in this turn, so it ends here")
                    self._cancel(turn)
            case ModelRequest() as request if arrived.room is Room.AGENT:
                yield from self._ask_model(request)
            case ModelDelta() | ModelDone() | ModelFailed() as answer if arrived.room is Room.GATEWAY:
                self._answered(answer)
            case EmbeddedReady() if arrived.room is Room.EMBEDDED:
                self._model_loaded()
            case EmbeddedFailed(message=message) if arrived.room is Room.EMBEDDED:
                yield from self._model_failed(message)
            case AgentReady(warning=warning) if warning:
                yield Notice(Level.WARNING, warning)
            case _:
                pass  # the end of a turn that was given up, or a readiness that nobody waits for

    def _ask_model(self, request: ModelRequest) -> Iterator[Event]:
        answer = yield from self._mediator.model(request, self._model)
        if isinstance(answer, ModelFailed):
            self._peers.send(Room.AGENT, answer)
            return
        self._calls[answer.request_id] = answer
        if self._embedded_ready:
            self._peers.send(Room.GATEWAY, answer)
        else:
            self._waiting_for_model.append(answer)

    def _answered(self, answer: ModelDelta | ModelDone | ModelFailed) -> None:
        if answer.request_id not in self._calls:
            return  # of a call that was cancelled
        if not isinstance(answer, ModelDelta):
            self._mediator.model_answered(self._calls.pop(answer.request_id), answer)
        self._peers.send(Room.AGENT, answer)

    def _model_loaded(self) -> None:
        self._embedded_ready = True
        for call in self._waiting_for_model:
            self._peers.send(Room.GATEWAY, call)
        self._waiting_for_model.clear()

    def _model_failed(self, message: str) -> Iterator[Event]:
        yield Notice(Level.ERROR, f"the embedded model cannot be used: {message}")
        self._fail_calls("model.unreachable", message)

    def _fail_calls(self, code: str, message: str) -> None:
        for request_id, call in self._calls.items():
            failed = ModelFailed(request_id, code, message, retryable=False)
            self._mediator.model_answered(call, failed)
            self._peers.send(Room.AGENT, failed)
        self._calls.clear()
        self._waiting_for_model.clear()

    # --- the ends of a turn that are not the agent's ------------------------------------------------------------

    def _cancel(self, turn: _Turn) -> None:
        if turn.cancelled:
            return
        turn.cancelled = True
        turn.deadline = min(turn.deadline, time.monotonic() + _CANCEL_S)
        self._drop_calls()
        self._peers.send(Room.AGENT, TurnCancel(turn.turn_id))

    def _stuck(self, turn: _Turn) -> Generator[Event, None, TurnEnd]:
        self._stop(Room.AGENT)
        self._drop_calls()
        self._restart(Room.AGENT)
        yield Notice(Level.WARNING, "the agent did not end the turn in time and was started anew")
        reason = TurnReason.CANCELLED if turn.cancelled else TurnReason.DEADLINE
        return TurnEnd(turn.turn_id, reason, "the turn was ended", Usage())

    def _crashed(self, turn: _Turn, crash: Crashed) -> Generator[Event, None, TurnEnd]:
        yield from self._mend(crash)
        if crash.room is not Room.AGENT:
            self._stop(Room.AGENT)  # its turn cannot go on; what is durable in its session file is not lost
            self._restart(Room.AGENT)
        self._drop_calls()
        return TurnEnd(turn.turn_id, TurnReason.CRASHED, crash.sentence, Usage())

    def _mend(self, crash: Crashed) -> Iterator[Event]:
        self._mediator.process_ended(crash.room, pid=crash.pid, status=crash.status)
        self._restart(crash.room)
        yield Notice(Level.ERROR, f"{crash.sentence}; it was started anew")

    def _drop_calls(self) -> None:
        for request_id, call in self._calls.items():
            self._mediator.model_answered(call, ModelFailed(request_id, "model.cancelled", "", retryable=False))
            self._peers.send(Room.GATEWAY, GatewayCancel(request_id))
        self._calls.clear()
        self._waiting_for_model.clear()

    def _flush(self) -> Iterator[Event]:
        pending, self._pending = self._pending, []
        yield from pending


def new_session_id() -> str:
    """A fresh session id: sortable by time, with 32 random bits."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
