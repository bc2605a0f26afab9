"""The chat in a real terminal: keys, pastes, history, Ctrl-C, approval."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminal_driver import Terminal

READY = "session abcd"  # the end of the status line: the editor is waiting for keys


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture
def terminal(history: Path) -> Iterator[Terminal]:
    with Terminal("-m", "tests.cli.scripted_chat", str(history)) as terminal:
        terminal.wait_for(READY)
        yield terminal


def test_a_line_is_heard_and_answered(terminal: Terminal) -> None:
    terminal.send("hello\r")
    terminal.wait_for("heard 'hello'")
    terminal.wait_for_raw(READY, count=2)
    terminal.send("\x04")
    assert terminal.wait_for_end() == 0
    assert "saved; localgpt chat --continue" in terminal.text


def test_the_status_line_tells_model_policy_and_rung(terminal: Terminal) -> None:
    assert any("smollm2 │ tools off │ policy valid │ rung A" in line for line in terminal.lines)


@pytest.mark.parametrize("new_line", ["\x1b\r", "\\\r"])
def test_two_ways_to_a_second_line(terminal: Terminal, new_line: str) -> None:
    terminal.send(f"one{new_line}two\r")
    terminal.wait_for("heard 'one\\ntwo'")


def test_a_long_paste_becomes_an_attachment(terminal: Terminal) -> None:
    terminal.send("\x1b[200~" + "secret line\r" * 120 + "\x1b[201~")
    terminal.wait_for("[pasted 120 lines]")
    terminal.send(" explain\r")
    terminal.wait_for("heard '[pasted 120 lines] explain'")
    terminal.wait_for("beside it pasted 120 lines: 1440 characters")
    assert "secret line" not in terminal.text


def test_a_short_paste_is_typed_text(terminal: Terminal) -> None:
    terminal.send("\x1b[200~ls\rpwd\x1b[201~")
    terminal.wait_for("pwd")
    terminal.send("\r")
    terminal.wait_for("heard 'ls\\npwd'")


def test_a_paste_with_escape_sequences_never_reaches_the_terminal(terminal: Terminal) -> None:
    terminal.send("\x1b[200~ls \u202eevil\x1b[201~")
    terminal.wait_for("[pasted 1 line]")
    assert "\u202e" not in terminal.raw


def test_control_c_stops_the_turn_and_not_the_program(terminal: Terminal) -> None:
    terminal.send("long\r")
    terminal.wait_for("it begins")
    terminal.send("\x03")
    terminal.wait_for("stopped")
    terminal.wait_for_raw(READY, count=2)
    terminal.send("still here\r")
    terminal.wait_for("heard 'still here'")


def test_control_c_at_the_prompt_hints(terminal: Terminal) -> None:
    terminal.send("half a line\x03")
    terminal.wait_for("(Ctrl-D or /quit leaves)")
    terminal.wait_for_raw(READY, count=2)
    terminal.send("next\r")
    terminal.wait_for("heard 'next'")


def test_what_is_typed_during_a_turn_waits_for_the_next_prompt(terminal: Terminal) -> None:
    terminal.send("until a key\r")
    terminal.wait_for("it begins")
    terminal.send("typed ahead")
    terminal.wait_for("> typed ahead")
    assert "it begins and ends" in terminal.lines
    terminal.send("\r")
    terminal.wait_for("heard 'typed ahead'")


def test_history_is_kept_in_a_private_file(terminal: Terminal, history: Path) -> None:
    terminal.send("remember me\r")
    terminal.wait_for("heard 'remember me'")
    terminal.wait_for_raw(READY, count=2)
    terminal.send("\x04")
    terminal.wait_for_end()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "remember me" in history.read_text()
    with Terminal("-m", "tests.cli.scripted_chat", str(history)) as again:
        again.wait_for(READY)
        again.send("\x1b[A")
        again.wait_for("> remember me")
        again.send("\r")
        again.wait_for("heard 'remember me'")


def test_tab_completes_commands_and_files(terminal: Terminal) -> None:
    terminal.send("/multi")
    terminal.wait_for("let Enter begin")
    terminal.send("\t\r")
    terminal.wait_for("Alt-Enter sends")


def test_multiline_mode(terminal: Terminal) -> None:
    terminal.send("/multiline\r")
    terminal.wait_for("Alt-Enter sends")
    terminal.wait_for_raw(READY, count=2)
    terminal.send("one\rtwo\x1b\r")
    terminal.wait_for("heard 'one\\ntwo'")


def test_approval_once(terminal: Terminal) -> None:
    terminal.send("ask\r")
    terminal.wait_for_raw("59 s)")  # a second later: the quiet time is over
    terminal.send("o")
    terminal.wait_for("You said once")
    terminal.wait_for("exit 0, 10 ms")


def test_approval_denied_with_a_reason(terminal: Terminal) -> None:
    terminal.send("ask\r")
    terminal.wait_for_raw("59 s)")
    terminal.send("d")
    terminal.wait_for("why (goes to the model")
    terminal.send("not today\r")
    terminal.wait_for("You said deny: not today.")


def test_control_c_at_the_approval_stops_the_turn(terminal: Terminal) -> None:
    terminal.send("ask\r")
    terminal.wait_for("[o] once")
    terminal.send("\x03")
    terminal.wait_for("You said deny: the user stopped the turn.")


def test_the_terminal_hanging_up_ends_the_program(history: Path) -> None:
    with Terminal("-m", "tests.cli.scripted_chat", str(history)) as terminal:
        terminal.wait_for(READY)
        assert terminal.hang_up() != 0


def test_without_colours_there_are_none(history: Path) -> None:
    with Terminal("-m", "tests.cli.scripted_chat", str(history), environ={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for(READY)
        terminal.send("hello **you**\r")
        terminal.wait_for("heard 'hello you'")
        assert "\x1b[31m" not in terminal.raw
        assert "\x1b[36m" not in terminal.raw


@pytest.mark.parametrize("columns", [20, 40, 200])
def test_any_width(history: Path, columns: int) -> None:
    with Terminal("-m", "tests.cli.scripted_chat", str(history), columns=columns) as terminal:
        terminal.wait_for("\n>")
        terminal.send("hello\r")
        terminal.wait_for("heard 'hello'")
