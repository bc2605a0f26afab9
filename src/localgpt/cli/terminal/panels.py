"""The panel of a tool call: what will run, how that was decided, how it ended, and a piece of its output.

A panel has a left edge only. Every row of foreign text stands behind that edge, so that no output can imitate the
program's own words, and nothing depends on how wide a terminal draws a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from localgpt.cli.terminal.argv import show_argv
from localgpt.cli.terminal.escape import escape, escape_line
from localgpt.cli.terminal.layout import clip, rows_with_breaks, wrapped
from localgpt.cli.terminal.screen import Ink, Looks
from localgpt.monitor.events import Level, Notice, ToolFinished, ToolStarted, Verdict
from localgpt.wire import ToolOutcome

MAX_ARGV_ROWS: Final = 12
MAX_OUTPUT_ROWS: Final = 10
MAX_USER_OUTPUT_ROWS: Final = 200
MAX_DIFF_ROWS: Final = 40

#: A notice that says no more than the last row of the panel.
_HOW_IT_ENDED: Final = re.compile(r"exit status \d+ after [\d.]+ s")
_VERDICT_INK: Final = {Verdict.ALLOW: Ink.GOOD, Verdict.ASK: Ink.WARN, Verdict.DENY: Ink.BAD}
_VERDICT_TEXT: Final = {Verdict.ALLOW: "allowed", Verdict.ASK: "asked you", Verdict.DENY: "denied"}
_LEVEL_INK: Final = {Level.INFO: Ink.DIM, Level.WARNING: Ink.WARN, Level.ERROR: Ink.BAD}


def started_rows(event: ToolStarted, looks: Looks, width: int) -> list[str]:
    """The upper part: tool, verdict and rule, argv, and for a denial the sentence that says why and what helps."""
    edge = Edge(looks, width)
    verdict = looks.ink(_VERDICT_TEXT[event.verdict], _VERDICT_INK[event.verdict])
    tool, code = escape_line(event.tool, 40), escape_line(event.code, 60)
    out = [f"{edge.top} {looks.ink(tool, Ink.NAME)}: {verdict} ({code})"]
    out += bounded(edge.argv(event.argv), MAX_ARGV_ROWS, edge, "of the command")
    if event.verdict is not Verdict.ALLOW:
        out += edge.text(escape(event.sentence), Ink.BAD if event.verdict is Verdict.DENY else Ink.WARN)
    if event.diff:
        out += bounded(edge.diff(event.diff), MAX_DIFF_ROWS, edge, "of the change")
    if event.verdict is Verdict.DENY:
        out.append(f"{edge.bottom} {looks.ink('not run', Ink.BAD)}")
    return out


def finished_rows(event: ToolFinished, looks: Looks, width: int, *, max_rows: int = MAX_OUTPUT_ROWS) -> list[str]:
    """The lower part: output, the runtime's notice, exit status and duration."""
    edge = Edge(looks, width)
    text = escape(event.output).rstrip("\n")
    out = bounded(edge.text(text, Ink.DIM), max_rows, edge, "of output") if text else []
    if event.notice and not _HOW_IT_ENDED.fullmatch(event.notice):
        out += edge.text(escape(event.notice), Ink.WARN)
    return [*out, f"{edge.bottom} {_ending(event, looks)}"]


def notice_rows(notice: Notice, looks: Looks, width: int) -> list[str]:
    """The runtime's own words between other things. A warning or error says its level, for those without colours."""
    prefix = "" if notice.level is Level.INFO else f"{notice.level.value}: "
    return [looks.ink(row, _LEVEL_INK[notice.level]) for row in wrapped(prefix + escape(notice.text), width)]


def _ending(event: ToolFinished, looks: Looks) -> str:
    duration = show_duration(event.duration_s)
    if event.outcome is ToolOutcome.DENIED:
        return looks.ink("denied, not run", Ink.BAD)
    if event.exit_status is None:
        failed = event.outcome is ToolOutcome.FAILED
        return looks.ink("failed" if failed else "done", Ink.BAD if failed else Ink.GOOD) + f", {duration}"
    ink = Ink.GOOD if event.exit_status == 0 else Ink.WARN
    return looks.ink(f"exit {event.exit_status}", ink) + f", {duration}"


def show_duration(duration_s: float) -> str:
    """A duration in the unit that leaves two or three digits."""
    if duration_s < 1:
        return f"{duration_s * 1000:.0f} ms"
    return f"{duration_s:.1f} s" if duration_s < 60 else f"{int(duration_s // 60)} min {int(duration_s % 60)} s"


def bounded(all_rows: list[str], limit: int, edge: Edge, what: str) -> list[str]:
    """At most `limit` rows: the beginning and the end, and between them how many are left out."""
    if len(all_rows) <= limit:
        return all_rows
    head, tail = limit * 2 // 3, limit - limit * 2 // 3 - 1
    hidden = len(all_rows) - head - tail
    return [*all_rows[:head], edge.own(f"({hidden} more rows {what})"), *all_rows[len(all_rows) - tail :]]


class Edge:
    """Puts rows behind the left edge of a panel.

    ``│`` begins a row; ``┆`` goes on with a line that was too long. With `exact`, no terminal can wrap a row again.
    """

    def __init__(self, looks: Looks, width: int, *, exact: bool = False) -> None:
        self._looks = looks
        self._exact = exact
        # The edge is a character of ambiguous width (two cells on some terminals), and the last column stays free.
        self._width = max(8, width - (4 if exact else 2))
        self.top = looks.ink(looks.glyph("╭", "+"), Ink.DIM)
        self.bottom = looks.ink(looks.glyph("╰", "+"), Ink.DIM)
        self._row = looks.ink(looks.glyph("│", "|"), Ink.DIM)
        self._more = looks.ink(looks.glyph("┆", ":"), Ink.DIM)

    def text(self, escaped: str, ink: Ink = Ink.PLAIN) -> list[str]:
        """Rows of escaped text."""
        return [
            f"{self._more if goes_on else self._row} {self._looks.ink(row, ink)}"
            for row, goes_on in rows_with_breaks(escaped, self._width, exact=self._exact)
        ]

    def argv(self, argv: tuple[str, ...]) -> list[str]:
        """Rows of a command, exactly quoted."""
        return self.text(show_argv(argv), Ink.STRONG)

    def diff(self, diff: str) -> list[str]:
        """Rows of a unified diff, coloured by their first character."""
        return [row for line in _diff_lines(diff) for row in self.text(line, _diff_ink(line))]

    def own(self, words: str) -> str:
        """A row of the program's own words inside the panel."""
        return f"{self._row} {self._looks.ink(clip(words, self._width), Ink.DIM)}"


def _diff_lines(diff: str) -> Iterator[str]:
    """Lines of a foreign diff, each escaped by itself; a tab or a stray carriage return stays visible."""
    for line in diff.rstrip("\n").split("\n"):
        yield escape(line)


def _diff_ink(line: str) -> Ink:
    if line.startswith(("+++", "---")):
        return Ink.STRONG
    return {"+": Ink.ADDED, "-": Ink.REMOVED, "@": Ink.HUNK}.get(line[:1], Ink.PLAIN)
