"""Whoever can be asked and told while a conversation is opened and runs: a person at a terminal, or nobody."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from localgpt.cli.terminal.approval import DenyingApprover, TerminalApprover
from localgpt.cli.terminal.keys import Keyboard
from localgpt.cli.terminal.panels import notice_rows
from localgpt.cli.terminal.questions import TerminalConfirmer, ask_sign, ask_trust
from localgpt.cli.terminal.screen import Screen
from localgpt.monitor.events import Answer, Level, ModelConfirmer, Notice, Question

_MIB: Final = 1 << 20


class SilentFront:
    """Without a terminal: approvals are denied, no new model and no new folder is trusted; notices are printed."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._told_download = False

    @property
    def confirmer(self) -> ModelConfirmer | None:
        return None

    def ask(self, question: Question) -> Answer:
        return DenyingApprover().ask(question)

    def trust(self, folder: Path) -> bool | None:  # noqa: ARG002 -- the Protocol's parameter
        return None

    def sign(self, document: Path, digest: str) -> bool:  # noqa: ARG002 -- the Protocol's parameters
        return False

    def tell(self, level: Level, text: str) -> None:
        self.screen.print(*notice_rows(Notice(level, text), self.screen.looks, self.screen.size.columns))

    def progress(self, done_bytes: int, total_bytes: int) -> None:
        """Show the download of the model: repainted in place on a terminal, else told once."""
        words = f"fetching the model, once: {done_bytes // _MIB} of {total_bytes // _MIB} MiB"
        if self.screen.looks.moves:
            self.screen.show_tail([(words, len(words))])
            if done_bytes >= total_bytes:
                self.screen.clear_tail()
        elif not self._told_download:
            self._told_download = True
            self.tell(Level.INFO, f"fetching the model, once: {total_bytes // _MIB} MiB")


class TerminalFront(SilentFront):
    """A person at a terminal."""

    def __init__(self, screen: Screen, keyboard: Keyboard, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(screen)
        self._keyboard, self._clock = keyboard, clock
        self.approver = TerminalApprover(screen, keyboard, clock=clock)

    @property
    def confirmer(self) -> ModelConfirmer | None:
        return TerminalConfirmer(self.screen, self._keyboard, self._clock)

    def ask(self, question: Question) -> Answer:
        return self.approver.ask(question)

    def trust(self, folder: Path) -> bool | None:
        return ask_trust(str(folder), self.screen, self._keyboard, self._clock)

    def sign(self, document: Path, digest: str) -> bool:
        return ask_sign(str(document), digest, self.screen, self._keyboard, self._clock)
