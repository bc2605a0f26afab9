"""The chat loop: read, hand over, show, until the user leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from localgpt.cli.terminal.banner import banner_rows
from localgpt.cli.terminal.panels import MAX_OUTPUT_ROWS, MAX_USER_OUTPUT_ROWS
from localgpt.cli.terminal.report import error_text
from localgpt.cli.terminal.screen import Ink, Screen
from localgpt.cli.terminal.session import SessionLike, Sessions
from localgpt.cli.terminal.slash import Next, dispatch, say
from localgpt.cli.terminal.turn import TurnView, interrupts
from localgpt.cli.terminal.typed import Reader, Typed
from localgpt.errors import ExitStatus, LocalGptError
from localgpt.monitor.events import Event, ToolStarted

_LEAVE_HINT = "(Ctrl-D or /quit leaves)"


class Chat:
    """One run of `localgpt chat`. `quiet` is entered while a turn runs (the terminal must not echo keys then)."""

    def __init__(
        self,
        *,
        screen: Screen,
        sessions: Sessions,
        session: SessionLike,
        reader: Callable[[Chat], Reader],
        view: TurnView,
        version: str,
        quiet: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self.screen = screen
        self.sessions = sessions
        self.session = session
        self.version = version
        self.last_decision: ToolStarted | None = None
        self._view = view
        self._turns = 0
        self._quiet = quiet
        self.reader = reader(self)

    def run(self) -> ExitStatus:
        """Run until the user leaves; the session is closed on return."""
        try:
            while self._once() is Next.GO_ON:
                pass
        finally:
            self.session.close()
        if self._turns:
            self.screen.print(self.screen.ink("saved; localgpt chat --continue goes on from here", Ink.DIM))
        return ExitStatus.DONE

    def banner(self) -> None:
        """Print what this session is."""
        looks, width = self.screen.looks, self.screen.size.columns
        self.screen.print(*banner_rows(self.session.status(), self.version, looks, width), "")

    def switch(self, session_id: str | None) -> None:
        """Open another conversation; this one is closed only when that worked."""
        fresh = self.sessions.open(session_id)
        self.session.close()
        self.session = fresh
        self.last_decision = None

    def cancel(self) -> None:
        """Stop what runs; called from the interrupt handler and from the approval prompt."""
        self.session.cancel()

    def _once(self) -> Next:
        try:
            typed = self.reader.read()
        except EOFError:
            return Next.QUIT
        except KeyboardInterrupt:
            self.screen.print(self.screen.ink(_LEAVE_HINT, Ink.DIM))
            return Next.GO_ON
        try:
            return self._handle(typed)
        except LocalGptError as error:
            self._view.settle()
            say(self, error_text(error).rstrip("\n"), Ink.BAD)
        except KeyboardInterrupt:  # the third one: the turn did not end in order
            self._view.settle()
            say(self, "stopped without waiting for the turn to end", Ink.WARN)
        return Next.GO_ON

    def _handle(self, typed: Typed) -> Next:
        text = typed.text.strip()
        if text.startswith("/") and "/" not in text[1:].split(" ")[0]:  # a path is no command
            return dispatch(self, text)
        if text.startswith("!"):
            if command := text[1:].strip():
                self._show(self.session.user_command(command), MAX_USER_OUTPUT_ROWS)
        elif text or typed.attachments:
            self._turns += 1
            self._show(self.session.turn(typed.text, typed.attachments), MAX_OUTPUT_ROWS)
        return Next.GO_ON

    def _show(self, events: Iterator[Event], max_rows: int) -> None:
        with self._quiet(), interrupts(self.cancel):
            waiting = "running" if max_rows == MAX_USER_OUTPUT_ROWS else "thinking"
            record = self._view.show(events, max_rows=max_rows, waiting=waiting)
        if record.started:
            self.last_decision = record.started[-1]
