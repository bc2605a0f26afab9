"""An index for queries, in SQLite: rebuildable, never trusted. It says where to look; what is shown comes from the log.

One row for each entry with what queries filter by, and where its line begins. It is brought up to date by reading what
was appended since; when it does not fit the log (another log, a cut, a corrupt file) it is made anew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from localgpt.audit.entry import MAX_LINE_BYTES, Entry, decode_entry
from localgpt.audit.errors import EntryCorrupted
from localgpt.audit.files import reading, segment_name
from localgpt.audit.query import Query
from localgpt.audit.scan import START, BrokenAt, LogReader, Place

INDEX_NAME: Final = "audit-index.sqlite3"
_VERSION: Final = 2
_TABLES: Final = """
create table if not exists entries(
  seq integer primary key, ts integer, kind text, session text, tool text, verdict text, path text,
  segment integer, offset integer);
create index if not exists by_ts on entries(ts);
create index if not exists by_kind on entries(kind);
create index if not exists by_session on entries(session);
create index if not exists by_tool on entries(tool) where tool is not null;
create index if not exists by_verdict on entries(verdict) where verdict is not null;
create index if not exists by_path on entries(path) where path is not null;
create table if not exists sessions(session text primary key) without rowid;
create table if not exists place(seq integer, segment integer, end integer, leaf text, log text);
"""
_TOGETHER: Final = 2000


class Index:
    """The index of one log, in `cache`."""

    def __init__(self, directory: Path, cache: Path) -> None:
        self._directory = directory
        self._path = cache / INDEX_NAME
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._prepared()
        except sqlite3.DatabaseError:
            self._path.unlink(missing_ok=True)
            return self._prepared()

    def _prepared(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path)
        os.chmod(self._path, 0o600)  # noqa: PTH101 -- as below
        database.execute("pragma synchronous = off")  # it can be made anew
        if database.execute("pragma user_version").fetchone()[0] not in {0, _VERSION}:
            raise sqlite3.DatabaseError("another version")
        database.executescript(_TABLES + f"pragma user_version = {_VERSION};")
        return database

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def update(self) -> None:
        """Read what was appended since the last time.

        Raises:
            EntryCorrupted, LogUnopenable
        """
        place = self._place()
        reader = LogReader(self._directory, place)
        rows: list[tuple[object, ...]] = []
        begin = place.end
        try:
            for step in reader.steps():
                if step.segment != place.segment and step.link.seq == step.segment:
                    begin = 0
                entry = decode_entry(step.line)
                fields = entry.fields
                found = (fields.get("tool"), fields.get("verdict"), fields.get("path"))
                rows.append((entry.seq, entry.ts_us, entry.kind, entry.session, *found, step.segment, begin))
                begin = step.end
                if len(rows) >= _TOGETHER:
                    self._keep(rows, step.place)
                    rows = []
        except BrokenAt as broken:
            if not broken.torn:
                raise
        self._keep(rows, reader.place)

    def _place(self) -> Place:
        """Where the index ends, when that still is a place in this log."""
        row = self._database.execute("select seq, segment, end, leaf from place").fetchone()
        if row is not None:
            place = Place(*row)
            steps = LogReader(self._directory, place).steps()
            with contextlib.suppress(EntryCorrupted):
                next(steps, None)
                return place
        self._database.executescript("delete from entries; delete from sessions; delete from place;")
        return START

    def _keep(self, rows: list[tuple[object, ...]], place: Place) -> None:
        with self._database:
            self._database.executemany("insert or replace into entries values (?,?,?,?,?,?,?,?,?)", rows)
            sessions = {(row[3],) for row in rows}
            self._database.executemany("insert or ignore into sessions values (?)", sessions)
            self._database.execute("delete from place")
            values = (place.seq, place.segment, place.end, place.leaf)
            self._database.execute("insert into place values (?,?,?,?,'')", values)

    def select(self, query: Query, *, limit: int = 0, newest: bool = True) -> list[Entry]:
        """The entries that a query selects, oldest first; with a limit the newest (or oldest) of them.

        Raises:
            EntryCorrupted: what the index points at is not such an entry.
        """
        where, values = _where(query, self._sessions(query.session))
        order = "desc" if newest else "asc"
        text = f"select seq, segment, offset from entries {where} order by seq {order}"  # noqa: S608 -- our own words
        rows = self._database.execute(f"{text} limit ?", (*values, limit or -1)).fetchall()
        found = list(self._read(sorted(rows)))
        if not all(query.selects(entry) for entry in found):
            raise EntryCorrupted("the index does not fit the log", cure=f"remove {self._path}")
        return found

    def _sessions(self, prefix: str) -> list[str]:
        """The sessions whose ids begin so: each is looked up by its whole id, whose entries the index has in order."""
        if not prefix:
            return []
        found = self._database.execute(
            "select session from sessions where session >= ? and session < ?", (prefix, prefix + "\uffff")
        )
        return [row[0] for row in found] or [prefix]

    def _read(self, rows: list[tuple[int, int, int]]) -> Iterator[Entry]:
        for segment in sorted({row[1] for row in rows}):
            with reading(self._directory / segment_name(segment)) as descriptor:
                for seq, _, offset in (row for row in rows if row[1] == segment):
                    data = b"" if descriptor is None else os.pread(descriptor, MAX_LINE_BYTES, offset)
                    entry = decode_entry(data.partition(b"\n")[0])
                    if entry.seq != seq:
                        raise EntryCorrupted("the index does not fit the log", cure=f"remove {self._path}")
                    yield entry


def _where(query: Query, sessions: list[str]) -> tuple[str, tuple[object, ...]]:
    parts: list[tuple[str, tuple[object, ...]]] = []
    if query.kinds:
        parts.append((f"kind in ({','.join('?' * len(query.kinds))})", tuple(sorted(query.kinds))))
    if sessions:
        parts.append((f"session in ({','.join('?' * len(sessions))})", tuple(sessions)))
    if query.tool:
        parts.append(("tool = ?", (query.tool,)))
    if query.verdict:
        parts.append(("verdict = ?", (query.verdict,)))
    if query.path:
        root = query.path.rstrip("/")
        parts.append(("(path = ? or (path >= ? and path < ?))", (query.path, f"{root}/", f"{root}0")))
    if query.since_us is not None:
        parts.append(("ts >= ?", (query.since_us,)))
    if query.until_us is not None:
        parts.append(("ts < ?", (query.until_us,)))
    text = " and ".join(part for part, _ in parts)
    return (f"where {text}" if text else ""), tuple(value for _, values in parts for value in values)


def entries_since(directory: Path, cache: Path, since_us: int) -> list[Entry]:
    """Every entry from a moment on, with the help of the index.

    Raises:
        EntryCorrupted, LogUnopenable
    """
    if not LogReader(directory).exists:
        return []
    with closing(Index(directory, cache)) as index:
        index.update()
        return index.select(Query(since_us=since_us))
