"""Slash commands."""

from dataclasses import replace

import pytest

from localgpt.cli.terminal.session import SessionSummary
from localgpt.errors import ExitStatus, ModelError, SandboxError
from tests.cli.terminal_sim import DONE, STATUS, ScriptedSession, ScriptedSessions
from tests.cli.test_chat_loop import DENIED, Ran

SUMMARY = SessionSummary("20260101-000000-aaaa", "2026-01-01 00:00", "/home/ann/work", "fix the \x1b[31mbug")


def test_help_lists_every_command_once() -> None:
    text = Ran("/help").text
    for name in (
        "/status",
        "/why",
        "/tools",
        "/model",
        "/models",
        "/new",
        "/sessions",
        "/resume",
        "/clear",
        "/quit",
        "!COMMAND",
    ):
        assert name in text
    assert text.count("/quit") == 1


@pytest.mark.parametrize("leave", ["/quit", "/exit", "/QUIT", "/q"])
def test_quit(leave: str) -> None:
    session = ScriptedSession()
    ran = Ran(leave, "not heard", session=session)
    assert session.heard == []
    assert session.closed
    assert ran.status is ExitStatus.DONE


@pytest.mark.parametrize(
    ("typed", "hint"), [("/modle", "/model"), ("/hepl", "/help"), ("/quti", "/quit"), ("/zzzzz", "/help lists")]
)
def test_an_unknown_command_names_the_nearest(typed: str, hint: str) -> None:
    session = ScriptedSession()
    assert hint in Ran(typed, session=session).text
    assert session.heard == []


def test_tools() -> None:
    session = ScriptedSession()
    ran = Ran("/tools", "/tools on", "/tools off", "/tools on", session=session)
    assert ran.lines == [
        "tools are off; /tools on, /tools off",
        "tools are on",
        "tools are off",
        "tools are on",
    ]


def test_tools_on_while_effects_are_off_says_so() -> None:
    session = ScriptedSession(state=replace(STATUS, effects_off="no Landlock in this kernel"))
    assert "but effects are off: no Landlock" in Ran("/tools on", session=session).text


def test_a_refusal_is_shown_with_its_cure() -> None:
    session = ScriptedSession(refuses=SandboxError("effects are off", cure="localgpt doctor"))
    assert Ran("/tools on", session=session).lines == ["error: effects are off", "cure: localgpt doctor"]


def test_model() -> None:
    session = ScriptedSession()
    assert Ran("/model", "/model big", session=session).lines == [
        "model: smollm2 (embedded)",
        "model: big (embedded)",
    ]
    refusing = ScriptedSession(refuses=ModelError("no model 'x'", cure="localgpt models list"))
    assert "cure: localgpt models list" in Ran("/model x", session=refusing).text


def test_models_marks_the_current_one() -> None:
    assert Ran("/models").lines == ["* smollm2", "  big"]


def test_why_tells_the_last_decision() -> None:
    assert "nothing has been decided" in Ran("/why").text
    text = Ran("x", "/why", session=ScriptedSession(turns=[[*DENIED, DONE]])).text
    assert "shell: deny (rule.secret)" in text


def test_status_repeats_the_banner() -> None:
    text = Ran("/status").text
    assert "policy: valid" in text
    assert "1.2k in 56 out" in text


def test_new_closes_the_old_session() -> None:
    old, new = ScriptedSession(), ScriptedSession(state=replace(STATUS, session_id="fresh"))
    ran = Ran("/new", "hello", session=old, sessions=ScriptedSessions(fresh=[new]))
    assert "new session fresh" in ran.text
    assert old.closed
    assert new.heard == [("hello", ())]


def test_a_session_that_cannot_be_opened_leaves_the_old_one() -> None:
    old = ScriptedSession()
    ran = Ran("/new", "hello", session=old)
    assert "error: no such session" in ran.text
    assert old.heard == [("hello", ())]


def test_sessions_and_resume() -> None:
    new = ScriptedSession(state=replace(STATUS, session_id=SUMMARY.session_id))
    sessions = ScriptedSessions(fresh=[new], known=[SUMMARY, replace(SUMMARY, session_id="20260101-11")])
    ran = Ran("/sessions", "/resume", "/resume 2026", "/resume 20260101-0", sessions=sessions)
    assert "fix the ␛[31mbug" in ran.text
    assert "which one?" in ran.text
    assert "2 sessions begin with 2026" in ran.text
    assert sessions.opened == [SUMMARY.session_id]


def test_no_sessions() -> None:
    assert Ran("/sessions").text == "no earlier sessions"


def test_clear() -> None:
    assert Ran("/status", "/clear").text == ""


def test_multiline() -> None:
    ran = Ran("/multiline", "/multiline")
    assert ran.lines == ["Alt-Enter sends, Enter begins a new line", "Enter sends"]


def test_the_session_one_is_in_is_not_opened_again() -> None:
    here = replace(SUMMARY, session_id=STATUS.session_id)
    sessions = ScriptedSessions(known=[here])
    assert Ran(f"/resume {STATUS.session_id}", sessions=sessions).text == "this is the session you are in"
    assert sessions.opened == []


def test_models_marks_the_current_one_by_its_whole_name() -> None:
    sessions = ScriptedSessions(names=("embedded/smollm2", "ollama/x"))
    assert Ran("/models", sessions=sessions).lines == ["* embedded/smollm2", "  ollama/x"]
