"""Trust and model questions: no by default, and nothing typed earlier says yes."""

import pytest

from localgpt.cli.terminal.questions import (
    DecliningConfirmer,
    TerminalConfirmer,
    ask_model,
    ask_sign,
    ask_trust,
    model_rows,
    trust_rows,
)
from tests.cli.terminal_sim import MONO, OFFER, Emulator, SimClock, SimKeyboard, screen_on


@pytest.mark.parametrize(
    ("keys", "trusted"),
    [
        ([(1.0, "y")], True),
        ([(1.0, "n")], False),
        ([(1.0, "\r")], False),
        ([(0.1, "y")], False),
        ([(1.0, "yy")], False),
        ([(1.0, None)], False),
        ([], False),
    ],
)
def test_trust_is_given_by_one_deliberate_key(keys: list[tuple[float, str | None]], trusted: bool) -> None:
    clock, emulator = SimClock(), Emulator()
    assert ask_trust("/home/ann/work", screen_on(emulator, MONO), SimKeyboard(clock, *keys), clock) is trusted
    assert emulator.lines[-1] == ("yes" if trusted else "no")


@pytest.mark.parametrize(
    ("keys", "signed"),
    [
        ([(1.0, "y")], True),
        ([(1.0, "\r")], True),
        ([(1.0, "n")], False),
        ([(0.1, "\r")], False),
        ([(1.0, "\x1b")], False),
        ([(1.0, "\x03")], False),
        ([(1.0, None)], False),
        ([], False),
    ],
)
def test_the_shipped_starter_is_signed_by_one_key_and_never_by_silence(
    keys: list[tuple[float, str | None]], signed: bool
) -> None:
    clock, emulator = SimClock(), Emulator()
    assert ask_sign("/w/LocalGPT.md", "ab" * 32, screen_on(emulator, MONO), SimKeyboard(clock, *keys), clock) is signed
    assert emulator.lines[-1].startswith("yes" if signed else "no")


def test_the_folder_is_shown_exactly() -> None:
    text = "\n".join(trust_rows("/home/ann/\u202ekrow\x1b[2K", MONO, 80))
    assert "$'/home/ann/\\u202ekrow\\x1b[2K'" in text


def test_a_path_that_does_not_fit_cannot_be_trusted() -> None:
    clock, emulator = SimClock(), Emulator(40, 10)
    keyboard = SimKeyboard(clock, (1.0, "y"), (2.0, "y"))
    assert not ask_trust("/x" * 500, screen_on(emulator, MONO), keyboard, clock)


def test_the_model_question_names_host_model_and_what_is_sent() -> None:
    text = "\n".join(model_rows(OFFER, MONO, 80))
    for part in ("llama3.2:latest", "127.0.0.1:11434", "ollama", "uid 1000", "your questions"):
        assert part in text


def test_a_model_is_taken_by_one_deliberate_key() -> None:
    clock, emulator = SimClock(), Emulator()
    assert ask_model(OFFER, screen_on(emulator, MONO), SimKeyboard(clock, (1.0, "y")), clock)
    assert not ask_model(OFFER, screen_on(emulator, MONO), SimKeyboard(clock, (1.0, "\r")), clock)


def test_confirmers() -> None:
    assert not DecliningConfirmer().confirm_model(OFFER)
    clock = SimClock()
    keyboard = SimKeyboard(clock, (1.0, "y"), (2.0, None))
    confirmer = TerminalConfirmer(screen_on(Emulator(), MONO), keyboard, clock)
    assert confirmer.confirm_model(OFFER)
    assert not confirmer.confirm_model(OFFER)
