"""On which line each key of a TOML document stands: a light scan, for messages only.

It runs on text that `tomllib` has accepted, so it never judges; where it loses its way a message merely lacks a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_PART: Final = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
_STRINGS: Final = re.compile(r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)


def key_lines(text: str) -> dict[str, int]:
    """Map dotted names (array tables with their index: ``cron.jobs.0.name``) to 1-based line numbers."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix = ""
    for number, line in _logical_lines(text):
        if line.startswith("[["):
            name = _name(line[2:])
            index = counts.get(name, -1) + 1
            counts[name] = index
            prefix = f"{name}.{index}"
            found[prefix] = number
        elif line.startswith("["):
            prefix = _name(line[1:])
            found.setdefault(prefix, number)
        else:
            _assignment(prefix, line, number, found)
    return found


def _assignment(prefix: str, line: str, number: int, found: dict[str, int]) -> None:
    name, end = _dotted(line)
    if not name or line[end : end + 1] != "=":
        return
    full = f"{prefix}.{name}" if prefix else name
    found.setdefault(full, number)
    value = line[end + 1 :].strip()
    if value.startswith("{"):
        for part in re.split(r"[{,]", _STRINGS.sub(lambda m: m.group() if "," not in m.group() else '""', value)):
            _assignment(full, part.strip(), number, found)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Give (line number, text) of each statement; continuation lines of strings and arrays are skipped."""
    plain = _STRINGS.sub(_keep_newlines, text)
    depth = 0
    for number, (line, shadow) in enumerate(zip(text.split("\n"), plain.split("\n"), strict=False), 1):
        code = shadow.split("#", 1)[0]
        if depth == 0 and line.strip() and not shadow.startswith("\0"):
            yield number, line.strip()
        if not (depth == 0 and code.lstrip().startswith("[")):
            depth = max(0, depth + code.count("[") - code.count("]"))


def _keep_newlines(found: re.Match[str]) -> str:
    """Blank a string out; each line that begins inside one is marked, because it starts no statement."""
    body = found.group()
    return "".join("\n\0" if c == "\n" else "_" for c in body)


def _name(rest: str) -> str:
    return _dotted(rest)[0]


def _dotted(text: str) -> tuple[str, int]:
    parts: list[str] = []
    position = 0
    while (found := _PART.match(text, position)) is not None:
        parts.append(next(group for group in found.groups() if group is not None))
        position = found.end()
        if text[position : position + 1] != ".":
            break
        position += 1
    return ".".join(parts), position
