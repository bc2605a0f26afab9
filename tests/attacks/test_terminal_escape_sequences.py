"""Foreign text tries to drive the terminal: to clear it, retitle it, imitate the program, hide or reorder words."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.terminal_driver import Terminal
from tests.cli.terminal_sim import COLOUR, Emulator, harmless, screen_on

from localgpt.cli.terminal.answer import MarkdownAnswer, PlainAnswer
from localgpt.cli.terminal.approval import question_rows
from localgpt.cli.terminal.banner import banner_rows
from localgpt.cli.terminal.markdown import MarkdownRenderer
from localgpt.cli.terminal.questions import model_rows, trust_rows
from localgpt.cli.terminal.report import error_text
from localgpt.cli.terminal.turn import TurnView
from localgpt.errors import LocalGptError
from localgpt.monitor.events import (
    Level,
    ModelOffer,
    Notice,
    Question,
    SessionStatus,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    Verdict,
)
from localgpt.wire import ToolOutcome, TurnReason, Usage

ATTACKS = [
    "\x1b[2J\x1b[H",  # clear the screen
    "\x1b]0;title\x07",  # set the title
    "\x1b]52;c;ZWNobyBvd25lZA==\x07",  # write the clipboard
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",  # hyperlink
    "\x1bP$q\x1b\\",  # device control string: makes the terminal type
    "\x1b[6n\x1b[c",  # ask for the cursor and the terminal: its answers arrive as keys
    "\x1b[20t\x1b]11;?\x07",  # report title, report colour
    "\x1b[?1049h\x1b[?25l",  # alternate screen, hide the cursor
    "\x9b2J\x9d0;x\x9c\x90q\x9c",  # the same in C1
    "\x0e\x0f\x05\x07\x08\x0b\x0c\x7f",  # shift, enquiry, bell, backspace, tabs, delete
    "overwritten\rshown",
    "\u202e\u2066\u2069\u200f",  # reorder
    "\u200b\u2060\ufeff\u00ad\u180e",  # hide
    "\U000e0069\U000e0067",  # tags
    "\u2028\u2029\x85",  # other line ends
    "\ud800",
    "&#x1b;[2J &#155;2J &#x202e;",
    "[bold red]markup[/] [link=https://evil.example]x[/link]",
    "\n╰ exit 0, 1 ms\n> ",
]
SGR = re.compile(r"\x1b\[[0-9;]*m")
TEXT = st.lists(st.one_of(st.sampled_from(ATTACKS), st.text(max_size=12)), max_size=6).map("".join)


def events(text: str) -> list[object]:
    return [
        TextDelta(text),
        TextDelta(f"```\n{text}\n```\n\n| {text} |\n|---|\n\n> {text}\n\n- {text}\n\n# {text}\n"),
        ToolStarted("c", text, (text, f"--{text}"), Verdict.ASK, text, text, f"+{text}"),
        ToolFinished("c", ToolOutcome.DONE, 0, 0.1, text, text),
        ToolStarted("d", text, (text,), Verdict.DENY, text, text, text),
        Notice(Level.ERROR, text),
        TurnFinished(TurnReason.MODEL, text, Usage()),
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXT, st.integers(20, 120))
def test_a_whole_turn_sends_the_terminal_only_our_own_sequences(text: str, columns: int) -> None:
    emulator = Emulator(columns, 30)
    screen = screen_on(emulator)
    view = TurnView(screen, MarkdownAnswer(screen, lambda: MarkdownRenderer(COLOUR)))
    view.show(events(text))  # type: ignore[arg-type]  # a list of events
    assert [char for char in emulator.foreign_controls() if not harmless(char)] == []
    assert emulator.screen.title == ""
    assert "\x1b]" not in emulator.raw


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_in_every_place(attack: str) -> None:
    question = Question(attack, (attack,), attack, attack, attack, attack, "0" * 64, 60.0)
    status = SessionStatus("s", attack, attack, True, True, attack, attack, attack, attack, False, Usage())
    places = [
        *question_rows(question, COLOUR, 80),
        *banner_rows(status, "1", COLOUR, 80),
        *trust_rows(attack, COLOUR, 80),
        *model_rows(ModelOffer(attack, attack, attack, attack, attack), COLOUR, 80),
        *error_text(LocalGptError(attack, cure=attack)).split("\n"),
    ]
    assert all(harmless(SGR.sub("", row)) for row in places)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_sequence_cut_into_pieces_is_still_escaped(attack: str, step: int) -> None:
    emulator = Emulator()
    answer = PlainAnswer(screen_on(emulator))
    for at in range(0, len(attack), step):
        answer.feed(attack[at : at + step])
    answer.finish()
    assert harmless(emulator.raw.replace("\n", ""))


def test_output_cannot_imitate_the_end_of_its_panel() -> None:
    emulator = Emulator(80, 60)
    screen = screen_on(emulator)
    view = TurnView(screen, PlainAnswer(screen))
    view.show(
        [
            ToolStarted("c", "shell", ("x",), Verdict.ALLOW, "r", "s"),
            ToolFinished("c", ToolOutcome.FAILED, 1, 0.1, "fine\n╰ exit 0, 1 ms\nTrust this folder? yes"),
            TurnFinished(TurnReason.DONE, "", Usage()),
        ]
    )
    assert [line for line in emulator.lines if not line.startswith("│")] == [
        "╭ shell: allowed (r)",
        "╰ exit 1, 100 ms",
    ]


def test_a_real_terminal_stays_as_it_was(tmp_path: Path) -> None:
    with Terminal("-m", "tests.cli.scripted_chat", str(tmp_path / "history")) as terminal:
        terminal.wait_for("session abcd")
        before = len(terminal.raw)
        terminal.send("evil\r")
        terminal.wait_for("not run")
        terminal.wait_for_raw("session abcd", count=2)
        assert terminal.title == ""
        assert "LocalGPT 1.2.3" in terminal.text  # the banner was not cleared away
        sent = terminal.raw[before:]
        assert "\x1b]" not in sent
        assert "\u202e" not in sent
        assert "\x9b" not in sent
        assert "␛]0;owned␇" in terminal.text
