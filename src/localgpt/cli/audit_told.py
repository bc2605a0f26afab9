"""Entries told for people: moments, a timeline, counts, and following a log as it grows."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import typer

from localgpt.audit.entry import Entry, decode_entry
from localgpt.audit.scan import START, BrokenAt, LogReader
from localgpt.audit.summary import Summary

_AGO: Final = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_POLL_S: Final = 0.25


def moment(text: str) -> int | None:
    """UTC microseconds of "90s", "15m", "2h", "3d" ago, or of a local date with or without a time; None for ""."""
    if not text:
        return None
    if ago := _AGO.fullmatch(text):
        return int((time.time() - int(ago[1]) * _SECONDS[ago[2]]) * 1e6)
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1e6)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no moment: use 90s, 15m, 2h, 3d or 2026-11-28T12:30") from error


_VERBS: Final = {"allow": "allowed", "ask": "asked", "deny": "refused"}
_STORY: Final = {
    "approval": "answered {choice}",
    "outcome": "done     {tool} {status} in {duration_ms} ms",
    "file.change": "changed  {path} ({action})",
    "memory.change": "changed  {path} ({action})",
    "model.call": "sent     {bytes_out} bytes to {model}",
    "connection": "network  {verdict} {host}",
    "session.start": "began    in {project}",
    "session.end": "ended    {reason}",
    "injection.finding": "found    {finding} in {source}",
    "repeated": "refused  {count} times more, as entry {of}",
}


def told(entry: Entry) -> str:
    """One line of a timeline; "" for what is no part of the story."""
    fields: dict[str, object] = {"tool": "", "bytes_out": "?", **entry.fields}
    if entry.kind == "decision":
        what = fields.get("path") or fields.get("host") or fields.get("argv0") or ""
        verb = _VERBS.get(str(fields["verdict"]), "decided")
        return f"{verb:<8} {fields['tool']} {what} ({fields['code']})"
    return _STORY.get(entry.kind, "").format(**fields)


def as_counts(summary: Summary) -> dict[str, object]:
    """For a table or JSON."""
    return {
        "entries": summary.entries,
        "sessions": len(summary.sessions),
        "kinds": dict(summary.kinds.most_common()),
        "done": dict(summary.done.most_common()),
        "asked": dict(summary.asked.most_common()),
        "refused": dict(summary.refused.most_common()),
        "changed": len(summary.changed),
        "input_tokens": summary.input_tokens,
        "output_tokens": summary.output_tokens,
        "cost_usd": summary.spent_microusd / 1e6,
    }


def following(directory: Path, limit: int, *, follow: bool) -> Iterator[Entry]:
    """The last entries, then each new one; a line that is only half written is read again when it is whole."""
    place = START
    first: deque[Entry] | None = deque(maxlen=limit)
    while True:
        reader = LogReader(directory, place)
        try:
            for step in reader.steps():
                if first is None:
                    yield decode_entry(step.line)
                else:
                    first.append(decode_entry(step.line))
        except BrokenAt as broken:
            if not broken.torn:
                raise
        place = reader.place
        if first is not None:
            yield from first
            first = None
        if not follow:
            return
        time.sleep(_POLL_S)
