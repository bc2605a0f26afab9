"""The session file: what was said is there after a crash at any byte, a full disk, or another program."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.agent.entries import Entry, entry_line, read_entry, read_line
from localgpt.agent.session import (
    BadSessionId,
    Disk,
    Loaded,
    OsDisk,
    SessionBusy,
    SessionExists,
    SessionFile,
    SessionUnreadable,
)
from localgpt.wire import Confidentiality, Integrity, Label, Role, ToolCall, ToolOutcome, Usage

NOW = 1_800_000_000_000
LABEL = Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, "shell")
ENTRIES = (
    Entry(Role.USER, "piped", NOW, label=LABEL, name="stdin"),
    Entry(Role.USER, "héllo\n\u2028", NOW),
    Entry(Role.ASSISTANT, "", NOW, tool_calls=(ToolCall("c1", "shell", '{"command":"ls"}'),), model="m", stop="tools"),
    Entry(
        Role.TOOL,
        "out",
        NOW,
        tool_call_id="c1",
        label=LABEL,
        name="shell",
        outcome=ToolOutcome.DONE,
        notice="exit status 0",
    ),
    Entry(Role.ASSISTANT, "done", NOW, model="m", stop="end"),
)


def file(directory: Path, disk: Disk | None = None, name: str = "s1") -> SessionFile:
    return SessionFile(str(directory), name, "/project", lambda: NOW, disk or OsDisk())


def written(directory: Path, *entries: Entry) -> Path:
    session = file(directory)
    session.append(*entries)
    session.sync()
    session.close()
    return directory / "s1.jsonl"


def loaded(directory: Path) -> Loaded:
    session = file(directory)
    try:
        return session.load(resume=True)
    finally:
        session.close()


def test_what_was_appended_is_loaded(tmp_path):
    path = written(tmp_path, *ENTRIES)
    assert loaded(tmp_path) == Loaded(ENTRIES, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_lines_are_those_of_the_pi_format(tmp_path):
    lines = [json.loads(line) for line in written(tmp_path, *ENTRIES).read_text().split("\n") if line]
    assert lines[0] == {
        "type": "session",
        "version": 1,
        "id": "s1",
        "timestamp": "2027-01-15T08:00:00+00:00",
        "cwd": "/project",
        "compactionCount": 0,
        "memoryFlushCompactionCount": 0,
    }
    assert [line["message"]["role"] for line in lines[1:]] == ["user", "user", "assistant", "toolResult", "assistant"]
    assert lines[3]["message"]["toolCalls"] == [{"id": "c1", "name": "shell", "arguments": '{"command":"ls"}'}]
    assert lines[4]["message"]["toolCallId"] == "c1"


entries = st.builds(
    Entry,
    role=st.sampled_from(Role),
    text=st.text(),
    ts_ms=st.integers(0, 2**50),
    tool_calls=st.lists(st.builds(ToolCall, st.text(), st.text(), st.text()), max_size=2).map(tuple),
    tool_call_id=st.none() | st.text(min_size=1),
    label=st.builds(Label, st.sampled_from(Integrity), st.sampled_from(Confidentiality), st.text()),
    name=st.text(),
    outcome=st.none() | st.sampled_from(ToolOutcome),
    notice=st.text(),
    model=st.text(),
    stop=st.text(),
    by_runtime=st.booleans(),
    unsent=st.booleans(),
)


@given(entries)
def test_an_entry_is_its_line(entry):
    line = entry_line(entry)
    assert line.count(b"\n") == 1
    found = read_line(line)
    assert found is not None
    assert read_entry(found) == entry


@given(st.binary(max_size=80))
def test_any_line_is_read_or_left(line):
    found = read_line(line)
    assert found is None or read_entry(found) is None  # random bytes are no message


def test_usage_is_written_as_the_format_has_it():
    entry = Entry(Role.ASSISTANT, "x", usage=Usage(1, 2, 3, 4, 1500))
    usage = json.loads(entry_line(entry))["message"]["usage"]
    assert usage == {"input": 1, "output": 2, "cacheRead": 3, "cacheWrite": 4, "totalTokens": 3, "cost": 0.0015}


def test_session_of_another_program_is_read(tmp_path):
    lines = [
        {"type": "session", "version": 1, "id": "s1", "timestamp": "x", "cwd": "/"},
        {"type": "message", "message": {"role": "system", "content": [{"type": "text", "text": "be nice"}]}},
        {"type": "message", "message": {"role": "user", "content": "plain", "timestamp": 5}},
        {
            "type": "message",
            "message": {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
        },
        {"type": "compaction", "summary": "?"},
        {
            "type": "message",
            "message": {"role": "toolResult", "toolCallId": "c", "content": [{"type": "text", "text": "r"}]},
        },
    ]
    (tmp_path / "s1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = loaded(tmp_path)
    assert found.warning == ""
    assert [(e.role, e.text) for e in found.entries] == [
        (Role.SYSTEM, "be nice"),
        (Role.USER, "plain"),
        (Role.USER, "[a picture]"),
        (Role.TOOL, "r"),
    ]
    assert found.entries[-1].label is not None
    assert found.entries[-1].label.integrity is Integrity.UNTRUSTED


def test_cut_at_every_byte_loses_nothing_that_was_whole(tmp_path):
    whole = written(tmp_path, *ENTRIES[:3]).read_bytes()
    lines = whole.splitlines(keepends=True)
    for size in range(len(whole)):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / "s1.jsonl").write_bytes(whole[:size])
        session = file(folder)
        found = session.load(resume=True)
        complete = sum(size >= sum(map(len, lines[: i + 1])) - 1 for i in range(len(lines)))
        assert len(found.entries) == max(0, complete - 1), size
        session.append(ENTRIES[4])
        session.sync()
        session.close()
        assert loaded(folder) == Loaded((*ENTRIES[: max(0, complete - 1)], ENTRIES[4]), "")
        torn = folder / "s1.jsonl.torn"
        kept = torn.read_bytes()[:-1] if torn.exists() else b""
        assert bool(kept) == bool(found.warning)
        assert whole[:size].endswith(kept)


def test_torn_line_is_set_aside_and_reported(tmp_path):
    path = written(tmp_path, *ENTRIES)
    with path.open("ab") as out:
        out.write(b'{"type":"message","mess')
    found = loaded(tmp_path)
    assert found.entries == ENTRIES
    assert "torn (23 bytes)" in found.warning
    assert (tmp_path / "s1.jsonl.torn").read_bytes() == b'{"type":"message","mess\n'
    assert loaded(tmp_path).warning == ""


def test_broken_line_in_the_middle_is_skipped_and_stays(tmp_path):
    path = written(tmp_path, *ENTRIES)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"garbage\n", *lines[2:]]))
    found = loaded(tmp_path)
    assert found.entries == ENTRIES
    assert "1 lines" in found.warning
    assert b"garbage\n" in path.read_bytes()


class FullDisk(OsDisk):
    """Takes `room` bytes, then is full."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, fd: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = os.write(fd, data[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("room", [0, 10, 150, 200, 300, 500, 700])
