"""Show an answer while it arrives: finished blocks are printed once, the growing one is repainted below them.

`PlainAnswer` (pipes, ``--plain``, TERM=dumb, screen readers) passes the escaped text on as it comes. `MarkdownAnswer`
renders. Neither loses a character, whatever the model sends; a block whose rendering takes too long or fails is shown
as text.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from localgpt.cli.terminal.blocks import Block, BlockSplitter, Kind
from localgpt.cli.terminal.escape import Escaper, escape
from localgpt.cli.terminal.layout import cells, rows
from localgpt.cli.terminal.screen import Screen

#: A block that took longer than this to render turns Markdown off for the rest of the answer.
_SLOW_RENDER_S: Final = 0.5
#: The tail is repainted at most this often, and never for more than a third of the time.
_MIN_INTERVAL_S: Final = 0.015


class Answer(Protocol):
    """One answer of the model on its way to the user."""

    def feed(self, text: str) -> None:
        """Take a piece of foreign text."""
        ...

    def finish(self) -> None:
        """The answer, or this part of it, is complete: everything becomes permanent."""
        ...


class Renderer(Protocol):
    """What turns a block into rows; `localgpt.cli.terminal.markdown.MarkdownRenderer` in life."""

    def rows(self, block: Block, width: int) -> list[tuple[str, int]]: ...


class PlainAnswer:
    """Escaped text, as it comes."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._escaper = Escaper()
        self._at_line_start = True

    def feed(self, text: str) -> None:
        self._write(self._escaper.feed(text))

    def finish(self) -> None:
        self._write(self._escaper.finish())
        if not self._at_line_start:
            self._write("\n")
        self._escaper = Escaper()

    def _write(self, text: str) -> None:
        if text:
            self._at_line_start = text.endswith("\n")
            self._screen.write(text)


class MarkdownAnswer:
    """Rendered Markdown, block by block.

    Rows of the growing block that leave the screen at the top are printed for good (fences, lists and paragraphs only
    grow at the end). Should a later piece change such a row after all, the block is printed again, whole: rather a
    repetition than a loss.
    """

    def __init__(
        self, screen: Screen, load: Callable[[], Renderer], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._screen = screen
        self._load = load
        self._clock = clock
        self._renderer: Renderer | None = None
        self._plain = False
        self._painted_at = self._cost = 0.0
        self._begin()

    def _begin(self) -> None:
        self._escaper = Escaper()
        self._splitter = BlockSplitter()
        self._gone: list[str] = []  # rows of the growing block that are printed already
        self._any = False  # whether a block was printed, from which the next one keeps a distance

    def feed(self, text: str) -> None:
        for block in self._splitter.feed(self._escaper.feed(text)):
            self._print(block)
        now = self._clock()
        if now - self._painted_at >= max(_MIN_INTERVAL_S, 2 * self._cost):
            self._paint_tail()

    def finish(self) -> None:
        for block in self._splitter.feed(self._escaper.finish()) + self._splitter.finish():
            self._print(block)
        self._screen.clear_tail()
        self._begin()

    def _print(self, block: Block) -> None:
        rendered = self._render(block)
        texts = [text for text, _ in rendered]
        if not self._gone and self._any and not block.joined:
            texts.insert(0, "")
        elif self._gone:
            texts = self._beyond_gone(texts)
        self._screen.print(*texts)
        self._gone = []
        self._any = True

    def _beyond_gone(self, texts: list[str]) -> list[str]:
        """What of the whole block is not on the screen yet; all of it when what was printed has changed."""
        return texts[len(self._gone) :] if texts[: len(self._gone)] == self._gone else ["", *texts]

    def _paint_tail(self) -> None:
        tail = self._splitter.tail
        if tail is None or not self._screen.looks.moves:
            return
        rendered = self._render(tail)
        room = self._screen.size.rows - 2
        if tail.kind is not Kind.TABLE and len(rendered) - len(self._gone) > room:
            self._let_go([text for text, _ in rendered], len(rendered) - room, joined=tail.joined)
        gap = [("", 0)] if self._any and not self._gone and not tail.joined else []
        self._screen.show_tail(gap + rendered[len(self._gone) :])
        self._painted_at = self._clock()

    def _let_go(self, texts: list[str], count: int, *, joined: bool) -> None:
        """Print the first `count` rows of the growing block for good."""
        if texts[: len(self._gone)] != self._gone:
            return  # something changed above: wait for the whole block
        gap = [""] if self._any and not self._gone and not joined else []
        self._screen.print(*gap, *texts[len(self._gone) : count])
        self._gone = texts[:count]

    def _render(self, block: Block) -> list[tuple[str, int]]:
        width = self._screen.size.columns
        if self._plain:
            return _as_text(block, width)
        started = self._clock()
        try:
            rendered = self._loaded().rows(block, width)
        except Exception:  # noqa: BLE001 -- a bug in a Markdown library must not cost the user the answer
            self._plain = True
            return _as_text(block, width)
        self._cost = self._clock() - started
        self._plain = self._cost > _SLOW_RENDER_S
        return rendered

    def _loaded(self) -> Renderer:
        if self._renderer is None:
            self._renderer = self._load()
            # Loading is paid once and says nothing of how fast blocks render.
            self._renderer.rows(Block(Kind.TEXT, "."), 20)
        return self._renderer


def _as_text(block: Block, width: int) -> list[tuple[str, int]]:
    return [(row, cells(row)) for row in rows(escape(block.source), width)]
