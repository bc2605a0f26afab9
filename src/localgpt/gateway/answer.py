"""The answer of one model call while it arrives, the same for every protocol."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from localgpt.gateway.failures import BadAnswer, Peer
from localgpt.gateway.quirks import Quirks
from localgpt.wire import GatewayCall, StopReason, ToolCall, Usage

MAX_ANSWER_CHARS: Final = (
    4 * 1024 * 1024
)  #: of text and arguments; a server that sends more is not answering a question
Sink: TypeAlias = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `Usage` counts cached input only in its cache fields, and has no cost yet."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    stop: StopReason
    usage: Usage


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class Draft:
    """Collects text and tool calls from deltas; `emit` gets each piece of text as it comes.

    Every value comes from a server and may have any type: what is not text is taken for what it must have meant.
    """

    def __init__(self, request_id: str, peer: Peer, emit: Sink) -> None:
        self._request_id = request_id
        self._peer = peer
        self._emit = emit
        self._text: list[str] = []
        self._calls: dict[object, _Call] = {}
        self._size = 0
        self.stop: StopReason | None = None
        self.usage = Usage()

    @property
    def started(self) -> bool:
        return self._size > 0

    async def add_text(self, piece: object) -> None:
        """Take a piece of the answer's text."""
        if isinstance(piece, str) and piece:
            self._grow(len(piece))
            self._text.append(piece)
            await self._emit(piece)

    def add_call(self, key: object, *, call_id: object = None, name: object = None, arguments: object = None) -> None:
        """Take a piece of the call that `key` (an index) names. Arguments may come as text or as a whole object."""
        call = self._calls.setdefault(key, _Call())
        if isinstance(call_id, str) and call_id:
            call.id = call_id
        if isinstance(name, str) and name:
            call.name = name
        if arguments is not None:
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            self._grow(len(text))
            call.arguments.append(text)

    def finish(self) -> Answer:
        """Give the whole answer.

        Raises:
            BadAnswer: a call has no name.
        """
        calls = tuple(self._finished_calls())
        stop = self.stop or StopReason.END
        if calls and stop is StopReason.END:
            stop = StopReason.TOOLS  # some servers say "stop" although they call a tool
        return Answer("".join(self._text), calls, stop, self.usage)

    def _finished_calls(self) -> list[ToolCall]:
        finished: list[ToolCall] = []
        taken: set[str] = set()
        for number, call in enumerate(self._calls.values()):
            text = "".join(call.arguments) or "{}"
            if self.stop is StopReason.LENGTH and not _parses(text):
                continue  # the token limit cut this call in two; half a call is no call
            if not call.name:
                raise BadAnswer(f"{self._peer.name} called a tool without a name", cure="try again")
            call_id = call.id if call.id and call.id not in taken else f"call_{self._request_id}_{number}"
            taken.add(call_id)
            finished.append(ToolCall(call_id, call.name, text))
        return finished

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_ANSWER_CHARS:
            raise BadAnswer(
                f"{self._peer.name} sent an answer of more than {MAX_ANSWER_CHARS} characters", cure="try again"
            )


def count(value: object) -> int:
    """Read a token count that a server may have left out or mistyped."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def demand_json(answer: Answer, call: GatewayCall, quirks: Quirks, forms: int, peer: Peer) -> Answer:
    """Check that an answer under a schema is JSON, and learn from a server that ignored the schema without a word.

    `forms`: how many ways to demand JSON the protocol has. The last is mere words, whose failure is the model's.

    Raises:
        BadAnswer: it is not JSON; the next call to this endpoint demands it in another way.
    """
    whole = answer.stop in {StopReason.END, StopReason.TOOLS}
    if call.schema_json is None or not whole or _parses(answer.text) or quirks.schema_form >= forms - 1:
        return answer
    quirks.schema_form += 1
    raise BadAnswer(f"{peer.name} ignored the demanded form of its answer", cure="try again")
