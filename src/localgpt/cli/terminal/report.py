"""Say an error: what is wrong, and what mends it. Both may quote foreign text, so both are escaped."""

from __future__ import annotations

import sys
from typing import TextIO

from localgpt.cli.terminal.escape import escape
from localgpt.errors import LocalGptError


def error_text(error: LocalGptError) -> str:
    """``error: …`` and, on its own line, ``cure: …``; further lines are indented."""
    lines = [f"error: {_indented(error.message)}"]
    if error.cure:
        lines.append(f"cure: {_indented(error.cure)}")
    return "\n".join(lines) + "\n"


def report(error: LocalGptError, stream: TextIO | None = None) -> int:
    """Write the error to standard error; returns the exit status that belongs to it."""
    target = sys.stderr if stream is None else stream
    text = error_text(error)
    try:
        target.write(text)
    except UnicodeEncodeError:
        target.write(text.encode("ascii", "backslashreplace").decode("ascii"))
    target.flush()
    return int(error.exit_status)


def _indented(text: str) -> str:
    return escape(text.strip()).replace("\n", "\n  ")
