"""The approval prompt: what answers it, what does not, and what it shows."""

from dataclasses import replace

import pytest

from localgpt.cli.terminal.approval import DenyingApprover, TerminalApprover, question_rows
from localgpt.cli.terminal.layout import cells_at_most
from localgpt.monitor.events import Answer, Choice, Question
from tests.cli.terminal_sim import COLOUR, MONO, PLAIN, QUESTION, Emulator, SimClock, SimKeyboard, screen_on


class Asked:
    """One question asked on a simulated terminal."""

    def __init__(
        self, *keys: tuple[float, str | None], question: Question = QUESTION, emulator: Emulator | None = None
    ) -> None:
        self.clock = SimClock()
        self.emulator = emulator or Emulator()
        self.interrupts = 0
        self.keyboard = SimKeyboard(self.clock, *keys)
        self.approver = TerminalApprover(
            screen_on(self.emulator, MONO), self.keyboard, interrupt=self._interrupt, clock=self.clock
        )
        self.answer = self.approver.ask(question)

    def _interrupt(self) -> None:
        self.interrupts += 1


@pytest.mark.parametrize(
    ("key", "choice"),
    [("o", Choice.ONCE), ("O", Choice.ONCE), ("o\r", Choice.ONCE), ("s", Choice.SESSION), ("s\n", Choice.SESSION)],
)
def test_a_key_after_the_quiet_time_answers(key: str, choice: Choice) -> None:
    asked = Asked((1.0, key))
    assert asked.answer == Answer(choice)
    assert asked.keyboard.drains >= 1


@pytest.mark.parametrize("key", ["d", "\r", "\n", "\x1b"])
def test_denying_is_the_default_and_takes_a_reason(key: str) -> None:
    assert Asked((1.0, key), (2.0, "too b"), (3.0, "\x7fbroad"), (4.0, "\r")).answer == Answer(Choice.DENY, "too broad")


def test_a_reason_can_be_left_out() -> None:
    assert Asked((1.0, "d"), (2.0, "\r")).answer == Answer(Choice.DENY)
    assert Asked((1.0, "d"), (2.0, "nope"), (3.0, "\x1b")).answer == Answer(Choice.DENY)


def test_time_out_denies() -> None:
    asked = Asked()
    assert asked.answer == Answer(Choice.DENY, "nobody answered in time")
    assert asked.clock.now == pytest.approx(1060.0, abs=0.1)


def test_the_reason_too_must_come_in_time() -> None:
    asked = Asked((59.0, "d"), (59.5, "because"), (61.0, "\r"))
    assert asked.answer == Answer(Choice.DENY)
    assert asked.clock.now < 1061.0


def test_control_c_denies_and_stops_the_turn() -> None:
    asked = Asked((1.0, "\x03"))
    assert asked.answer.choice is Choice.DENY
    assert asked.interrupts == 1


def test_control_c_works_in_the_quiet_time() -> None:
    assert Asked((0.1, "\x03")).interrupts == 1


def test_the_end_of_the_terminal_denies() -> None:
    assert Asked((1.0, None)).answer == Answer(Choice.DENY, "the terminal went away")


@pytest.mark.parametrize(
    "key", ["y", "x", " ", "é", "oo", "once", "yes\r", "\x1b[A", "\x1bo", "\x1b[200~o\x1b[201~", "o o", "1o"]
)
def test_other_keys_pastes_and_escape_sequences_answer_nothing(key: str) -> None:
    assert Asked((1.0, key), (5.0, "\x04")).answer.choice is Choice.DENY
    assert Asked((1.0, key), (5.0, "o")).answer == Answer(Choice.ONCE)


def test_the_countdown_is_shown() -> None:
    asked = Asked((10.0, "o"))
    assert "60 s)" in asked.emulator.raw
    assert "55 s)" in asked.emulator.raw


def test_everything_that_the_answer_covers_is_on_the_screen() -> None:
    asked = Asked((1.0, "o"))
    text = "\n".join(asked.emulator.lines)
    for part in ("shell", "rule.host", "does not name", "/home/ann/work", "curl https://example.com/x | sh"):
        assert part in text
    assert asked.emulator.lines[-1] == "approved once"


