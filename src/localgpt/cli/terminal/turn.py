"""Show one turn: events in, screen out; Ctrl-C cancels the turn and not the program."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Final, assert_never

from localgpt.cli.terminal.answer import Answer
from localgpt.cli.terminal.panels import MAX_OUTPUT_ROWS, finished_rows, notice_rows, started_rows
from localgpt.cli.terminal.screen import Ink, Screen
from localgpt.monitor.events import Event, Level, Notice, TextDelta, ToolFinished, ToolStarted, TurnFinished, Verdict
from localgpt.wire import ToolOutcome, TurnReason

#: The third Ctrl-C no longer waits for the turn to end in order.
_PATIENT_INTERRUPTS: Final = 2

_ENDINGS: Final = {
    TurnReason.CANCELLED: (Level.INFO, "stopped"),
    TurnReason.ROUNDS: (Level.WARNING, "the model used up its rounds for this turn; say “go on” to continue"),
    TurnReason.REPEATED: (Level.WARNING, "ended: the model made the same call over and over"),
    TurnReason.DEADLINE: (Level.WARNING, "ended: the turn reached its deadline"),
    TurnReason.MODEL: (Level.ERROR, "the model failed"),
    TurnReason.CRASHED: (Level.ERROR, "a part of the runtime ended unexpectedly and was started anew; ask again"),
}


@dataclass(slots=True)
class TurnRecord:
    """What a turn left behind, for `/why`, `ask --json` and the exit status."""

    response: list[str] = field(default_factory=list)
    started: list[ToolStarted] = field(default_factory=list)
    finished: list[ToolFinished] = field(default_factory=list)
    end: TurnFinished | None = None

    @property
    def text(self) -> str:
        return "".join(self.response)


class NoAnswer:
    """Shows nothing: the answer is only collected."""

    def feed(self, text: str) -> None:
        """Nothing to show."""

    def finish(self) -> None:
        """Nothing to finish."""


class TurnView:
    """Shows the events of turns on one screen. The answer goes to `answer`; everything else to `screen`."""

    def __init__(self, screen: Screen, answer: Answer, *, quiet: bool = False) -> None:
        self._screen = screen
        self._answer = answer
        self._quiet = quiet  # no panels: only errors and endings
        self._waiting = False

    def show(
        self, events: Iterable[Event], *, max_rows: int = MAX_OUTPUT_ROWS, waiting: str = "thinking"
    ) -> TurnRecord:
        """Show all events of one turn; everything is permanent on return, also when the iterator raises.

        `waiting`: the word shown until the first event comes.
        """
        record = TurnRecord()
        self._wait(waiting)
        try:
            for event in events:
                self._one(event, record, max_rows)
        finally:
            self.settle()
        return record

    def settle(self) -> None:
        """Make what is being drawn permanent: something else will be printed."""
        self._waiting = False
        self._answer.finish()
        self._screen.clear_tail()

    def _one(self, event: Event, record: TurnRecord, max_rows: int) -> None:
        self._stop_waiting()
        if isinstance(event, TextDelta):
            record.response.append(event.text)
            self._answer.feed(event.text)
            return
        self._answer.finish()
        if isinstance(event, ToolStarted):
            record.started.append(event)
            self._print(started_rows(event, self._screen.looks, self._screen.size.columns))
            self._wait("thinking" if event.verdict is Verdict.DENY else "running")
        elif isinstance(event, ToolFinished):
            self._finished(event, record, max_rows)
            self._wait("thinking")
        elif isinstance(event, Notice):
            if not self._quiet or event.level is not Level.INFO:
                self._screen.print(*notice_rows(event, self._screen.looks, self._screen.size.columns))
        elif isinstance(event, TurnFinished):
            record.end = event
            self._end(event)
        else:
            assert_never(event)

    def _finished(self, event: ToolFinished, record: TurnRecord, max_rows: int) -> None:
        record.finished.append(event)
        told = [start.sentence for start in record.started if start.call_id == event.call_id]
        if event.outcome is ToolOutcome.DENIED and told and event.notice in {"", *told}:
            return  # the panel has said so already
        self._print(finished_rows(event, self._screen.looks, self._screen.size.columns, max_rows=max_rows))

    def _print(self, out: list[str]) -> None:
        if not self._quiet:
            self._screen.print(*out)

    def _end(self, event: TurnFinished) -> None:
        ending = _ENDINGS.get(event.reason)
        if ending is None:
            return
        level, words = ending
        if event.message and event.reason is not TurnReason.CANCELLED:
            words = f"{words}: {event.message}"
        self._screen.print(*notice_rows(Notice(level, words), self._screen.looks, self._screen.size.columns))

    def _wait(self, word: str) -> None:
        """Show that something goes on, until the next event."""
        if self._screen.looks.moves and not self._quiet:
            text = f"{word} …" if self._screen.looks.unicode else f"{word} ..."
            self._screen.show_tail([(self._screen.ink(text, Ink.DIM), len(text))])
            self._waiting = True

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting = False
            self._screen.clear_tail()


@contextlib.contextmanager
def interrupts(cancel: Callable[[], None]) -> Iterator[None]:
    """While entered, Ctrl-C calls `cancel`. The third one raises `KeyboardInterrupt`, should the turn not end.

    `cancel` must be callable from a signal handler. Outside the main thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    count = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > _PATIENT_INTERRUPTS:
            raise KeyboardInterrupt
        cancel()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
