"""An answer counts for exactly one call."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localgpt.monitor.approval import MAX_QUESTIONS, Approvals, ExactCall
from localgpt.monitor.events import Answer, Choice, Question


class Scripted:
    """A user who answers from a list and may do something while thinking."""

    def __init__(self, *choices: Choice, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.choices = list(choices)
        self.asked: list[Question] = []
        self.meanwhile = meanwhile

    def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        self.meanwhile()
        return Answer(self.choices.pop(0))


def call(cwd: Path, *argv: str) -> ExactCall:
    return ExactCall("shell", argv or ("sh", "-c", "true"), str(cwd), (("A", "b"),), "plan", b"")


def ask(approvals: Approvals, exact: ExactCall) -> Choice:
    return approvals.ask(exact, code="c", sentence="s", diff="").choice


def test_once_counts_once(tmp_path: Path):
    user = Scripted(Choice.ONCE, Choice.DENY)
    approvals = Approvals(user)
    assert ask(approvals, call(tmp_path)) is Choice.ONCE
    assert ask(approvals, call(tmp_path)) is Choice.DENY
    assert len(user.asked) == 2


def test_session_counts_for_the_same_call(tmp_path: Path):
    user = Scripted(Choice.SESSION)
    approvals = Approvals(user)
    assert ask(approvals, call(tmp_path)) is Choice.SESSION
    assert ask(approvals, call(tmp_path)) is Choice.SESSION
    assert len(user.asked) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"tool": "x"},
        {"argv": ("sh", "-c", "false")},
        {"cwd": "/"},
        {"env": ()},
        {"plan_digest": "wider"},
        {"content": b"other"},
    ],
)
def test_any_other_part_makes_it_another_call(tmp_path: Path, change: dict[str, Any]):
    assert replace(call(tmp_path), **change).digest() != call(tmp_path).digest()


def test_words_do_not_run_together(tmp_path: Path):
    assert call(tmp_path, "a", "b c").digest() != call(tmp_path, "a b", "c").digest()


@pytest.mark.parametrize("words", [("sh", "x.sh"), ("sh", "-c", "sh ./x.sh && true"), ("sh", "-c", "'x.sh")])
def test_a_script_that_changes_before_the_answer_is_denied(tmp_path: Path, words: tuple[str, ...]):
    script = tmp_path / "x.sh"
    script.write_text("echo good")
    if words[-1].startswith("'"):  # not a shell word list; still found when it stands alone
        words = ("sh", "x.sh")
    user = Scripted(Choice.ONCE, meanwhile=lambda: script.write_text("echo evil"))
    assert ask(Approvals(user), call(tmp_path, *words)) is Choice.DENY


def test_a_file_outside_the_folder_or_no_file_at_all_is_not_read(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")  # opening it would wait for a writer
    (tmp_path / "link").symlink_to("/proc/kmsg")
    assert call(tmp_path, "cat", "fifo", "link", "/proc/kmsg", "/dev/zero", "..", "").digest()


def test_a_script_that_changes_after_a_session_answer_asks_again(tmp_path: Path):
    script = tmp_path / "x.sh"
    script.write_text("1")
    user = Scripted(Choice.SESSION, Choice.DENY)
    approvals = Approvals(user)
    exact = call(tmp_path, "sh", "x.sh")
    assert ask(approvals, exact) is Choice.SESSION
    script.write_text("2")
    assert ask(approvals, exact) is Choice.DENY


def test_a_flood_of_questions_gets_no_answers_until_the_next_turn(tmp_path: Path):
    user = Scripted(*[Choice.DENY] * (MAX_QUESTIONS + 1))
    approvals = Approvals(user)
    for number in range(MAX_QUESTIONS + 5):
        ask(approvals, call(tmp_path, str(number)))
    assert len(user.asked) == MAX_QUESTIONS
    approvals.new_turn()
    ask(approvals, call(tmp_path, "again"))
    assert len(user.asked) == MAX_QUESTIONS + 1


def test_odd_words_have_a_digest(tmp_path: Path):
    assert call(tmp_path, "\ud800", "a\x00b", "x" * 100_000, "", ".", "/dev/zero").digest()
