"""Reading entries back, filtered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localgpt.audit.entry import Entry, decode_entry
from localgpt.audit.scan import BrokenAt, LogReader


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries to yield; empty fields do not restrict. `path` matches a whole path or a directory above."""

    kinds: frozenset[str] = frozenset()
    session: str = ""
    tool: str = ""
    verdict: str = ""
    path: str = ""
    since_us: int | None = None
    until_us: int | None = None

    def selects(self, entry: Entry) -> bool:
        """Whether `entry` is wanted."""
        wanted = (
            not self.kinds or entry.kind in self.kinds,
            not self.session or entry.session.startswith(self.session),
            not self.tool or entry.fields.get("tool") == self.tool,
            not self.verdict or entry.fields.get("verdict") == self.verdict,
            not self.path or is_beneath(str(entry.fields.get("path", "")), self.path),
            self.since_us is None or entry.ts_us >= self.since_us,
            self.until_us is None or entry.ts_us < self.until_us,
        )
        return all(wanted)


def read_entries(directory: Path, query: Query | None = None) -> Iterator[Entry]:
    """Yield the entries that `query` selects, oldest first. A torn tail ends the log without an error.

    Entries are checked one by one and against their neighbours, not against head and pins: that is `verify_log`.

    Raises:
        EntryCorrupted: when the first bad entry is reached.
        LogUnopenable
    """
    wanted = query or Query()
    try:
        for step in LogReader(directory).steps():
            if wanted.kinds and step.link.kind not in wanted.kinds:
                continue
            entry = decode_entry(step.line)
            if wanted.selects(entry):
                yield entry
    except BrokenAt as broken:
        if not broken.torn:
            raise


def is_beneath(path: str, root: str) -> bool:
    """Whether `path` is `root` or in it."""
    return path == root or path.startswith(root.rstrip("/") + "/")
