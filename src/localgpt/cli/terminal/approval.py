"""The approval prompt: `Approver` for a terminal, and the one for no terminal.

Shown is everything that the answer is bound to and that a person can judge: tool, working directory, the rule that
asks, the exact argv, the whole diff. See `choose` for what makes an answer count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from localgpt.cli.terminal.argv import has_disguise, quote, show_argv_line
from localgpt.cli.terminal.choose import Chooser, Chosen, How, Option, read_line
from localgpt.cli.terminal.escape import escape, escape_line
from localgpt.cli.terminal.keys import Keyboard
from localgpt.cli.terminal.layout import clip
from localgpt.cli.terminal.panels import Edge
from localgpt.cli.terminal.screen import Ink, Looks, Screen
from localgpt.monitor.events import Answer, Choice, Question

NO_TERMINAL: Final = "nobody could be asked: there is no terminal"
_OPTIONS: Final = (Option("o", "once"), Option("s", "session"), Option("d", "deny", safe=True))
_WITH_GRANT: Final = (*_OPTIONS[:2], Option("f", "forever"), _OPTIONS[2])
_REASONS: Final = {
    How.TIME_OUT: "nobody answered in time",
    How.INTERRUPT: "the user stopped the turn",
    How.GONE: "the terminal went away",
    How.KEY: "",
    How.ESCAPE: "",
}


class DenyingApprover:
    """For runs without a terminal: denies everything, and the reason says why."""

    def ask(self, question: Question) -> Answer:  # noqa: ARG002 -- the Protocol's parameter; every question gets one answer
        return Answer(Choice.DENY, NO_TERMINAL)


class TerminalApprover:
    """Asks on the terminal.

    `before` runs first (an answer that is being drawn is finished); `interrupt` when the user pressed Ctrl-C: it should
    cancel the turn.
    """

    def __init__(
        self,
        screen: Screen,
        keyboard: Keyboard,
        *,
        before: Callable[[], None] = lambda: None,
        interrupt: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._screen, self._keyboard, self._clock = screen, keyboard, clock
        self.before, self.interrupt = before, interrupt

    def ask(self, question: Question) -> Answer:
        self.before()
        deadline = self._clock() + question.expires_s
        try:
            with self._keyboard.raw():
                answer = self._ask(question, deadline)
        except EOFError:
            answer = Answer(Choice.DENY, _REASONS[How.GONE])
        self._tell(answer)
        return answer

    def _ask(self, question: Question, deadline: float) -> Answer:
        looks = self._screen.looks
        chosen = Chooser(
            self._screen,
            self._keyboard,
            lambda width: question_rows(question, looks, width),
            _WITH_GRANT if question.grant else _OPTIONS,
            default="d",
            expires_s=question.expires_s,
            clock=self._clock,
        ).ask()
        return self._answer(chosen, deadline)

    def _answer(self, chosen: Chosen, deadline: float) -> Answer:
        if chosen.how is How.INTERRUPT:
            self.interrupt()
        if chosen.key == "o":
            return Answer(Choice.ONCE)
        if chosen.key == "s":
            return Answer(Choice.SESSION)
        if chosen.key == "f":
            return Answer(Choice.FOREVER)
        if chosen.how not in {How.KEY, How.ESCAPE}:
            return Answer(Choice.DENY, _REASONS[chosen.how])
        words = "why (goes to the model, Enter for nothing): "
        prompt = clip(words, max(8, self._screen.size.columns // 2))
        reason = read_line(self._screen, self._keyboard, prompt, deadline=deadline, clock=self._clock)
        return Answer(Choice.DENY, reason)

    def _tell(self, answer: Answer) -> None:
        words = {
            Choice.ONCE: "approved once",
            Choice.SESSION: "approved for this session",
            Choice.FOREVER: "approved for ever",
            Choice.DENY: "denied",
        }
        text = words[answer.choice] + (f": {escape_line(answer.reason, 200)}" if answer.reason else "")
        ink = Ink.BAD if answer.choice is Choice.DENY else Ink.GOOD
        self._screen.print(self._screen.ink(clip(text, self._screen.size.columns), ink))


def question_rows(question: Question, looks: Looks, width: int) -> list[str]:
    """The whole question, in rows that no terminal wraps."""
    edge = Edge(looks, width, exact=True)
    out = [f"{edge.top} {looks.ink('Approve?', Ink.WARN)}"]
    out += edge.text(f"{show_argv_line((question.tool,))} asks ({escape_line(question.code)})", Ink.NAME)
    out += edge.text(escape(question.sentence))
    out += edge.text(f"in {quote(question.cwd)}")
    out += edge.argv(question.argv)
    if any(has_disguise(argument) for argument in question.argv):
        out += edge.text("some letters above pass for others; they are shown as \\uXXXX", Ink.BAD)
    if question.diff:
        out += edge.diff(question.diff)
    if question.grant:
        out += edge.text("forever adds this line to your policy, and signs it:")
        out += edge.text(escape(question.grant), Ink.STRONG)
    return [*out, edge.bottom]
