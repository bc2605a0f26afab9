"""A streamed answer on a terminal emulator: complete, append-only, bounded by the screen."""

import pytest

from localgpt.cli.terminal.answer import MarkdownAnswer, PlainAnswer, Renderer
from localgpt.cli.terminal.blocks import Block
from localgpt.cli.terminal.markdown import MarkdownRenderer
from tests.cli.terminal_sim import COLOUR, MONO, PLAIN, Emulator, SimClock, screen_on

ANSWER = """# Title

A paragraph with **bold** text that is long enough to need more than one row of a narrow screen.

1. one
2. two

```python
def f(x):
    return x
```

| a | b |
|---|---|
| 1 | 2 |

the end
"""


def stream(emulator: Emulator, text: str, step: int = 1, renderer: Renderer | None = None) -> None:
    clock = SimClock()
    shown = renderer or MarkdownRenderer(COLOUR)
    answer = MarkdownAnswer(screen_on(emulator), lambda: shown, clock)
    for at in range(0, len(text), step):
        clock.now += 1
        answer.feed(text[at : at + step])
    answer.finish()


@pytest.mark.parametrize("step", [1, 3, 50, 10_000])
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (30, 8), (40, 4)])
def test_the_result_does_not_depend_on_the_pieces(columns: int, rows: int, step: int) -> None:
    whole, pieces = Emulator(columns, rows), Emulator(columns, rows)
    stream(whole, ANSWER, 10_000)
    stream(pieces, ANSWER, step)
    assert pieces.everything == whole.everything
    assert pieces.foreign_controls() == []


def test_finished_blocks_are_written_once() -> None:
    emulator = Emulator()
    stream(emulator, "first words\n\n" + "more and more words " * 20)
    assert emulator.raw.count("first words") == 2  # once while it grew, once for good


def test_code_longer_than_the_screen_is_complete() -> None:
    emulator = Emulator(60, 10)
    code = [f"line_{n} = {n}" for n in range(300)]
    stream(emulator, "```python\n" + "\n".join(code) + "\n```\n", 7)
    assert [line.strip() for line in emulator.everything if line.strip()] == code


def test_a_list_longer_than_the_screen_is_complete() -> None:
    emulator = Emulator(60, 10)
    stream(emulator, "\n".join(f"- item {n}" for n in range(50)) + "\n\nend", 5)
    assert [line.strip() for line in emulator.everything] == [f"• item {n}" for n in range(50)] + ["", "end"]


def test_the_growing_block_is_seen_before_it_is_finished() -> None:
    emulator = Emulator()
    clock = SimClock()
    renderer = MarkdownRenderer(COLOUR)
    answer = MarkdownAnswer(screen_on(emulator), lambda: renderer, clock)
    clock.now += 1
    answer.feed("Hello **wor")
    assert emulator.lines == ["Hello **wor"]
    clock.now += 1
    answer.feed("ld**")
    assert emulator.lines == ["Hello world"]


def test_a_narrower_window_in_the_middle_loses_nothing() -> None:
    emulator = Emulator(80, 24)
    clock = SimClock()
    renderer = MarkdownRenderer(MONO)
    answer = MarkdownAnswer(screen_on(emulator, MONO), lambda: renderer, clock)
    clock.now += 1
    answer.feed("word " * 20)
    emulator.resize(40, 24)
    clock.now += 1
    answer.feed("word " * 20)
    answer.finish()
    assert " ".join(emulator.everything).split().count("word") >= 40


class Broken:
    """A renderer with a bug."""

    def rows(self, block: Block, width: int) -> list[tuple[str, int]]:
        raise RecursionError


class Slow:
    """A renderer that takes a second for each block."""

    def __init__(self, clock: SimClock) -> None:
        self.clock = clock
        self.calls = 0

    def rows(self, block: Block, width: int) -> list[tuple[str, int]]:
        self.clock.now += 1.0
        self.calls += 1
        return [(block.source, len(block.source))]


def test_a_renderer_that_fails_costs_nothing_but_the_looks() -> None:
    emulator = Emulator()
    stream(emulator, "a **b**\n\nc", renderer=Broken())
    assert emulator.everything == ["a **b**", "", "c"]


def test_a_renderer_that_is_too_slow_is_no_longer_asked() -> None:
    emulator, clock = Emulator(), SimClock()
    slow = Slow(clock)
    answer = MarkdownAnswer(screen_on(emulator), lambda: slow, clock)
    answer.feed("one\n\ntwo\n\nthree\n\n")
    answer.finish()
    assert slow.calls == 2  # warming up, and the block that was too slow
    assert emulator.everything == ["one", "", "two", "", "three"]


def test_nothing_is_moved_where_nothing_can_move() -> None:
    emulator = Emulator()
    answer = PlainAnswer(screen_on(emulator, PLAIN))
    for piece in ("Hello **wor", "ld**\x1b", "[31m\r", "\nend"):
        answer.feed(piece)
    answer.finish()
    assert emulator.raw == "Hello **world**␛[31m\nend\n"