def test_full_disk_goes_on_in_memory_and_is_written_when_there_is_room(tmp_path, room):
    disk = FullDisk(room)
    session = file(tmp_path, disk)
    for entry in ENTRIES:
        session.append(entry)
    session.sync()
    assert "disk is full" in session.trouble
    path = tmp_path / "s1.jsonl"
    assert not path.exists() or path.read_bytes().endswith(b"}\n")
    disk.room = 10**6
    session.sync()
    assert session.trouble == ""
    session.close()
    assert loaded(tmp_path) == Loaded(ENTRIES, "")


def test_folder_that_cannot_be_written(tmp_path):
    session = file(tmp_path / "missing")
    session.append(ENTRIES[0])
    assert "goes on in memory" in session.trouble


def test_file_appears_with_the_first_message(tmp_path):
    session = file(tmp_path)
    assert session.load(resume=True) == Loaded((), "")
    session.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a" * 129, "x\n", "é"])
def test_ids_are_plain(tmp_path, name):
    with pytest.raises(BadSessionId):
        file(tmp_path, name=name)


def test_second_program_is_told(tmp_path):
    first = file(tmp_path)
    first.append(ENTRIES[0])
    with pytest.raises(SessionBusy):
        loaded(tmp_path)
    first.close()
    assert loaded(tmp_path).entries == ENTRIES[:1]


def test_new_session_does_not_write_into_an_old_one(tmp_path):
    written(tmp_path, ENTRIES[0])
    with pytest.raises(SessionExists):
        file(tmp_path).load(resume=False)


@pytest.mark.parametrize(
    "header",
    ['{"type":"session","version":2,"id":"s1"}', '{"type":"session","version":1,"id":"other"}', '{"a":1}'],
)
def test_file_of_another_format_is_refused_and_not_touched(tmp_path, header):
    path = tmp_path / "s1.jsonl"
    path.write_text(header + "\n")
    with pytest.raises(SessionUnreadable):
        loaded(tmp_path)
    assert path.read_text() == header + "\n"


def test_link_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "target").write_text("")
    (tmp_path / "s1.jsonl").symlink_to(tmp_path / "target")
    with pytest.raises(SessionUnreadable):
        loaded(tmp_path)


def test_mode_of_an_old_file_is_tightened(tmp_path):
    path = written(tmp_path, ENTRIES[0])
    path.chmod(0o644)
    loaded(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
