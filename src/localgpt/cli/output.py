"""Printing: JSON, tables, marks and errors. Whatever may hold foreign text is escaped on its way to a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final

from localgpt.errors import LocalGptError


class Mark(Enum):
    """Outcome of one check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


SIGNS: Final = {Mark.OK: "✓", Mark.WARN: "⚠", Mark.FAIL: "✗"}
_COLOURS: Final = {Mark.OK: "32", Mark.WARN: "33", Mark.FAIL: "31"}


def safe(text: str) -> str:
    """Escape controls and invisible characters; newlines and tabs stay."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    from localgpt.cli.terminal.escape import escape

    return escape(text)


def say(text: str = "") -> None:
    """Print one line (or several) to standard output."""
    sys.stdout.write(f"{safe(text)}\n")


def say_json(value: Any) -> None:  # noqa: ANN401 -- whatever json can write
    """Print one JSON document, indented, ASCII only: no terminal can be harmed by it."""
    import json

    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True, default=str) + "\n")


def say_json_line(value: Any) -> None:  # noqa: ANN401 -- whatever json can write
    """Print one JSON value on one line."""
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=True, default=str) + "\n")


def say_table(rows: Iterable[Sequence[str]], *, indent: str = "") -> None:
    """Print rows in columns; the last column is left ragged."""
    lines = [[safe(cell).replace("\n", " ") for cell in row] for row in rows]
    if not lines:
        return
    widths = [max(len(row[i]) for row in lines if i < len(row)) for i in range(max(map(len, lines)))]
    for row in lines:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        sys.stdout.write(indent + "  ".join(cells).rstrip() + "\n")


def sign(mark: Mark) -> str:
    """Give the mark's sign, coloured where standard output is a terminal that shows colours."""
    return coloured(SIGNS[mark], _COLOURS[mark])


def coloured(text: str, colour: str) -> str:
    """Colour a text that is safe already, where standard output is a terminal that shows colours."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and colours() else text


def colours() -> bool:
    """Whether standard output shows colours. Source: no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def print_error(error: LocalGptError) -> None:
    """Print what was wrong and what mends it to standard error."""
    sys.stderr.write(f"error: {safe(error.message)}\n")
    if error.cure:
        sys.stderr.write(f"cure: {safe(error.cure)}\n")
