"""The turn loop: ask the model, carry its calls to the monitor, until it answers or a bound is reached.

Every wait ends: with a message, with the user's cancel, or at the turn's deadline. Whatever happens, each call in the
transcript has a result, the session file is durable, and the monitor gets a `TurnEnd`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from localgpt.agent.asking import CallFailed, Heard, ModelCall
from localgpt.agent.context import Assembled, ContextTooSmall, Transcript, assemble, declared_tokens, interrupted
from localgpt.agent.entries import Entry
from localgpt.agent.prompt import demo_examples, system_prompt
from localgpt.agent.quoting import quoted
from localgpt.agent.session import SessionFile
from localgpt.agent.turn import Peer, Stopped, Turn
from localgpt.tools import call_schema
from localgpt.wire import (
    AgentStart,
    AgentUpdate,
    Message,
    ModelRequest,
    Role,
    StopReason,
    ToolCall,
    ToolDeclaration,
    ToolMode,
    ToolRequest,
    ToolResult,
    TurnEnd,
    TurnReason,
    TurnStart,
)

MAX_CALLS: Final = 32  #: of one message; a model that makes more is told to make them again
_BACKOFF_S: Final = 0.5
_SHORTER: Final = 0.6  #: of the window, when the provider counts more tokens than the estimate
_POLICY_TOKENS: Final = 1024  #: kept free for the policy's prose, which the monitor adds
_DEMO_TEMPERATURE_MILLI: Final = 200
_CALL_ID: Final = re.compile("[A-Za-z0-9_-]{1,64}")
_ENDINGS: Final = {
    StopReason.LENGTH: "the answer was cut off at the model's limit of output tokens",
    StopReason.REFUSED: "the model refused to go on",
}
_TORN_STEP: Final = "Your last message was not one whole JSON object. Send a shorter one."
_TOO_MANY: Final = "Only the first {} calls of your message were made; {} were not. Make fewer at a time."


@dataclass(frozen=True, slots=True)
class Sources:
    """Where time and names come from."""

    clock: Callable[[], float]  #: monotonic seconds
    now_ms: Callable[[], int]  #: Unix time in milliseconds
    new_id: Callable[[], str]  #: never the same twice


class TurnLoop:
    """One conversation with one monitor."""

    def __init__(
        self, peer: Peer, start: AgentStart, session: SessionFile, entries: Iterable[Entry], sources: Sources
    ) -> None:
        self._peer = peer
        self._start = start
        self._session = session
        self._sources = sources
        self._transcript = Transcript(entries)
        self._date = datetime.fromtimestamp(sources.now_ms() / 1000, UTC).date().isoformat()

    def update(self, update: AgentUpdate) -> None:
        """Go on with another model or other tools."""
        self._start = replace(self._start, model=update.model, tools=update.tools)

    def run(self, start: TurnStart) -> list[Message]:
        """Run one turn to its `TurnEnd`; return messages that came meanwhile and are not this turn's.

        Raises:
            PeerGone: the monitor ended; what was said so far is in the session file.
        """
        turn = Turn(self._peer, start.turn_id, self._start.limits.deadline_s, self._sources.clock)
        try:
            reason, message = TurnReason.DONE, self._converse(turn, start)
        except Stopped as stopped:
            reason, message = stopped.reason, stopped.message
        finally:
            self._close_calls()
            self._session.sync()
        said = [message, *turn.notes, self._session.trouble]
        self._peer.send(TurnEnd(turn.id, reason, "; ".join(filter(None, said)), turn.usage))
        return list(turn.later)

    # --- one turn -----------------------------------------------------------------------------------------------

    def _converse(self, turn: Turn, start: TurnStart) -> str:
        """Go through rounds until the model answers; returns what is to be said of the answer, mostly nothing."""
        self._take_words(start)
        seen = _Repeats(self._start.limits.max_identical_calls)
        fruitless = 0
        for _ in range(self._start.limits.max_rounds):
            heard = self._ask(turn)
            if heard.broken or not (heard.text or heard.calls):
                fruitless += 1
                self._mend(heard, fruitless)
                continue
            calls = self._record(heard)
            if not calls:
                return _ENDINGS.get(heard.stop, "")
            results = [self._call(turn, call, seen) for call in calls]
            if len(heard.calls) > len(calls):
                self._tell(_TOO_MANY.format(len(calls), len(heard.calls) - len(calls)))
            self._session.sync()
            if self._start.model.demo_tier:
                return self._quote(turn, calls, results)
        limit = self._start.limits.max_rounds
        raise Stopped(TurnReason.ROUNDS, f"the model made calls for {limit} rounds without an answer")

    def _take_words(self, start: TurnStart) -> None:
        now = self._sources.now_ms()
        attached = (Entry(Role.USER, a.text, now, label=a.label, name=a.name) for a in start.attachments)
        entries = [*attached, Entry(Role.USER, start.text, now)]
        try:
            self._assemble(Transcript(entries))
        except ContextTooSmall as error:
            self._add(*(replace(entry, unsent=True) for entry in entries))
            raise Stopped(TurnReason.MODEL, f"{self._start.model.name}: {error}") from error
        self._add(*entries)

    def _mend(self, heard: Heard, fruitless: int) -> None:
        """An empty answer, or a step cut in the middle: once more, then the turn ends."""
        if fruitless > 1:
            what = "steps that cannot be read" if heard.broken else "empty answers"
            raise Stopped(TurnReason.MODEL, f"{self._start.model.name} gave {what}; nothing was done")
        if heard.broken:
            self._add(self._said(heard.text, stop=heard.stop))
            self._tell(_TORN_STEP)

    def _record(self, heard: Heard) -> tuple[ToolCall, ...]:
        """Keep what the model said; its calls get ids that are theirs alone."""
        used = {call.id for entry in self._transcript.entries for call in entry.tool_calls}
        calls = []
        for call in heard.calls[:MAX_CALLS]:
            known = call.id not in used and _CALL_ID.fullmatch(call.id)
            calls.append(call if known else replace(call, id=f"call_{self._sources.new_id()}"))
            used.add(calls[-1].id)
        self._add(self._said(heard.text, calls=tuple(calls), stop=heard.stop))
        return tuple(calls)

    def _quote(self, turn: Turn, calls: tuple[ToolCall, ...], results: list[ToolResult]) -> str:
        answers = [quoted(call, result) for call, result in zip(calls, results, strict=True)]
        turn.show("\n\n".join(answer.shown for answer in answers))
        self._add(self._said("\n\n".join(answer.kept for answer in answers), stop="quoted"))
        return ""

    # --- the model ----------------------------------------------------------------------------------------------

    def _ask(self, turn: Turn) -> Heard:
        """One answer of the model. A stream that was cut is asked for once more; the gateway tries the rest itself."""
        tried: set[str] = set()
        while True:
            call = ModelCall(turn, self._request(turn, shorter="model.context-length" in tried))
            try:
                return call.run()
            except CallFailed as failed:
                failure = failed.failure
                mendable = failure.code == "model.context-length" or (failure.code == "model.cut" and failure.retryable)
                if not mendable or failure.code in tried:
                    self._keep(call.shown, TurnReason.MODEL)
                    raise Stopped(TurnReason.MODEL, failure.message) from failed
                tried.add(failure.code)
            except Stopped as stopped:
                self._keep(call.shown, stopped.reason)
                raise
            if call.shown:
                turn.show("\n\n[the connection was cut here; asking again]\n\n")
            turn.pause(_BACKOFF_S)

    def _keep(self, shown: str, why: TurnReason) -> None:
        """What the user saw of an answer that was not finished stays in the conversation."""
        if shown:
            self._add(self._said(shown, stop=why))

    def _request(self, turn: Turn, *, shorter: bool) -> ModelRequest:
        model, tools = self._start.model, self._offered()
        try:
            context = self._assemble(self._transcript, _SHORTER if shorter else 1.0)
        except ContextTooSmall as error:
            raise Stopped(TurnReason.MODEL, f"{model.name}: {error}") from error
        schema = model.tool_mode is ToolMode.SCHEMA and bool(tools)
        longest = max(64, (model.max_output_tokens - 60) // 3) if model.demo_tier else None
        return ModelRequest(
            self._sources.new_id(),
            turn.id,
            context.messages,
            tools if model.tool_mode is ToolMode.NATIVE else (),
            max(16, min(model.max_output_tokens, model.context_tokens - context.tokens - self._reserved())),
            json.dumps(call_schema(tools, longest=longest), separators=(",", ":")) if schema else None,
            (0 if schema else _DEMO_TEMPERATURE_MILLI) if model.demo_tier else None,
        )

    def _assemble(self, transcript: Transcript, share: float = 1.0) -> Assembled:
        model, tools = self._start.model, self._offered()
        system = system_prompt(model, tools, project=self._start.project, date=self._date)
        output = min(model.max_output_tokens, model.context_tokens // 4)
        budget = int((model.context_tokens - output - self._reserved()) * share)
        mode = model.tool_mode if tools else ToolMode.OFF
        examples = demo_examples(tools) if model.demo_tier and mode is ToolMode.SCHEMA else ()
        return assemble(transcript, system, mode=mode, budget=budget, examples=examples)

    def _reserved(self) -> int:
        """Tokens that the messages must leave free: the declarations, and the policy that the monitor adds."""
        declared = declared_tokens(self._offered()) if self._start.model.tool_mode is ToolMode.NATIVE else 0
        return declared + min(_POLICY_TOKENS, self._start.model.context_tokens // 8)

    def _offered(self) -> tuple[ToolDeclaration, ...]:
        return () if self._start.model.tool_mode is ToolMode.OFF else self._start.tools

    # --- tools --------------------------------------------------------------------------------------------------

    def _call(self, turn: Turn, call: ToolCall, seen: _Repeats) -> ToolResult:
        """Ask the monitor for one effect and keep the result."""
        if seen.too_often(call):
            raise Stopped(TurnReason.REPEATED, f"the model made the same call of {call.name[:64]} over and over")
        turn.send(ToolRequest(call.id, turn.id, call.name, call.arguments_json))
        while True:
            result = turn.receive()
            if isinstance(result, ToolResult) and result.call_id == call.id:
                break
        seen.ended(call, result)
        self._add(
            Entry(
                Role.TOOL,
                result.text,
                self._sources.now_ms(),
                tool_call_id=call.id,
                label=result.label,
                name=call.name,
                outcome=result.outcome,
                notice=result.notice,
            )
        )
        return result

    def _close_calls(self) -> None:
        """Give every call without a result one that says so."""
        entries = self._transcript.entries
        last = next((i for i in range(len(entries) - 1, -1, -1) if entries[i].tool_calls), len(entries))
        answered = {entry.tool_call_id for entry in entries[last:]}
        open_calls = [c.id for entry in entries[last : last + 1] for c in entry.tool_calls if c.id not in answered]
        why = "not done: the turn was ended first"
        self._add(*(interrupted(call_id, self._sources.now_ms(), why) for call_id in open_calls))

    # --- the transcript -----------------------------------------------------------------------------------------

    def _add(self, *entries: Entry) -> None:
        for entry in entries:
            self._transcript.add(entry)
        self._session.append(*entries)

    def _said(self, text: str, *, calls: tuple[ToolCall, ...] = (), stop: str) -> Entry:
        return Entry(
            Role.ASSISTANT, text, self._sources.now_ms(), tool_calls=calls, model=self._start.model.name, stop=stop
        )

    def _tell(self, text: str) -> None:
        """Words of the runtime to the model."""
        self._add(Entry(Role.USER, text, self._sources.now_ms(), by_runtime=True))


class _Repeats:
    """Counts calls of one turn: the same one in a row, and the same one with the same result at any time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last, self._row = "", 0
        self._outcomes: Counter[tuple[str, str]] = Counter()

    def too_often(self, call: ToolCall) -> bool:
        key = _key(call)
        self._row = self._row + 1 if key == self._last else 1
        self._last = key
        most = max((n for (k, _), n in self._outcomes.items() if k == key), default=0)
        return self._row > self._limit or most >= self._limit

    def ended(self, call: ToolCall, result: ToolResult) -> None:
        self._outcomes[_key(call), hashlib.sha256(result.text.encode("utf-8", "replace")).hexdigest()] += 1


def _key(call: ToolCall) -> str:
    """The same for calls that mean the same: spaces and the order of arguments do not count."""
    try:
        arguments = json.dumps(json.loads(call.arguments_json), sort_keys=True)
    except (ValueError, RecursionError):
        arguments = call.arguments_json
    return hashlib.sha256(f"{call.name}\0{arguments}".encode("utf-8", "replace")).hexdigest()
