"""Answers of a demonstration model after a tool call: the output itself, quoted and attributed, not retold.

A model of this size retells what it reads wrongly more often than not; what the tool gave is shown as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from localgpt.injection import clean, clean_line
from localgpt.tools import ToolArgumentError, parse_call, shown_argv
from localgpt.wire import ToolCall, ToolOutcome, ToolResult

_LINES: Final = 40
_CHARS: Final = 3000
_FENCE: Final = re.compile("`{3,}")


@dataclass(frozen=True, slots=True)
class Quoted:
    """`shown` is for the user and holds foreign text; `kept` is for the transcript and holds none."""

    shown: str
    kept: str


def quoted(call: ToolCall, result: ToolResult) -> Quoted:
    """Markdown that says what was called, how it ended, and quotes the beginning of its output."""
    notice = f" {result.notice[:1].upper()}{result.notice[1:]}." if result.notice else ""
    head = f"I called {_described(call)}.{' It was denied.' if result.outcome is ToolOutcome.DENIED else ''}{notice}"
    text = clean(result.text).strip("\n")
    if result.outcome is ToolOutcome.DENIED:
        return Quoted(head, head)
    if not text:
        return Quoted(f"{head} It gave no output.", f"{head} It gave no output.")
    excerpt, left_out = _excerpt(text)
    fence = "`" * max(3, 1 + max((len(run) for run in _FENCE.findall(excerpt)), default=2))
    more = f"\n\n{left_out} more lines are not shown." if left_out else ""
    shown = f"{head} This is what came out:\n\n{fence}\n{excerpt}\n{fence}{more}"
    return Quoted(shown, f"{head} The output was shown to the user.")


def _described(call: ToolCall) -> str:
    try:
        name, *arguments = shown_argv(call.name, parse_call(call.name, call.arguments_json))
    except ToolArgumentError:
        name, arguments = call.name, []
    shown = clean_line(" ".join(arguments), 200).replace("`", "'")
    return f"`{clean_line(name, 64)}`" + (f" with `{shown}`" if shown else "")


def _excerpt(text: str) -> tuple[str, int]:
    lines = text[: _CHARS + 1].split("\n")
    if len(text) > _CHARS and len(lines) > 1:
        lines.pop()
    kept = "\n".join(lines[:_LINES])[:_CHARS]
    return kept, text.count("\n") - kept.count("\n")
