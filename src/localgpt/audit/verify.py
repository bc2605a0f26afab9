"""Reading the log back: verification and queries. Streaming, in bounded memory; nothing here writes or locks.

The head is read before the log, so that entries appended meanwhile are simply newer than the head.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from localgpt.audit.entry import MAX_LINE_BYTES, Entry, decode_entry, entry_key, genesis
from localgpt.audit.errors import EntryCorrupted, EntryForged, LogUnopenable
from localgpt.audit.files import HEAD_NAME, LOG_NAME
from localgpt.audit.head import HEAD_BYTES, Head, head_key, read_heads
from localgpt.audit.lines import Position, read_lines
from localgpt.crypto import DeviceKey


class LogVerdict(StrEnum):
    """What can be said of a log."""

    INTACT = "intact"
    EMPTY = "empty"  #: there is neither a log nor a head; the finding `audit.emptied` says that there was one
    CHAINED = "chained"  #: the chain is whole, but without the device key a rewritten log would look the same
    TAMPERED = "tampered"


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing that verification saw. `seq`: the entry concerned, None when it is the whole log.

    `code` is a `TamperError` code, or one of those that are no tampering: `audit.torn-tail`, `audit.torn-slot`,
    `audit.beyond-head`, `audit.no-key`; and beside `EMPTY` `audit.emptied`.
    """

    code: str
    seq: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result. `entries`: how many are good; `first_bad`: the number of the first that is not, or is gone.

    `head_seq`: the last entry that the head vouches for, None without an authentic head; `size_bytes`: of the good
    part.
    """

    verdict: LogVerdict
    entries: int
    first_bad: int | None
    findings: tuple[AuditFinding, ...]
    head_seq: int | None
    size_bytes: int
    first_ts_us: int | None = None
    last_ts_us: int | None = None


#: There is no log, and something else shows that there was one. Not proof of an attack; not the silence of a new start.
EMPTIED: Final = "audit.emptied"
_HARMLESS: Final = frozenset({"audit.torn-tail", "audit.torn-slot", "audit.beyond-head", "audit.no-key", EMPTIED})


def verify_log(directory: Path, key: DeviceKey | None) -> Report:
    """Check every entry, the chain, and the head; with a key also that this device key wrote each of them.

    Raises:
        LogUnopenable: a file is there and cannot be read.
    """
    heads = _Heads(directory, key)
    with _opened(directory / LOG_NAME) as descriptor:
        if descriptor is None:
            return heads.without_log()
        return _verify(descriptor, heads)


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
            not self.path or _is_beneath(str(entry.fields.get("path", "")), self.path),
            self.since_us is None or entry.ts_us >= self.since_us,
            self.until_us is None or entry.ts_us < self.until_us,
        )
        return all(wanted)


def read_entries(directory: Path, query: Query | None = None) -> Iterator[Entry]:
    """Yield the entries that `query` selects, oldest first. A torn tail ends the log without an error.

    Entries are checked one by one and against their neighbours, not against the head: that is `verify_log`.

    Raises:
        EntryCorrupted: when the first bad entry is reached.
        LogUnopenable
    """
    wanted = query or Query()
    with _opened(directory / LOG_NAME) as descriptor:
        if descriptor is not None:
            size = os.fstat(descriptor).st_size
            yield from (entry for entry, _position in _walk(descriptor, size, None) if wanted.selects(entry))


class _Heads:
    """What the head file says, and what is wrong with it."""

    def __init__(self, directory: Path, key: DeviceKey | None) -> None:
        with _opened(directory / HEAD_NAME) as descriptor:
            data = None if descriptor is None else os.pread(descriptor, HEAD_BYTES, 0)
        self.exists = data is not None
        self.entry_key = None if key is None else entry_key(key)
        self.heads = None if data is None or key is None else read_heads(data, head_key(key))
        self.head: Head | None = None if self.heads is None else self.heads.newest
        self.traces = _traces(directory)
        self.findings: list[AuditFinding] = []
        if key is None:
            self.findings.append(AuditFinding("audit.no-key", None, "without the device key the head says nothing"))
        elif self.head is None and self.exists:
            self.findings.append(
                AuditFinding("audit.head-missing", None, "the head was not written with this device key")
            )

    def without_log(self) -> Report:
        if self.head is not None and self.head.seq >= 0:
            detail = f"{self.head.seq + 1} entries were acknowledged, and the log is gone"
            self.findings.append(AuditFinding("audit.log-missing", 0, detail))
        self.judge_slots(-1)
        seq = None if self.head is None else self.head.seq
        report = _report(Position(-1, 0, genesis()), self, 0 if self.findings else None)
        if report.verdict is LogVerdict.TAMPERED:
            return report
        findings = report.findings
        if self.traces:
            detail = (
                f"there is no log, but {', '.join(self.traces)} show that there was one, or that a start was cut off"
            )
            findings += (AuditFinding(EMPTIED, None, detail),)
        return replace(report, verdict=LogVerdict.EMPTY, head_seq=seq, findings=findings)

    def judge_slots(self, last: int) -> None:
        """Tell a slot that an interrupted write left from one that was spoiled; `last`: the last good entry."""
        if self.heads is None or self.heads.spoiled is None:
            return
        if self.heads.accounts_for(last):
            detail = "a slot of the head is not authentic, as after an interrupted write; no entry is missing"
            self.findings.append(AuditFinding("audit.torn-slot", None, detail))
            return
        missing = self.heads.next_seq
        detail = f"a slot of the head was changed; an interrupted write would have left entry {missing} in the log"
        self.findings.append(AuditFinding("audit.head-spoiled", missing, detail))


def _traces(directory: Path) -> list[str]:
    """What else is there once something was logged: the log's other files, the memory of a signed policy."""
    beside = [name for name in ("lock", "reserve", "quarantine") if os.path.lexists(directory / name)]
    return beside + sorted(f"policy/{path.name}" for path in (directory.parent / "policy").glob("*.pin.json"))


