"""A chat on the real terminal it is started in, over a scripted session. Run: python -m tests.cli.scripted_chat HISTORY

What the user types decides what the session does: `ask` makes it ask for approval, `long` never ends by itself,
`until a key` ends when something is typed, `evil` answers with escape sequences; anything else is repeated as heard.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from localgpt.cli.terminal.answer import MarkdownAnswer
from localgpt.cli.terminal.approval import TerminalApprover
from localgpt.cli.terminal.banner import status_parts
from localgpt.cli.terminal.completion import Offers
from localgpt.cli.terminal.editor import Editor
from localgpt.cli.terminal.keys import TtyKeyboard, quiet
from localgpt.cli.terminal.loop import Chat
from localgpt.cli.terminal.markdown import MarkdownRenderer
from localgpt.cli.terminal.screen import Screen, looks_of, size_of
from localgpt.cli.terminal.slash import offered
from localgpt.cli.terminal.turn import TurnView
from localgpt.monitor.events import (
    Answer,
    Choice,
    Event,
    Question,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    Verdict,
)
from localgpt.wire import Attachment, ToolOutcome, TurnReason, Usage
from tests.cli.terminal_sim import DONE, QUESTION, ScriptedSession, ScriptedSessions

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[1;1HApproved once\x9b31m \u202etxt.exe &#x1b;[31m [click](https://evil.example/\x1b]8;;x)\r\nend"


@dataclass
class Answering(ScriptedSession):
    """Does what the user's words say."""

    approver: TerminalApprover | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def turn(self, text: str, attachments: tuple[Attachment, ...] = ()) -> Iterator[Event]:
        self.stopped.clear()
        if text == "ask":
            yield from self._ask(QUESTION)
        elif text == "ask much":
            yield from self._ask(replace(QUESTION, diff="\n".join(f"+line {n}" for n in range(200))))
        elif text == "ask evil":
            yield from self._ask(replace(QUESTION, argv=("sh", "-c", EVIL), cwd=EVIL, sentence=EVIL, diff=EVIL))
        elif text == "long":
            yield TextDelta("it begins")
            self.stopped.wait(60)
            yield TurnFinished(TurnReason.CANCELLED, "", Usage())
            return
        elif text == "until a key":
            yield TextDelta("it begins")
            select.select([0], [], [], 60)
            yield TextDelta(" and ends")
        elif text == "evil":
            yield TextDelta(EVIL)
            yield ToolStarted("c", EVIL, (EVIL,), Verdict.DENY, EVIL, EVIL, EVIL)
        else:
            yield TextDelta(f"heard {text!r}")
            for attachment in attachments:
                yield TextDelta(f"\n\nbeside it {attachment.name}: {len(attachment.text)} characters")
        yield DONE

    def _ask(self, question: Question) -> Iterator[Event]:
        assert self.approver is not None
        yield TextDelta("May I?")
        answer: Answer = self.approver.ask(question)
        yield TextDelta(f"You said {answer.choice.value}: {answer.reason}.")
        if answer.choice is not Choice.DENY:
            yield ToolStarted("c", "shell", question.argv, Verdict.ASK, question.code, question.sentence)
            yield ToolFinished("c", ToolOutcome.DONE, 0, 0.01, "done\n")

    def cancel(self) -> None:
        super().cancel()
        self.stopped.set()


def main() -> int:
    looks = looks_of(sys.stdout, os.environ)
    screen = Screen(sys.stdout, looks, lambda: size_of(sys.stdout))
    approver = TerminalApprover(screen, TtyKeyboard(0))
    session = Answering(approver=approver)
    view = TurnView(screen, MarkdownAnswer(screen, lambda: MarkdownRenderer(looks)))
    offers = Offers(Path.cwd(), offered(), lambda: ("smollm2", "big"))
    chat = Chat(
        screen=screen,
        sessions=ScriptedSessions(),
        session=session,
        reader=lambda chat: Editor(Path(sys.argv[1]), offers, lambda: status_parts(chat.session.status())),
        view=view,
        version="1.2.3",
        quiet=lambda: quiet(0),
    )
    approver.before, approver.interrupt = view.settle, chat.cancel
    chat.banner()
    return int(chat.run())


if __name__ == "__main__":
    sys.exit(main())
