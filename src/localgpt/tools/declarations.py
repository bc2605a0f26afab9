"""What a model is told of the tools, and the grammar that makes a small model's calls parse by construction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from localgpt.tools.calls import TOOLS, Tool, usage
from localgpt.tools.fields import JsonSchema, Text, is_required
from localgpt.wire import ToolDeclaration

ANSWER: Final = "answer"  #: in schema mode, the "tool" that carries the answer's text
_ANSWER_CHARS: Final = 8000


def _arguments_schema(tool: Tool, longest: int | None) -> JsonSchema:
    return {
        "type": "object",
        "properties": {field.name: field.schema(longest) for field in tool.fields},
        "required": [field.name for field in tool.fields if is_required(field)],
        "additionalProperties": False,
    }


def _declare(tool: Tool) -> ToolDeclaration:
    schema = json.dumps(_arguments_schema(tool, None), separators=(",", ":"))
    return ToolDeclaration(tool.name, tool.doc, schema)


DECLARATIONS: Final[tuple[ToolDeclaration, ...]] = tuple(_declare(tool) for tool in TOOLS)
_BY_NAME: Final = {tool.name: tool for tool in TOOLS}


def call_schema(declarations: Iterable[ToolDeclaration], *, longest: int | None = None) -> JsonSchema:
    """The JSON Schema of one step of a model without native tool calls: `{"tool": NAME, "args": {...}}`.

    `{"tool": "answer", "args": {"text": ...}}` ends the turn. With `longest`, no string is longer than that many
    characters, so that a model which never stops still closes its JSON before its output tokens run out.

    Source: llama.cpp, grammars/README.md (JSON Schemas); llguidance, docs/json_schema.md ("x-guidance": no free white
    space, which a small model would otherwise fill its output with). `anyOf`, because `oneOf` is optional there.
    """
    text = Text("text", "", _ANSWER_CHARS).schema(longest)
    answer: JsonSchema = {
        "type": "object",
        "properties": {"text": text},
        "required": ["text"],
        "additionalProperties": False,
    }
    steps = [_step(ANSWER, answer)]
    for declaration in declarations:
        known = _BY_NAME.get(declaration.name)
        arguments = _arguments_schema(known, longest) if known else json.loads(declaration.schema_json)
        steps.append(_step(declaration.name, arguments))
    compact = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
    return {"x-guidance": compact, "anyOf": steps}


def _step(name: str, arguments: JsonSchema) -> JsonSchema:
    return {
        "type": "object",
        "properties": {"tool": {"const": name}, "args": arguments},
        "required": ["tool", "args"],
        "additionalProperties": False,
    }


def signatures(declarations: Iterable[ToolDeclaration]) -> str:
    """The tools as a few short lines, for the prompt of a small model."""
    lines = []
    for declaration in declarations:
        known = _BY_NAME.get(declaration.name)
        lines.append(
            f"{declaration.name} {usage(known) if known else declaration.schema_json}: {declaration.description}"
        )
    return "\n".join(lines)
