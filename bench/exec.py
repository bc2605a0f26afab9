"""What confinement adds to starting a command, beside a bare ``subprocess.run`` of the same run.

    python -m bench.exec [--json] [--pairs N] [--rung A|B] [--check]

Each pair runs one command bare and one through the executor, in turn and in changing order, so that a busy moment of
the machine hits both. ``ratio`` is the ratio of the medians, ``added`` the median of the differences of the pairs; both
include capturing the output, its cap, and the proof that nobody of the command's tree is left. A must that is missed is
measured once more before it counts. Ends with status 1 when a must is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from localgpt.sandbox import Executor, Plan, Rung

LIMIT_RATIO = 1.25
LIMIT_ADDED_MS = 0.4
COMMANDS: dict[str, list[str]] = {"/bin/true": ["/bin/true"], "sh -c 'echo hi'": ["sh", "-c", "echo hi"]}
_WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One command on one rung; milliseconds, but for `ratio` and `pairs`."""

    command: str
    rung: str
    pairs: int
    bare_p50_ms: float
    confined_p50_ms: float
    ratio: float
    added_p50_ms: float
    added_p99_ms: float
    cold_start_ms: float

    @property
    def met(self) -> bool:
        return self.ratio <= LIMIT_RATIO and self.added_p50_ms <= LIMIT_ADDED_MS


def elapsed_ms(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1000


def measure(executor: Executor, name: str, argv: list[str], pairs: int) -> Row:
    """Run `pairs` pairs of one command."""

    def bare() -> object:
        return subprocess.run(argv, capture_output=True, check=True)

    def confined() -> object:
        return executor.run(argv)

    for _ in range(_WARM_UP):
        bare()
        confined()
    times: list[tuple[float, float]] = []
    for index in range(pairs):
        if index % 2:
            ours = elapsed_ms(confined)
            times.append((elapsed_ms(bare), ours))
        else:
            theirs = elapsed_ms(bare)
            times.append((theirs, elapsed_ms(confined)))
    added = sorted(ours - theirs for theirs, ours in times)
    bare_p50 = statistics.median(theirs for theirs, _ in times)
    ours_p50 = statistics.median(ours for _, ours in times)
    return Row(
        command=name,
        rung=executor.proof.rung.value,
        pairs=pairs,
        bare_p50_ms=bare_p50,
        confined_p50_ms=ours_p50,
        ratio=ours_p50 / bare_p50,
        added_p50_ms=statistics.median(added),
        added_p99_ms=added[int(len(added) * 0.99)],
        cold_start_ms=executor.proof.duration_ms,
    )


def bench(rung: Rung, pairs: int) -> list[Row]:
    """Measure every command on one rung, each a second time when a must was missed."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan.workspace_write(str(Path(folder).resolve()))
        with Executor(plan, max_rung=rung) as executor:
            for name, argv in COMMANDS.items():
                row = measure(executor, name, argv, pairs)
                rows.append(row if row.met else measure(executor, name, argv, pairs))
    return rows


def table(rows: list[Row]) -> str:
    """Rows for people."""
    heads = ("bare p50", "ours p50", "ratio", "added p50", "added p99", "cold")
    lines = [f"{'command':<18} {'rung':>4} " + " ".join(f"{head:>9}" for head in heads)]
    for row in rows:
        figures = (
            row.bare_p50_ms,
            row.confined_p50_ms,
            row.ratio,
            row.added_p50_ms,
            row.added_p99_ms,
            row.cold_start_ms,
        )
        cells = " ".join(f"{figure:>9.3f}" for figure in figures)
        lines.append(f"{row.command:<18} {row.rung:>4} {cells}{'' if row.met else '   MISSED'}")
    return "\n".join([*lines, f"milliseconds; musts: ratio <= {LIMIT_RATIO}, added p50 <= {LIMIT_ADDED_MS}"])


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="bench.exec", description="cost of a confined command")
    parser.add_argument("--json", action="store_true", help="print rows instead of a table")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--rung", choices=[rung.value for rung in Rung], help="only this rung (default: both)")
    parser.add_argument("--check", action="store_true", help="for company: a missed must always ends with status 1")
    options = parser.parse_args(arguments)
    rungs = [Rung(options.rung)] if options.rung else list(Rung)
    rows = [row for rung in rungs for row in bench(rung, options.pairs)]
    if options.json:
        for row in rows:
            print(json.dumps(asdict(row) | {"met": row.met}))
    else:
        print(table(rows))
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
