"""One input of the user's, and where it comes from when there is no line editor."""

from __future__ import annotations

import os
import select
import sys
from dataclasses import dataclass
from typing import Protocol, TextIO

from localgpt.cli.terminal.pastes import Pastes, clean
from localgpt.cli.terminal.screen import Screen
from localgpt.wire import Attachment


@dataclass(frozen=True, slots=True)
class Typed:
    """The user's words, and what was pasted beside them."""

    text: str
    attachments: tuple[Attachment, ...] = ()


class Reader(Protocol):
    """Where inputs come from. `multiline`: Enter begins a new line (only an editor can)."""

    multiline: bool

    def read(self) -> Typed:
        """Wait for one input.

        Raises:
            EOFError: there will be no more.
            KeyboardInterrupt: Ctrl-C.
        """
        ...


class PlainReader:
    """Lines of standard input: a pipe, a screen reader, TERM=dumb. A trailing backslash goes on with the next line.

    On a terminal, lines that arrive at once are one input (they were pasted).
    """

    def __init__(self, stream: TextIO, screen: Screen) -> None:
        self.multiline = False
        self._stream = stream
        self._screen = screen
        self._terminal = stream.isatty()

    def read(self) -> Typed:
        if self._terminal:
            self._screen.write("> ")
            return self._from_terminal()
        line = self._stream.readline()
        lines = [line]
        while line.rstrip("\n").endswith("\\") and line:
            line = self._stream.readline()
            lines.append(line)
        if not lines[0]:
            raise EOFError
        return Typed(clean(_joined(lines)))

    def _from_terminal(self) -> Typed:
        """In the terminal's line mode each read is one line; more of them at once are a paste."""
        fd = self._stream.fileno()
        lines = [self._line(fd)]
        if not lines[0]:
            raise EOFError
        while lines[-1].endswith("\\\n") or select.select([fd], [], [], 0)[0]:
            lines.append(self._line(fd))
            if not lines[-1]:
                break
        pastes = Pastes()
        text = pastes.take(_joined(lines)) if len(lines) > 1 else _joined(lines)
        return Typed(clean(text), pastes.attachments(text))

    @staticmethod
    def _line(fd: int) -> str:
        try:
            return os.read(fd, 65536).decode(sys.getfilesystemencoding(), "replace")
        except OSError:  # the terminal is gone
            return ""


def _joined(lines: list[str]) -> str:
    whole = [line.rstrip("\n") for line in lines]
    return "\n".join(line.removesuffix("\\") for line in whole)
