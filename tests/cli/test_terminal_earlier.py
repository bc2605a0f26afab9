"""The list of earlier sessions: newest first, this folder's only when asked, and nothing in a file can break it."""

import os
from pathlib import Path

from localgpt.agent.entries import Entry, entry_line, header_line
from localgpt.cli.terminal.earlier import earlier_sessions
from localgpt.wire import Confidentiality, Integrity, Label, Role


def session(directory: Path, name: str, project: str, *entries: Entry, age_s: int = 0) -> None:
    path = directory / f"{name}.jsonl"
    path.write_bytes(header_line(name, project, 0) + b"".join(map(entry_line, entries)))
    os.utime(path, (1_700_000_000 - age_s,) * 2)


def test_newest_first_with_the_first_question(tmp_path: Path) -> None:
    paste = Entry(Role.USER, "pasted", label=Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, "paste"))
    session(tmp_path, "old", "/a", Entry(Role.USER, "first words"), Entry(Role.USER, "second"), age_s=50)
    session(tmp_path, "new", "/b", paste, Entry(Role.USER, "a question\x1b"))
    found = earlier_sessions(tmp_path)
    assert [(entry.session_id, entry.project, entry.title) for entry in found] == [
        ("new", "/b", "a question\x1b"),
        ("old", "/a", "first words"),
    ]


def test_only_this_folder(tmp_path: Path) -> None:
    session(tmp_path, "one", "/a")
    session(tmp_path, "two", "/b")
    assert [entry.session_id for entry in earlier_sessions(tmp_path, Path("/b"))] == ["two"]


def test_what_is_no_session_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "broken.jsonl").write_bytes(b"\xff\xfe{\n" * 10)
    (tmp_path / "other.jsonl").write_bytes(b'{"type":"message"}\n')
    (tmp_path / "number.jsonl").write_bytes(b"7\n")
    (tmp_path / "link.jsonl").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "notes.txt").touch()
    session(tmp_path, "good", "/a")
    assert [entry.session_id for entry in earlier_sessions(tmp_path)] == ["good"]


def test_a_folder_that_is_not_there_has_no_sessions(tmp_path: Path) -> None:
    assert earlier_sessions(tmp_path / "missing") == []
