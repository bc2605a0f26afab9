"""Models without native tool calls: one JSON object per step, `{"tool": NAME, "args": {...}}`, held to a schema.

The user sees the answer's words as they come, never the JSON around them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from localgpt.tools import ANSWER

_ANSWER_HEAD: Final = re.compile(r'\s*\{\s*"tool"\s*:\s*"answer"\s*,\s*"args"\s*:\s*\{\s*"text"\s*:\s*"')
_SPECIAL: Final = re.compile(r'["\\]')
_PAIR: Final = r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE: Final = re.compile(rf"\\(?:{_PAIR}|u[0-9a-fA-F]{{4}}|.)", re.DOTALL)
_HIGH: Final = ("d8", "d9", "da", "db")  #: how the first half of a surrogate pair begins
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HEAD_CHARS: Final = 400  #: within which an answer's head must stand, or the step is something else


@dataclass(frozen=True, slots=True)
class Answer:
    """The turn's last words. `whole` is False when the output ended in their middle."""

    text: str
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments_json` is a JSON object."""

    name: str
    arguments_json: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Output that began as a step and is none."""


Step: TypeAlias = Answer | Call | Broken


def read_step(text: str) -> Step:
    """What a model's whole output says. A server that ignored the schema gives plain text, which is an answer."""
    if not text.lstrip().startswith("{"):
        return Answer(text)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return _cut(text)
    if not isinstance(found, dict) or not isinstance(found.get("tool"), str):
        return Answer(text)
    arguments = found.get("args")
    if found["tool"] != ANSWER:
        return Call(found["tool"], json.dumps(arguments if isinstance(arguments, dict) else {}, ensure_ascii=False))
    words = arguments.get("text") if isinstance(arguments, dict) else None
    return Answer(_no_surrogates(words)) if isinstance(words, str) else Broken()


def _cut(text: str) -> Step:
    stream = AnswerStream()
    words = stream.feed(text)
    return Answer(words, whole=False) if stream.is_answer else Broken()


def step_text(name: str, arguments_json: str) -> str:
    """A step as the model writes it, for its own history."""
    return f'{{"tool":{json.dumps(name)},"args":{arguments_json}}}'


def answer_text(text: str) -> str:
    """An answer as the model writes it, for its own history."""
    return step_text(ANSWER, json.dumps({"text": text}, ensure_ascii=False, separators=(",", ":")))


class AnswerStream:
    """Takes a model's output in pieces and gives out the pieces of the answer's text.

    Joined, the pieces are what `read_step` gives for the whole, however the output was cut into pieces.
    """

    def __init__(self) -> None:
        self._held = ""
        self._state = "head"  #: head, then text (inside the answer's string), plain (no JSON at all) or silent

    @property
    def is_answer(self) -> bool:
        """Whether the output so far is certain to be an answer."""
        return self._state in ("text", "plain", "ended")

    def feed(self, piece: str) -> str:
        """The part of the answer that `piece` completes."""
        if self._state == "plain":
            return piece
        if self._state in ("silent", "ended"):
            return ""
        self._held += piece
        if self._state == "head":
            self._leave_head()
        return self._decoded() if self._state == "text" else self._release()

    def _leave_head(self) -> None:
        if match := _ANSWER_HEAD.match(self._held):
            self._state, self._held = "text", self._held[match.end() :]
        elif self._held.strip() and not self._held.lstrip().startswith("{"):
            self._state = "plain"
        elif len(self._held) > _HEAD_CHARS:
            self._state = "silent"

    def _release(self) -> str:
        if self._state != "plain":
            return ""
        held, self._held = self._held, ""
        return held

    def _decoded(self) -> str:
        """Decode the held part of a JSON string up to an escape that is not whole yet."""
        out, at, held = [], 0, self._held
        while special := _SPECIAL.search(held, at):
            out.append(held[at : special.start()])
            at = special.start()
            if special[0] == '"':
                self._state, self._held = "ended", ""
                return "".join(out)
            text, size = _escape(held, at)
            if not size:
                self._held = held[at:]
                return "".join(out)
            out.append(text)
            at += size
        self._held = ""
        return "".join((*out, held[at:]))


def _escape(held: str, at: int) -> tuple[str, int]:
    """The character that the escape at `at` stands for, and the escape's length; length 0 when more must come."""
    match = _ESCAPE.match(held, at)
    if match is None or (held[at + 1] == "u" and len(held) < at + 6):
        return "", 0
    is_high = len(match[0]) == 6 and match[0][2:4].lower() in _HIGH
    if is_high and len(held) < at + 12 and "\\u".startswith(held[at + 6 : at + 8]):
        return "", 0
    try:
        return _no_surrogates(json.loads(f'"{match[0]}"')), len(match[0])
    except ValueError:
        return "\N{REPLACEMENT CHARACTER}", len(match[0])


def _no_surrogates(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
