"""Single keys from a terminal, and what a question needs of them: nothing typed earlier may answer it.

A key that was typed (or pasted, or sent by an escape sequence that a program printed) before the question was on the
screen must not approve anything. Hence `Keyboard.drain`, and the reader below takes a read that holds more than one
key for a paste and not for an answer.

Source: termios(3), tcflush(3).
"""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import termios
from collections.abc import Iterator
from typing import Final, Protocol

CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
CTRL_U: Final = "\x15"
ESCAPE: Final = "\x1b"
ENTER: Final = "\r"
_BACKSPACES: Final = frozenset({"\x7f", "\x08"})


class Keyboard(Protocol):
    """Raw input of one terminal, while `raw` is entered."""

    def raw(self) -> contextlib.AbstractContextManager[None]:
        """Keys arrive one by one, unechoed, and signal nothing; the old mode comes back, with the input emptied."""
        ...

    def drain(self) -> None:
        """Throw away what was typed and not read yet."""
        ...

    def read(self, timeout_s: float) -> str | None:
        """What was typed, None after `timeout_s` seconds without a key.

        Raises:
            EOFError: the terminal is gone.
        """
        ...


class TtyKeyboard:
    """The keyboard of the terminal behind a file descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @contextlib.contextmanager
    def raw(self) -> Iterator[None]:
        try:
            before = termios.tcgetattr(self._fd)
        except termios.error as error:
            raise EOFError("the terminal is gone") from error
        now = termios.tcgetattr(self._fd)
        now[0] &= ~(termios.IXON | termios.INLCR)
        now[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
        now[6][termios.VMIN], now[6][termios.VTIME] = 1, 0
        self._decoder.reset()
        termios.tcsetattr(self._fd, termios.TCSAFLUSH, now)
        try:
            yield
        finally:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSAFLUSH, before)

    def drain(self) -> None:
        self._decoder.reset()
        with contextlib.suppress(termios.error):
            termios.tcflush(self._fd, termios.TCIFLUSH)

    def read(self, timeout_s: float) -> str | None:
        if not select.select([self._fd], [], [], max(0.0, timeout_s))[0]:
            return None
        try:
            data = os.read(self._fd, 4096)
        except OSError as error:  # EIO: the other side hung up
            raise EOFError("the terminal is gone") from error
        if not data:
            raise EOFError("the terminal is gone")
        return self._decoder.decode(data)


def single_key(typed: str) -> str:
    """The key of one read, "" when it was more than one (a paste, or an escape sequence such as an arrow).

    A letter with its Enter counts as the letter.
    """
    if len(typed) == 2 and typed[1] in "\r\n" and typed[0].isalpha():
        typed = typed[0]
    if len(typed) != 1:
        return ""
    return ENTER if typed == "\n" else typed


class LineBuffer:
    """The little line editor for a reason: characters, backspace, Ctrl-U, Enter; Escape and Ctrl-C give it up."""

    def __init__(self, limit: int = 500) -> None:
        self.text = ""
        self._limit = limit

    def feed(self, typed: str) -> str:
        """Take what was typed; returns "" while the line goes on, else the key that ended it."""
        if typed.startswith(ESCAPE):
            return ESCAPE if typed == ESCAPE else ""
        for char in typed:
            if char in {"\r", "\n"}:
                return ENTER
            if char in {CTRL_C, CTRL_D}:
                return CTRL_C
            self._edit(char)
        return ""

    def _edit(self, char: str) -> None:
        if char in _BACKSPACES:
            self.text = self.text[:-1]
        elif char == CTRL_U:
            self.text = ""
        elif char.isprintable() and len(self.text) < self._limit:
            self.text += char


@contextlib.contextmanager
def quiet(fd: int) -> Iterator[None]:
    """While a turn runs: keys are kept for the next prompt but not echoed into the answer; Ctrl-C still signals."""
    try:
        before = termios.tcgetattr(fd)
        now = termios.tcgetattr(fd)
        now[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(fd, termios.TCSADRAIN, now)
    except (termios.error, OSError):  # no terminal: nothing echoes
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