def _verify(descriptor: int, heads: _Heads) -> Report:
    position = Position(-1, 0, genesis())
    first_bad: int | None = None
    first_ts = last_ts = None
    size = os.fstat(descriptor).st_size
    try:
        for entry, position in _walk(descriptor, size, heads.entry_key):
            first_ts = entry.ts_us if first_ts is None else first_ts
            last_ts = entry.ts_us
            if heads.head is not None and entry.seq == heads.head.seq:
                _compare(heads, entry, position)
    except (EntryCorrupted, EntryForged) as error:
        first_bad = position.seq + 1
        heads.findings.append(AuditFinding(error.code, first_bad, error.message))
    else:
        _judge_end(size, heads, position)
    heads.judge_slots(position.seq)
    if heads.head is None and not heads.exists:
        heads.findings.append(AuditFinding("audit.head-missing", None, "there is a log, but no head"))
    return replace(_report(position, heads, first_bad), first_ts_us=first_ts, last_ts_us=last_ts)


def _compare(heads: _Heads, entry: Entry, position: Position) -> None:
    if heads.head is not None and (heads.head.leaf, heads.head.end) != (entry.leaf, position.end):
        detail = f"entry {entry.seq} is not the one that was acknowledged, so entries up to it were rewritten"
        heads.findings.append(AuditFinding("audit.head-mismatch", entry.seq, detail))


def _judge_end(size: int, heads: _Heads, position: Position) -> None:
    if heads.head is not None and position.seq < heads.head.seq:
        detail = f"entries up to {heads.head.seq} were acknowledged; the log ends after {position.seq}"
        heads.findings.append(AuditFinding("audit.truncated", position.seq + 1, detail))
    elif heads.head is not None and position.seq > heads.head.seq:
        newer = position.seq - heads.head.seq
        detail = f"{newer} entries are authentic and newer than the head, so that more may have followed"
        heads.findings.append(AuditFinding("audit.beyond-head", heads.head.seq + 1, detail))
    torn = size - position.end
    if torn > 0:
        detail = (
            f"{torn} bytes of an append that was interrupted and never acknowledged; the next start sets them aside"
        )
        heads.findings.append(AuditFinding("audit.torn-tail", position.seq + 1, detail))


def _report(position: Position, heads: _Heads, first_bad: int | None) -> Report:
    tampered = [finding for finding in heads.findings if finding.code not in _HARMLESS]
    untouched = LogVerdict.CHAINED if heads.head is None else LogVerdict.INTACT
    numbers = [finding.seq for finding in tampered if finding.seq is not None]
    bad = first_bad if first_bad is not None else min(numbers, default=None)
    seq = None if heads.head is None else heads.head.seq
    verdict = LogVerdict.TAMPERED if tampered else untouched
    return Report(verdict, position.seq + 1, bad, tuple(heads.findings), seq, position.end)


def _walk(descriptor: int, size: int, key: bytes | None) -> Iterator[tuple[Entry, Position]]:
    """Every entry with the position after it; ends before a torn tail.

    Raises:
        EntryCorrupted: a line that is no entry, unless it is the last and could be an interrupted append.
        EntryForged: with a key, an entry that it did not write.
    """
    position = Position(-1, 0, genesis())
    lines = read_lines(descriptor, 0, size)
    for line in lines:
        try:
            entry = decode_entry(line.removesuffix(b"\n"), key)
        except EntryCorrupted:
            if len(line) > MAX_LINE_BYTES or next(lines, None) is not None:
                raise
            return
        if not line.endswith(b"\n"):
            return
        position = position.step(entry, len(line))
        yield entry, position


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise LogUnopenable(f"{path} cannot be read: {error.strerror}", cure="make it readable for you") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_beneath(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
