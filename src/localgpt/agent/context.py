"""From a conversation to the messages of one model call, within the model's window.

Oldest tool outputs go first, then oldest turns, each with words in their place; a call and its result always go
together. The user's own words of this turn are never shortened: when they do not fit, the call is not made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from localgpt.agent.entries import Entry
from localgpt.agent.schema_mode import answer_text, step_text
from localgpt.errors import LocalGptError
from localgpt.injection import MAX_CHARS, Wrapper, bound, clean, neutralise
from localgpt.wire import ChatMessage, Role, ToolCall, ToolDeclaration, ToolMode, ToolOutcome

INTERRUPTED: Final = "interrupted: this call has no result, because the run ended before it came"
_TRIMMED: Final = "[an older output of {} characters, left out to save space; call the tool again if you need it]"
_DROPPED: Final = "[the earlier part of this conversation, {} messages, was left out to save space]\n\n"
_BAD_NAME: Final = re.compile("[^A-Za-z0-9_-]")  #: what providers refuse in the name of a tool
_KEPT_WHOLE: Final = 400  #: characters of an output that is not worth leaving out
_PER_MESSAGE: Final = 4  #: tokens of a chat template around each message


class ContextTooSmall(LocalGptError):  # noqa: N818 -- named after the condition
    """What the user said in this turn does not fit into the model's window."""

    code: ClassVar[str] = "agent.too-long"


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a context. `foreign`: the bound values inside it, each of which may be left out."""

    message: ChatMessage
    foreign: tuple[str, ...] = ()

    @property
    def is_large(self) -> bool:
        """Whether leaving something out of it would save anything."""
        return any(len(text) > _KEPT_WHOLE for text in self.foreign)

    def instead(self, old: str, new: str, *, bound_again: bool = False) -> Part:
        """The same message with a foreign value replaced."""
        kept = tuple(new if text == old else text for text in self.foreign if bound_again or text != old)
        return Part(replace(self.message, text=self.message.text.replace(old, new)), kept)

    @property
    def tokens(self) -> int:
        calls = sum(len(c.name) + len(c.arguments_json.encode()) for c in self.message.tool_calls)
        return estimate(self.message.text) + (calls + 3) // 4 + _PER_MESSAGE


def estimate(text: str) -> int:
    """Tokens of `text`: its bytes in UTF-8 divided by four, rounded up."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def declared_tokens(tools: Iterable[ToolDeclaration]) -> int:
    """Tokens of tool declarations."""
    return sum(estimate(t.name + t.description + t.schema_json) + _PER_MESSAGE for t in tools)


class Transcript:
    """A conversation as it enters contexts: each foreign value bound once, so that repeated calls share a prefix."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: list[Entry] = []
        self._bound: list[str] = []
        for entry in repaired(entries):
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Append one message; foreign text is bound here and nowhere else."""
        self.entries.append(_harmless(entry))
        self._bound.append(_bound(entry) if entry.label is not None and entry.text and not entry.unsent else "")

    def parts(self, mode: ToolMode) -> list[list[Part]]:
        """The conversation as turns; each begins with the user's words. Neighbours that the user said are joined."""
        turns: list[list[Part]] = []
        names = {call.id: call.name for entry in self.entries for call in entry.tool_calls}
        for entry, text in zip(self.entries, self._bound, strict=True):
            if entry.unsent or entry.role is Role.SYSTEM:
                continue
            part = _part(entry, text, mode, names.get(entry.tool_call_id or "", "tool"))
            begins = entry.role is Role.USER and not entry.by_runtime
            if begins and not (turns and all(p.message.role is Role.USER for p in turns[-1])):
                turns.append([])
            if not turns:
                turns.append([Part(ChatMessage(Role.USER, "(the beginning of this conversation is missing)"))])
            turns[-1] = _joined(turns[-1], part)
        return turns


def repaired(entries: Iterable[Entry]) -> list[Entry]:
    """Entries in which every call has exactly one result, right after it, and every result has its call."""
    out: list[Entry] = []
    waiting: dict[str, ToolCall] = {}
    for entry in entries:
        if entry.role is Role.TOOL and entry.tool_call_id not in waiting:
            continue
        if entry.role is Role.TOOL:
            del waiting[entry.tool_call_id or ""]
        else:
            out += [interrupted(call_id, entry.ts_ms) for call_id in waiting]
            waiting = {call.id: call for call in entry.tool_calls}
        out.append(entry)
    return out + [interrupted(call_id, out[-1].ts_ms) for call_id in waiting]


