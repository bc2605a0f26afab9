"""The index: the same answers as reading the whole log, made anew whenever it does not fit, and never believed."""

import itertools
import sqlite3
from typing import Any

import pytest

from localgpt.audit import EntryCorrupted, Query, read_entries
from localgpt.audit.epoch import Limits
from localgpt.audit.grammar import spell
from localgpt.audit.index import INDEX_NAME, Index, entries_since
from localgpt.audit.writer import Writer
from tests.audit.conftest import SimClock
from tests.crash.test_audit_power_loss import QuickDisk

DECISION = {"call": "c", "code": "x", "policy": "ab" * 32}


def write(directory, key, count: int) -> None:
    writer = Writer(directory, key, SimClock(), QuickDisk(), limits=Limits(epoch_entries=9, segment_bytes=4000))
    writer.open()
    for number in range(count):
        verdict = ("allow", "deny", "ask")[number % 3]
        fields = {**DECISION, "tool": f"t{number % 4}", "verdict": verdict, "path": f"/p/{number % 5}/x"}
        writer.commit([spell("decision", f"s{number % 2}", fields)])
    writer.close()


CHOICES: list[dict[str, Any]] = [
    dict(chosen)
    for chosen in itertools.product(
        [("tool", ""), ("tool", "t1")],
        [("verdict", ""), ("verdict", "deny")],
        [("session", ""), ("session", "s"), ("session", "s1")],
        [("path", ""), ("path", "/p/2")],
        [("kinds", frozenset()), ("kinds", frozenset({"decision"}))],
    )
]
QUERIES = [Query(**chosen) for chosen in CHOICES]


def test_the_index_answers_as_the_log_does(directory, key, tmp_path):
    write(directory, key, 60)
    index = Index(directory, tmp_path)
    index.update()
    for query in QUERIES:
        expected = list(read_entries(directory, query))
        assert index.select(query) == expected
        assert index.select(query, limit=3) == expected[-3:]
        assert index.select(query, limit=3, newest=False) == expected[:3]
    middle = list(read_entries(directory))[30].ts_us
    assert entries_since(directory, tmp_path, middle) == list(read_entries(directory, Query(since_us=middle)))
    index.close()
    write(directory, key, 10)
    again = Index(directory, tmp_path)
    again.update()
    assert again.select(Query()) == list(read_entries(directory))
    again.close()


def test_an_index_that_does_not_fit_is_made_anew(directory, key, tmp_path):
    write(tmp_path / "other", key, 30)
    index = Index(tmp_path / "other", tmp_path)
    index.update()
    index.close()
    write(directory, key, 40)
    index = Index(directory, tmp_path)
    index.update()
    assert index.select(Query()) == list(read_entries(directory))
    index.close()
    (tmp_path / INDEX_NAME).write_bytes(b"not a database" * 999)
    index = Index(directory, tmp_path)
    index.update()
    assert index.select(Query(tool="t1")) == list(read_entries(directory, Query(tool="t1")))
    index.close()


def test_an_index_that_lies_is_an_error(directory, key, tmp_path):
    write(directory, key, 20)
    index = Index(directory, tmp_path)
    index.update()
    index.close()
    with sqlite3.connect(tmp_path / INDEX_NAME) as database:
        database.execute("update entries set tool = 't1' where tool = 't2'")
    index = Index(directory, tmp_path)
    with pytest.raises(EntryCorrupted, match="does not fit"):
        index.select(Query(tool="t1"))
    index.close()
