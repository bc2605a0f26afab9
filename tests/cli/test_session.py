"""`localgpt session`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from localgpt.agent.entries import Entry, entry_line, header_line
from localgpt.wire import Confidentiality, Integrity, Label, Role, ToolCall
from tests.cli.command import Home, home

__all__ = ["home"]


def write(home: Home, session_id: str, *entries: Entry, when: int = 0) -> Path:
    folder = home.state / "agents/main/sessions"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{session_id}.jsonl"
    file.write_bytes(header_line(session_id, "/p", 0) + b"".join(map(entry_line, entries)))
    os.utime(file, (when, when))
    return file


@pytest.fixture
def talked(home):
    tool = Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, "shell")
    write(
        home,
        "aaa-1",
        Entry(Role.USER, "first  question\nwith a second line"),
        Entry(Role.ASSISTANT, "answer"),
        when=1000,
    )
    write(
        home,
        "aab-2",
        Entry(Role.USER, "evil \x1b[31m title"),
        Entry(Role.ASSISTANT, "", tool_calls=(ToolCall("c", "shell", '{"command": "ls"}'),), model="m"),
        Entry(Role.TOOL, "out\x1b]0;x\x07", tool_call_id="c", label=tool, notice="exit status 0"),
        Entry(Role.USER, "attached", label=tool, name="file.txt"),
        Entry(Role.USER, "second"),
        when=2000,
    )
    return home


def test_none(home):
    assert home.ok("session", "list").out == "no sessions yet\n"
    assert home.ok("session", "list", "--json").json == []


def test_newest_first_with_turns_and_title(talked):
    rows = talked.ok("session", "list", "--json").json
    assert [(r["session_id"], r["turns"]) for r in rows] == [("aab-2", 2), ("aaa-1", 1)]
    assert rows[1]["title"] == "first question with a second line"
    out = talked.ok("session", "list", "--limit", "1").out
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert "1970-01-01 00:33" in out


def test_show_escapes_everything(talked):
    out = talked.ok("session", "show", "aab").out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert 'calls shell {"command": "ls"}' in out
    assert "[exit status 0]" in out


def test_show_as_json_lines(talked):
    lines = [json.loads(line) for line in talked.ok("session", "show", "aab-2", "--json").out.splitlines()]
    assert [line["role"] for line in lines] == ["user", "assistant", "tool", "user", "user"]
    assert lines[2]["integrity"] == "untrusted"
    assert lines[2]["text"] == "out\x1b]0;x\x07"


@pytest.mark.parametrize("session", ["nope", "aa", "../../../x", ""])
def test_an_id_that_names_no_one_session(talked, session):
    result = talked.run("session", "show", session)
    assert (result.status, "cure: localgpt session list" in result.err) == (2, True)


def test_damage_is_named_and_hides_no_other_session(talked):
    write(talked, "bad").write_text("not a session\n")
    write(talked, "torn", Entry(Role.USER, "whole")).open("ab").write(b'{"type": "mess')
    rows = {r["session_id"]: r for r in talked.ok("session", "list", "--json").json}
    assert rows["bad"]["fault"]
    assert (rows["torn"]["turns"], rows["torn"]["fault"]) == (1, "")
    assert rows["aaa-1"]["turns"] == 1
    assert talked.run("session", "show", "bad").status == 1


def test_agents_have_their_own(talked):
    assert talked.ok("--agent", "other", "session", "list").out == "no sessions yet\n"