def interrupted(call_id: str, ts_ms: int, why: str = INTERRUPTED) -> Entry:
    """A result for a call that has none."""
    return Entry(Role.TOOL, "", ts_ms, tool_call_id=call_id, outcome=ToolOutcome.FAILED, notice=why, by_runtime=True)


@dataclass(frozen=True, slots=True)
class Assembled:
    """The messages of one call; how many older outputs and messages were left out."""

    messages: tuple[ChatMessage, ...]
    tokens: int
    trimmed: int
    dropped: int


def assemble(
    transcript: Transcript,
    system: str,
    *,
    mode: ToolMode,
    budget: int,
    examples: tuple[ChatMessage, ...] = (),
) -> Assembled:
    """The messages of one model call, at most `budget` tokens by estimate, tool declarations not counted.

    With `examples` the model is one that follows the latest pattern it sees: they stand before this turn, and earlier
    turns are left out.

    Raises:
        ContextTooSmall: the user's words of this turn alone do not fit.
    """
    turns = transcript.parts(mode)[-1 if examples else 0 :]
    lead = (ChatMessage(Role.SYSTEM, system), *examples)
    room = budget - sum(Part(message).tokens for message in lead)
    trimmed = _trim(turns, room)
    dropped = _drop(turns, room)
    _shrink_last(turns, room)
    needed = _total(turns)
    if needed > room:
        raise ContextTooSmall(
            f"this message is about {needed} tokens long, and the model takes {max(room, 0)} besides its instructions; "
            "nothing was sent, and your words are kept in the session file",
            cure="give the text as a file and ask about parts of it, or use a model with a larger context",
        )
    joined: list[Part] = []
    for turn in turns:  # a turn that was ended early has the user's side last, and the next one has it first
        joined = [*_joined(joined, turn[0]), *turn[1:]]
    return Assembled((*lead, *(part.message for part in joined)), needed + budget - room, trimmed, dropped)


# --- fitting ------------------------------------------------------------------------------------------------------


def _total(turns: Sequence[Sequence[Part]]) -> int:
    return sum(part.tokens for turn in turns for part in turn)


def _newest_round(turn: Sequence[Part]) -> int:
    """Where in a turn the results of its last round of calls begin."""
    last = max((i for i, part in enumerate(turn) if part.message.role is Role.ASSISTANT), default=-1)
    return last + 1


def _trim(turns: list[list[Part]], room: int) -> int:
    """Leave out old outputs, oldest first, until the rest fits; those of the newest round stay."""
    over, trimmed = _total(turns) - room, 0
    for number, turn in enumerate(turns):
        end = _newest_round(turn) if number == len(turns) - 1 else len(turn)
        for i, part in enumerate(turn[:end]):
            if over <= 0:
                return trimmed
            if part.is_large:
                turn[i] = _without(part)
                over -= part.tokens - turn[i].tokens
                trimmed += 1
    return trimmed


def _without(part: Part) -> Part:
    for text in part.foreign:
        if len(text) > _KEPT_WHOLE:
            part = part.instead(text, _TRIMMED.format(len(text)))
    return part


def _drop(turns: list[list[Part]], room: int) -> int:
    """Leave out whole turns, oldest first, until the rest fits; the newest stays."""
    dropped, over = 0, _total(turns) - room + estimate(_DROPPED) + 2
    if over <= estimate(_DROPPED) + 2:
        return 0
    while over > 0 and len(turns) > 1:
        gone = turns.pop(0)
        over -= sum(part.tokens for part in gone)
        dropped += len(gone)
    if dropped:
        first = turns[0][0]
        turns[0][0] = replace(first, message=replace(first.message, text=_DROPPED.format(dropped) + first.message.text))
    return dropped


