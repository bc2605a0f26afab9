"""Panels of tool calls: exact, bounded, and nothing in them can step out of them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from localgpt.cli.terminal.panels import finished_rows, notice_rows, show_duration, started_rows
from localgpt.monitor.events import Level, Notice, ToolFinished, ToolStarted, Verdict
from localgpt.wire import ToolOutcome
from tests.cli.terminal_sim import COLOUR, MONO, PLAIN, harmless

SGR = re.compile(r"\x1b\[[0-9;]*m")


def started(**changes: object) -> ToolStarted:
    values: dict[str, object] = {
        "call_id": "c1",
        "tool": "shell",
        "argv": ("/bin/sh", "-c", "echo 'hi there'"),
        "verdict": Verdict.ALLOW,
        "code": "rule.run",
        "sentence": "commands without network",
    }
    return ToolStarted(**(values | changes))  # type: ignore[arg-type]  # named fields, checked by the class


def finished(**changes: object) -> ToolFinished:
    values: dict[str, object] = {
        "call_id": "c1",
        "outcome": ToolOutcome.DONE,
        "exit_status": 0,
        "duration_s": 0.012,
        "output": "hi there\n",
    }
    return ToolFinished(**(values | changes))  # type: ignore[arg-type]  # as above


def test_a_call_that_ran() -> None:
    assert started_rows(started(), MONO, 80) == [
        "╭ shell: allowed (rule.run)",
        "│ /bin/sh -c 'echo '\"'\"'hi there'\"'\"''",
    ]
    assert finished_rows(finished(), MONO, 80) == ["│ hi there", "╰ exit 0, 12 ms"]


def test_a_call_that_was_denied_says_why() -> None:
    event = started(verdict=Verdict.DENY, code="rule.secret", sentence="~/.ssh is secret\ncure: do without it")
    assert started_rows(event, MONO, 80)[-3:] == ["│ ~/.ssh is secret", "│ cure: do without it", "╰ not run"]


def test_a_diff_is_coloured_by_line() -> None:
    rows = started_rows(started(diff="--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n"), COLOUR, 80)
    assert any("\x1b[31m-old\x1b[0m" in row for row in rows)
    assert any("\x1b[32m+new\x1b[0m" in row for row in rows)


def test_output_is_bounded_from_the_middle() -> None:
    rows = finished_rows(finished(output="\n".join(f"row {n}" for n in range(100))), MONO, 80)
    assert rows[:6] == [f"│ row {n}" for n in range(6)]
    assert rows[6] == "│ (91 more rows of output)"
    assert rows[-2:] == ["│ row 99", "╰ exit 0, 12 ms"]


def test_endings() -> None:
    assert finished_rows(finished(exit_status=1, output=""), MONO, 80) == ["╰ exit 1, 12 ms"]
    assert finished_rows(finished(exit_status=None, output=""), MONO, 80) == ["╰ done, 12 ms"]
    failed = finished(exit_status=None, outcome=ToolOutcome.FAILED, output="", notice="timed out after 120 s")
    assert finished_rows(failed, MONO, 80) == ["│ timed out after 120 s", "╰ failed, 12 ms"]


def test_a_notice_that_repeats_the_ending_is_left_out() -> None:
    assert finished_rows(finished(output="", notice="exit status 0 after 0.0 s"), MONO, 80) == ["╰ exit 0, 12 ms"]
    more = finished(output="", notice="exit status 0 after 0.0 s; output cut")
    assert finished_rows(more, MONO, 80)[0] == "│ exit status 0 after 0.0 s; output cut"


def test_ascii_edges_where_the_encoding_has_no_others() -> None:
    from dataclasses import replace

    rows = started_rows(started(), replace(PLAIN, unicode=False), 80) + finished_rows(
        finished(), replace(PLAIN, unicode=False), 80
    )
    assert all(row.isascii() for row in rows)


def test_durations() -> None:
    assert [show_duration(s) for s in (0.0004, 0.25, 1.5, 61.0)] == ["0 ms", "250 ms", "1.5 s", "1 min 1 s"]


def test_a_notice_names_its_level() -> None:
    assert notice_rows(Notice(Level.ERROR, "the log is full"), PLAIN, 80) == ["error: the log is full"]
    assert notice_rows(Notice(Level.INFO, "fine"), PLAIN, 80) == ["fine"]


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=200), st.integers(20, 120))
def test_no_row_of_foreign_text_leaves_the_panel(tool: str, argument: str, output: str, width: int) -> None:
    event = started(tool=tool, argv=(argument,), sentence=output, diff=output, code=tool, verdict=Verdict.ASK)
    rows = started_rows(event, COLOUR, width) + finished_rows(finished(output=output, notice=output), COLOUR, width)
    for row in rows:
        bare = SGR.sub("", row)
        assert bare[0] in "╭│┆╰"
        assert harmless(bare)
