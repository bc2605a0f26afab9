"""Counting entries: what happened since a moment, and how much of everything there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from localgpt.audit.entry import Entry


@dataclass
class Summary:
    """Of a series of entries. `spent_microusd`: millionths of a US dollar; `changed`: paths in the order of change."""

    entries: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    sessions: dict[str, int] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    changed: dict[str, str] = field(default_factory=dict)
    spent_microusd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    first_ts_us: int | None = None
    last_ts_us: int | None = None

    def add(self, entry: Entry) -> None:
        """Count one more."""
        self.entries += 1
        self.kinds[entry.kind] += 1
        self.first_ts_us = entry.ts_us if self.first_ts_us is None else self.first_ts_us
        self.last_ts_us = entry.ts_us
        if entry.session:
            self.sessions[entry.session] = self.sessions.get(entry.session, 0) + 1
        _COUNTED.get(entry.kind, _nothing)(self, entry.fields)


def summarise(entries: Iterable[Entry]) -> Summary:
    """Count them all."""
    summary = Summary()
    for entry in entries:
        summary.add(entry)
    return summary


def _nothing(summary: Summary, fields: Mapping[str, object]) -> None:
    """Kinds that are only counted."""


def _decision(summary: Summary, fields: Mapping[str, object]) -> None:
    verdict, tool = str(fields["verdict"]), str(fields["tool"])
    if verdict == "deny":
        summary.refused[f"{tool} ({fields['code']})"] += 1
    elif verdict == "ask":
        summary.asked[tool] += 1


def _repeated(summary: Summary, fields: Mapping[str, object]) -> None:
    count = fields["count"]
    assert isinstance(count, int)
    summary.refused[f"repeated ({fields.get('code', '')})"] += count


def _outcome(summary: Summary, fields: Mapping[str, object]) -> None:
    summary.done[f"{fields.get('tool', '?')} ({fields['status']})"] += 1


def _changed(summary: Summary, fields: Mapping[str, object]) -> None:
    summary.changed[str(fields["path"])] = str(fields["action"])


def _model(summary: Summary, fields: Mapping[str, object]) -> None:
    cost, read, written = (fields.get(name) for name in ("cost_microusd", "input_tokens", "output_tokens"))
    summary.spent_microusd += cost if isinstance(cost, int) else 0
    summary.input_tokens += read if isinstance(read, int) else 0
    summary.output_tokens += written if isinstance(written, int) else 0


_COUNTED = {
    "decision": _decision,
    "repeated": _repeated,
    "outcome": _outcome,
    "file.change": _changed,
    "memory.change": _changed,
    "model.result": _model,
}