def _shrink_last(turns: list[list[Part]], room: int) -> None:
    """As a last resort, cut the newest outputs to equal shares of what room there is."""
    over = _total(turns) - room
    if over <= 0:
        return
    turn = turns[-1]
    large = [(i, text) for i, part in enumerate(turn) for text in part.foreign if len(text) > _KEPT_WHOLE]
    kept = sum(estimate(text) for _, text in large) - over
    for i, text in large:
        chars = max(_KEPT_WHOLE, kept * 3 // len(large) - 200)  # 3 bytes a token to be safe, 200 for marker and wrapper
        shorter = bound(_inner(text), source=_source(text), max_chars=chars, wrapper=_wrapper(text)).text
        if len(shorter) < len(text):
            turn[i] = turn[i].instead(text, shorter, bound_again=True)


def _inner(bounded: str) -> str:
    return bounded.partition("\n")[2].rpartition("\n")[0]


def _wrapper(bounded: str) -> Wrapper:
    return Wrapper(bounded[1:].partition(" ")[0])


def _source(bounded: str) -> str:
    return bounded.partition("\n")[0].partition(' source="')[2].partition('"')[0]


# --- one entry ----------------------------------------------------------------------------------------------------


def _harmless(entry: Entry) -> Entry:
    """What a model repeats and a notice quotes may hold control tokens of foreign text: they are written as none."""
    if entry.role is Role.USER:
        return entry
    calls = tuple(
        ToolCall(c.id, _BAD_NAME.sub("_", c.name)[:64] or "_", neutralise(c.arguments_json)[0])
        for c in entry.tool_calls
    )
    text = neutralise(entry.text)[0] if entry.role is Role.ASSISTANT else entry.text
    return replace(entry, text=text, tool_calls=calls, notice=neutralise(clean(entry.notice))[0])


def _bound(entry: Entry) -> str:
    origin = entry.label.origin if entry.label else ""
    wrapper = Wrapper.TOOL if entry.role is Role.TOOL else Wrapper.EXTERNAL
    return bound(entry.text, source=entry.name or origin or "tool", max_chars=MAX_CHARS, wrapper=wrapper).text


def _part(entry: Entry, bounded: str, mode: ToolMode, tool: str) -> Part:
    foreign = (bounded,) if bounded else ()
    match entry.role:
        case Role.TOOL:
            text = _result_text(entry, bounded)
            if mode is ToolMode.NATIVE:
                return Part(ChatMessage(Role.TOOL, text, tool_call_id=entry.tool_call_id), foreign)
            return Part(ChatMessage(Role.USER, f"Result of {tool}: {text}"), foreign)
        case Role.ASSISTANT:
            return Part(_assistant(entry, mode))
        case _:
            return Part(ChatMessage(Role.USER, bounded or entry.text), foreign)


def _result_text(entry: Entry, bounded: str) -> str:
    """The runtime's words on how a call ended, then what came out, bound."""
    outcome = {ToolOutcome.DENIED: "denied", ToolOutcome.FAILED: "failed"}.get(entry.outcome or ToolOutcome.DONE, "")
    notice = ": ".join(filter(None, (outcome, entry.notice)))
    return "\n".join(filter(None, (f"[{notice}]" if notice else "", bounded))) or "[done, no output]"


def _assistant(entry: Entry, mode: ToolMode) -> ChatMessage:
    if mode is ToolMode.NATIVE:
        calls = tuple(replace(c, arguments_json=_json_object(c.arguments_json)) for c in entry.tool_calls)
        return ChatMessage(Role.ASSISTANT, entry.text, calls)
    steps = [step_text(c.name, _json_object(c.arguments_json)) for c in entry.tool_calls]
    words = entry.text if mode is ToolMode.OFF or steps or not entry.text else answer_text(entry.text)
    return ChatMessage(Role.ASSISTANT, "\n".join(filter(None, (words, *steps))))


def _json_object(text: str) -> str:
    """Arguments as providers demand them back: a JSON object. What was none was refused, and the result says so."""
    try:
        return text if isinstance(json.loads(text), dict) else "{}"
    except (ValueError, RecursionError):
        return "{}"


def _joined(turn: list[Part], part: Part) -> list[Part]:
    """`turn` with `part`, as one message when both are the user's side: chat templates want the roles to alternate."""
    last = turn[-1] if turn else None
    if last is None or last.message.role is not Role.USER or part.message.role is not Role.USER:
        return [*turn, part]
    text = f"{last.message.text}\n\n{part.message.text}"
    return [*turn[:-1], Part(ChatMessage(Role.USER, text), last.foreign + part.foreign)]