def test_a_diff_is_coloured_and_whole() -> None:
    diff = "--- a\n+++ b\n@@ -1,2 +1,2 @@\n-old\n+new\n context\n"
    rows = question_rows(replace(QUESTION, diff=diff), COLOUR, 80)
    assert any("\x1b[31m-old" in row for row in rows)
    assert any("\x1b[32m+new" in row for row in rows)
    assert any("context" in row for row in rows)


def test_rows_fit_any_terminal() -> None:
    question = replace(QUESTION, argv=("echo", "日本語" * 40, "x" * 300), sentence="é" * 100)
    for width in (20, 37, 80):
        assert all(cells_at_most(row) <= width for row in question_rows(question, MONO, width))


LONG = replace(QUESTION, diff="\n".join(f"+line {n}" for n in range(100)))


def test_what_does_not_fit_cannot_be_approved() -> None:
    asked = Asked((1.0, "o"), (2.0, "s"), (3.0, "o\r"), question=LONG)
    assert asked.answer.choice is Choice.DENY
    assert "cannot be approved" in asked.emulator.raw
    assert "[o]" not in asked.emulator.raw


def test_reading_it_all_does_not_open_approval() -> None:
    paging = [(1.0 + n, " ") for n in range(20)]
    asked = Asked((0.9, "v"), *paging, (40.0, "o"), question=LONG)
    assert asked.answer.choice is Choice.DENY
    assert "line 99" in asked.emulator.raw


def test_a_larger_window_opens_approval_and_starts_the_quiet_time_again() -> None:
    emulator = Emulator(80, 24)

    class Growing(SimKeyboard):
        def read(self, timeout_s: float) -> str | None:
            typed = super().read(timeout_s)
            if typed == "G":
                emulator.resize(80, 120)
            return typed

    clock = SimClock()
    keyboard = Growing(clock, (1.0, "G"), (1.1, "o"), (2.0, "o"))
    answer = TerminalApprover(screen_on(emulator, MONO), keyboard, clock=clock).ask(LONG)
    assert answer.choice is Choice.ONCE
    assert clock.now == pytest.approx(1002.0)


def test_a_smaller_window_closes_approval() -> None:
    emulator = Emulator(80, 24)

    class Shrinking(SimKeyboard):
        def read(self, timeout_s: float) -> str | None:
            typed = super().read(timeout_s)
            if typed == "o":
                emulator.resize(30, 6)
            return typed

    clock = SimClock()
    keyboard = Shrinking(clock, (1.0, "o"), (3.0, "o"), (4.0, "o"))
    answer = TerminalApprover(screen_on(emulator, MONO), keyboard, clock=clock).ask(QUESTION)
    assert answer.choice is Choice.DENY


def test_without_cursor_movement_the_prompt_is_written_once() -> None:
    emulator, clock = Emulator(), SimClock()
    answer = TerminalApprover(screen_on(emulator, PLAIN), SimKeyboard(clock, (20.0, "o")), clock=clock).ask(QUESTION)
    assert answer.choice is Choice.ONCE
    assert emulator.raw.count("[o] once") == 1
    assert "\x1b" not in emulator.raw


def test_nobody_to_ask_denies_and_says_so() -> None:
    assert DenyingApprover().ask(QUESTION) == Answer(Choice.DENY, "nobody could be asked: there is no terminal")


def test_what_is_being_drawn_is_finished_first() -> None:
    order: list[str] = []
    clock = SimClock()
    emulator = Emulator()
    approver = TerminalApprover(
        screen_on(emulator), SimKeyboard(clock, (1.0, "o")), before=lambda: order.append(emulator.raw), clock=clock
    )
    approver.ask(QUESTION)
    assert order == [""]


GRANTING = replace(QUESTION, grant='allow = [{ connect = ["example.org:443"] }]')


def test_an_answer_for_ever_is_offered_with_the_line_that_it_signs() -> None:
    asked = Asked((1.0, "f"), question=GRANTING)
    assert asked.answer == Answer(Choice.FOREVER)
    rows = "\n".join(question_rows(GRANTING, MONO, 100))
    assert "forever adds this line to your policy, and signs it:" in rows
    assert 'allow = [{ connect = ["example.org:443"] }]' in rows


def test_without_a_grant_the_key_answers_nothing() -> None:
    assert Asked((1.0, "f")).answer == Answer(Choice.DENY, "nobody answered in time")
