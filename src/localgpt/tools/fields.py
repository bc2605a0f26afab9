"""The argument kinds of a tool call: each checks one value strictly and describes itself as JSON Schema.

A tool's fields are declared once; the parser, the model's declaration and the grammar of schema-constrained decoding
all come from that one table, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from localgpt.errors import LocalGptError

JsonSchema: TypeAlias = "dict[str, object]"


class ToolArgumentError(LocalGptError):
    """A model's tool call cannot be used as it stands. The text is written for the model that made it."""

    code = "tool.argument"


@dataclass(frozen=True, slots=True)
class Text:
    """A string. `default` None means required; `max_chars` counts code points; NUL and lone surrogates are refused."""

    name: str
    doc: str
    max_chars: int
    default: str | None = None
    may_be_empty: bool = False

    def check(self, value: object) -> str:
        """Return `value` as it is.

        Raises:
            ToolArgumentError: not a string, empty, too long, or with characters no program can take.
        """
        if not isinstance(value, str):
            raise ToolArgumentError(f'"{self.name}" must be a string, not {_kind(value)}')
        if not value and not self.may_be_empty:
            raise ToolArgumentError(f'"{self.name}" must not be empty')
        if len(value) > self.max_chars:
            raise ToolArgumentError(
                f'"{self.name}" has {len(value)} characters; at most {self.max_chars} are taken, so split the work'
            )
        if "\0" in value:
            raise ToolArgumentError(f'"{self.name}" contains a NUL character; leave it out')
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise ToolArgumentError(f'"{self.name}" contains half of a surrogate pair; write the character itself')
        return value

    def schema(self, longest: int | None) -> JsonSchema:
        kind: JsonSchema = {"type": "string"}
        if longest is not None:
            kind["maxLength"] = min(longest, self.max_chars)
        elif self.doc:
            kind["description"] = self.doc
        return kind


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number from `low` to `high`. 3.0 counts as 3, as some models write it; true and false do not."""

    name: str
    doc: str
    low: int
    high: int
    default: int | None

    def check(self, value: object) -> int | None:
        """Return `value` as an int; null means the default.

        Raises:
            ToolArgumentError: not a whole number, or out of bounds.
        """
        if value is None:
            return self.default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ToolArgumentError(f'"{self.name}" must be a whole number, not {_kind(value)}')
        if not self.low <= value <= self.high:
            shown = value if abs(value) < 10**12 else "a much larger number"
            raise ToolArgumentError(f'"{self.name}" must be from {self.low} to {self.high}, not {shown}')
        return value

    def schema(self, longest: int | None) -> JsonSchema:
        kind: JsonSchema = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return kind if longest is not None or not self.doc else {**kind, "description": self.doc}


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false; false when left out."""

    name: str
    doc: str
    default: bool = False

    def check(self, value: object) -> bool:
        """Return `value` as it is; null means false.

        Raises:
            ToolArgumentError: not a boolean.
        """
        if value is None:
            return self.default
        if not isinstance(value, bool):
            raise ToolArgumentError(f'"{self.name}" must be true or false, not {_kind(value)}')
        return value

    def schema(self, longest: int | None) -> JsonSchema:
        return (
            {"type": "boolean"} if longest is not None or not self.doc else {"type": "boolean", "description": self.doc}
        )


Field: TypeAlias = Text | Number | Flag


def is_required(field: Field) -> bool:
    """Whether a call without this field is refused."""
    return isinstance(field, Text) and field.default is None


def _kind(value: object) -> str:
    """The JSON name of a value's type, with a short sight of the value."""
    names = {bool: "true or false", int: "the number", float: "the number", str: "the string", type(None): "null"}
    name = names.get(type(value), "a list" if isinstance(value, list) else "an object")
    if isinstance(value, str):
        return f'{name} "{value[:40]}"'
    return f"{name} {value}" if type(value) is float or (type(value) is int and abs(value) < 10**12) else name
