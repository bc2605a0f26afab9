"""Ask one question that must not be answered by accident or by a disguise.

* What was typed before is thrown away, and keys count only after 300 ms without any.
* One key in one read: a paste or an escape sequence is no answer.
* Everything that the answer covers must stand on the screen at once; if it does not fit, only the safe answers remain.
  The size is looked at again with every key.
* The safe answer is the default, the answer to a time-out, to Ctrl-C and to the end of the terminal.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from localgpt.cli.terminal.keys import CTRL_C, CTRL_D, ENTER, ESCAPE, Keyboard, LineBuffer, single_key
from localgpt.cli.terminal.layout import clip
from localgpt.cli.terminal.screen import Ink, Screen, Size

QUIET_S: Final = 0.3
_TICK_S: Final = 0.25
_FOOTER_ROWS: Final = 2
_CLEAR_LINE: Final = "\r\x1b[K"

#: Lays the question out for a width; every row must fit that width on any terminal.
Page = Callable[[int], list[str]]


@dataclass(frozen=True, slots=True)
class Option:
    """One possible answer. A `safe` one is open even when the question does not fit the screen."""

    key: str
    label: str
    safe: bool = False


class How(StrEnum):
    """How an answer came about."""

    KEY = "key"
    ESCAPE = "escape"  #: the default, but never a yes
    TIME_OUT = "time-out"
    INTERRUPT = "interrupt"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The key of an option, and how it came."""

    key: str
    how: How


class Chooser:
    """Asks one question on a terminal. `default` must be the key of a safe option."""

    def __init__(
        self,
        screen: Screen,
        keyboard: Keyboard,
        page: Page,
        options: Sequence[Option],
        *,
        default: str,
        expires_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._screen, self._keyboard, self._page = screen, keyboard, page
        self._options = {option.key: option for option in options}
        assert self._options[default].safe
        self._default = default
        self._clock = clock
        self._deadline = clock() + expires_s
        self._quiet_until = 0.0
        self._painted = Size(0, 0)
        self._fits = False
        self._shown_s = -1

    def ask(self) -> Chosen:
        """Show the question and wait; the keyboard must be raw."""
        try:
            self._paint()
            chosen = self._wait()
        except EOFError:
            chosen = Chosen(self._default, How.GONE)
        self._screen.write(_CLEAR_LINE if self._screen.looks.moves else "\n")
        return chosen

    def _wait(self) -> Chosen:
        while True:
            left_s = self._deadline - self._clock()
            if left_s <= 0:
                return Chosen(self._default, How.TIME_OUT)
            typed = self._keyboard.read(min(_TICK_S, left_s))
            if self._screen.size != self._painted:
                self._paint()
            elif typed is None:
                self._show_prompt()
            elif self._clock() < self._quiet_until:
                if CTRL_C in typed:
                    return Chosen(self._default, How.INTERRUPT)
                self._quiet_until = self._clock() + QUIET_S
            elif (chosen := self._take(single_key(typed))) is not None:
                return chosen

    def _take(self, key: str) -> Chosen | None:
        if key in {CTRL_C, CTRL_D}:
            return Chosen(self._default, How.INTERRUPT)
        if key in {ENTER, ESCAPE}:
            return Chosen(self._default, How.KEY if key == ENTER else How.ESCAPE)
        if key == "v" and not self._fits:
            self._view()
            self._paint()
            return None
        option = self._options.get(key.lower())
        if option is not None and (option.safe or self._fits):
            return Chosen(option.key, How.KEY)
        return None

    def _paint(self) -> None:
        """Print the question (again), then empty the input and start the quiet time."""
        if self._shown_s >= 0:
            self._screen.write(_CLEAR_LINE if self._screen.looks.moves else "\n")
        self._painted = size = self._screen.size
        rows = self._page(size.columns)
        self._fits = len(rows) + _FOOTER_ROWS <= size.rows and not self._screen.is_too_narrow
        if self._fits:
            self._screen.print(*rows)
        else:
            self._screen.print(*rows[: max(0, size.rows - _FOOTER_ROWS - 1)])
        self._screen.print(self._hint(len(rows) + _FOOTER_ROWS, size))
        self._shown_s = -1
        self._show_prompt()
        self._keyboard.drain()
        self._quiet_until = self._clock() + QUIET_S

    def _hint(self, needed: int, size: Size) -> str:
        if self._fits:
            return ""
        if self._screen.is_too_narrow:
            return self._screen.ink("window too narrow: cannot be approved", Ink.BAD)
        words = f"does not fit ({needed} rows, the screen has {size.rows}): cannot be approved; v shows all"
        return self._screen.ink(clip(words, size.columns - 1), Ink.BAD)

    def _show_prompt(self) -> None:
        """The last row: open options and the seconds left. Without cursor movement it is written once."""
        left_s = max(0, math.ceil(self._deadline - self._clock()))
        if left_s == self._shown_s or (self._shown_s >= 0 and not self._screen.looks.moves):
            return
        self._shown_s = left_s
        options = [option for option in self._options.values() if option.safe or self._fits]
        words = "  ".join(f"[{option.key}] {option.label}" for option in options)
        row = clip(f"{words}  (Enter: {self._options[self._default].label}, {left_s} s) ", self._painted.columns - 1)
        self._screen.write((_CLEAR_LINE if self._screen.looks.moves else "") + self._screen.ink(row, Ink.STRONG))

    def _view(self) -> None:
        """Page through the whole question. Reading it all opens no other answer: it still does not fit."""
        rows = self._page(self._painted.columns)
        step = max(1, self._painted.rows - 1)
        for start in range(0, len(rows), step):
            self._screen.write(_CLEAR_LINE if self._screen.looks.moves else "\n")
            self._screen.print(*rows[start : start + step])
            self._screen.write(f"-- {min(start + step, len(rows))} of {len(rows)} rows: any key: on, q: back -- ")
            key = self._page_key()
            if key in {"q", ESCAPE, CTRL_C, ""}:
                return

    def _page_key(self) -> str:
        self._keyboard.drain()
        while (left_s := self._deadline - self._clock()) > 0:
            typed = self._keyboard.read(min(_TICK_S, left_s))
            if typed is not None and (key := single_key(typed)):
                return key
        return ""


def read_line(
    screen: Screen, keyboard: Keyboard, prompt: str, *, deadline: float, clock: Callable[[], float] = time.monotonic
) -> str:
    """Let the user type one line (the keyboard must be raw); "" when given up or at the deadline."""
    buffer = LineBuffer()
    while True:
        if screen.looks.moves:
            room = max(4, screen.size.columns - len(prompt) - 2)
            screen.write(f"{_CLEAR_LINE}{prompt}{_shown(buffer.text)[-room:]}")
        elif not buffer.text:
            screen.write(f"\r{prompt}")
        left_s = deadline - clock()
        try:
            typed = keyboard.read(min(_TICK_S, left_s)) if left_s > 0 else CTRL_C
        except EOFError:
            typed = CTRL_C
        if typed is None:
            continue
        if ended := buffer.feed(typed):
            screen.write("\n")
            return buffer.text.strip() if ended == ENTER else ""


def _shown(text: str) -> str:
    from localgpt.cli.terminal.escape import escape_line

    return escape_line(text)
