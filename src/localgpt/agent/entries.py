"""One line of a session file as a value, and back.

The lines are those of the "Pi" format, version 1, that other agents write and read, with the labels of values beside
them. What is not understood is left alone in the file and reported.

Source: docs/spec/session.md
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from localgpt.wire import Confidentiality, Integrity, Label, Role, ToolCall, ToolOutcome, Usage

JsonLine: TypeAlias = dict[str, Any]

VERSION: Final = 1
_READ_VERSIONS: Final = (1, 3)  #: 3 adds a tree of branches, whose lines have the same messages
_ROLES: Final = {Role.USER: "user", Role.ASSISTANT: "assistant", Role.SYSTEM: "system", Role.TOOL: "toolResult"}
_FROM_ROLES: Final = {name: role for role, name in _ROLES.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a conversation, as it was said. Foreign text is raw here; it is bound where a context is built.

    `label` is set for what is not the user's or the model's own words: tool results, and attachments (role USER, with
    `name` saying what was attached). `by_runtime` marks words of this program to the model. `unsent` marks words that
    were too long for the model: they are kept here and go into no context. `stop` says how an answer ended.
    """

    role: Role
    text: str
    ts_ms: int = 0
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    label: Label | None = None
    name: str = ""
    outcome: ToolOutcome | None = None
    notice: str = ""
    model: str = ""
    stop: str = ""
    usage: Usage | None = None
    by_runtime: bool = False
    unsent: bool = False

    @property
    def is_users_words(self) -> bool:
        """Whether the user said this, in this conversation, to the model."""
        return self.role is Role.USER and self.label is None and not self.by_runtime


def header_line(session_id: str, project: str, now_ms: int) -> bytes:
    """The first line of a session file."""
    return _line(
        {
            "type": "session",
            "version": VERSION,
            "id": session_id,
            "timestamp": datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(),
            "cwd": project,
            "compactionCount": 0,
            "memoryFlushCompactionCount": 0,
        }
    )


def header_fault(found: JsonLine | None, session_id: str) -> str:
    """What is wrong with a header; "" when nothing is."""
    if found is None or found.get("type") != "session":
        return "its first line is not a session header"
    if found.get("version") not in _READ_VERSIONS:
        return f"its version is {found.get('version')!r}, and this program reads {_READ_VERSIONS}"
    return "" if found.get("id") == session_id else "its header names another session"


def entry_line(entry: Entry) -> bytes:
    """`entry` as one line, with its line feed."""
    message: dict[str, Any] = {"role": _ROLES[entry.role], "content": [{"type": "text", "text": entry.text}]}
    if entry.tool_calls:
        message["toolCalls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments_json} for c in entry.tool_calls]
    optional = {
        "toolCallId": entry.tool_call_id,
        "model": entry.model,
        "stopReason": entry.stop,
        "usage": _usage(entry.usage) if entry.usage else None,
        "name": entry.name,
        "outcome": entry.outcome,
        "notice": entry.notice,
        "label": _label(entry.label) if entry.label else None,
        "runtime": entry.by_runtime,
        "unsent": entry.unsent,
    }
    message |= {key: value for key, value in optional.items() if value}
    return _line({"type": "message", "message": {**message, "timestamp": entry.ts_ms}})


def read_entry(found: JsonLine) -> Entry | None:
    """The message on a line; None for lines of other kinds or of no form that is known."""
    message = found.get("message") if found.get("type") == "message" else None
    if not isinstance(message, dict) or message.get("role") not in _FROM_ROLES:
        return None
    try:
        return Entry(
            role=_FROM_ROLES[message["role"]],
            text=_text(message.get("content")),
            ts_ms=int(message.get("timestamp") or 0),
            tool_calls=tuple(
                ToolCall(str(call["id"]), str(call["name"]), str(call["arguments"]))
                for call in message.get("toolCalls") or ()
            ),
            tool_call_id=_string(message, "toolCallId") or None,
            label=_read_label(message.get("label"), message["role"]),
            name=_string(message, "name"),
            outcome=ToolOutcome(message["outcome"]) if message.get("outcome") else None,
            notice=_string(message, "notice"),
            model=_string(message, "model"),
            stop=_string(message, "stopReason"),
            by_runtime=message.get("runtime") is True,
            unsent=message.get("unsent") is True,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def read_line(line: bytes) -> JsonLine | None:
    """The JSON object on a line; None when it is torn or was never one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _string(message: dict[str, Any], key: str) -> str:
    value = message.get(key)
    return value if isinstance(value, str) else ""


def _text(content: object) -> str:
    """The text of a message's content: a string, or a list of blocks of which pictures are only named."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(
        b.get("text", "") if b.get("type") == "text" else "[a picture]" for b in blocks if isinstance(b, dict)
    )


def _usage(usage: Usage) -> dict[str, Any]:
    cost = {} if usage.cost_microusd is None else {"cost": usage.cost_microusd / 1_000_000}
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cacheRead": usage.cache_read_tokens,
        "cacheWrite": usage.cache_write_tokens,
        "totalTokens": usage.input_tokens + usage.output_tokens,
        **cost,
    }


def _label(label: Label) -> dict[str, str]:
    return {
        "integrity": label.integrity.value,
        "confidentiality": label.confidentiality.value,
        "origin": label.origin,
    }


def _read_label(found: object, role: str) -> Label | None:
    """A label as it was written. A tool result without one, from another program, gets the least trusted label."""
    if isinstance(found, dict):
        return Label(
            Integrity(found["integrity"]), Confidentiality(found["confidentiality"]), str(found.get("origin", ""))
        )
    return Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, "unknown") if role == "toolResult" else None
