"""By how much a command overshoots a limit before it is ended, where the limit is watched and not held by the kernel.

    python -m bench.limits [--json] [--check] [--rounds N]

Each bomb says how far it has come as often as it can; the last that was heard, less the limit, is the overshoot (for
processes, each starts a busy one). With a cgroup (`sandbox status` says so) memory and processes are the kernel's, and
there is none. Ends with status 1 when a bomb was not ended by its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from localgpt.sandbox import Executor, Limits, Plan, Rung

MIB = 1 << 20
LIMITS = Limits(timeout_s=20, processes=24, memory_bytes=256 * MIB, cpu_s=1.0, written_bytes=64 * MIB)
_SAY = "import os, sys, time\nsay = lambda n: os.write(1, b'%d\\n' % n)\n"
_MANY = "for _ in range(2): os.fork()\n"
_HOARD = "keep = []\nwhile True: keep.append(bytearray(b'x') * (1 << 20)); say(1)"
_BURN = "last = 0\nwhile True:\n  now = int(time.process_time() * 1000)\n  say(now - last); last = now"
_WRITE = "n = 0\nwhile True:\n  n += 1; open(f'f{n % 200}', 'wb').write(bytes(1 << 20)); say(1)"
_FORK = """
while True:
  try: pid = os.fork()
  except OSError: break
  if not pid: time.sleep(9); os._exit(0)
  say(1)
time.sleep(9)
"""
BOMBS: dict[str, tuple[str, str, float]] = {  # what: code, unit, the limit in that unit
    "memory": (_SAY + _HOARD, "MiB", 256),
    "memory, 4 processes": (_SAY + _MANY + _HOARD, "MiB", 256),
    "cpu": (_SAY + _BURN, "ms", 1000),
    "cpu, 4 processes": (_SAY + _MANY + _BURN, "ms", 1000),
    "written": (_SAY + _WRITE, "MiB", 64),
    "processes": (_SAY + _FORK, "processes", 24),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One limit on one rung. `overshoot` is the worst of the rounds, in `unit`; `by` the limit that ended the bomb."""

    what: str
    rung: str
    limit: float
    overshoot: float
    unit: str
    by: str
    met: bool


def overshoots(executor: Executor, what: str, rounds: int) -> Row:
    """Run one bomb some times."""
    code, unit, limit = BOMBS[what]
    worst, ended_by = float("-inf"), ""
    for _ in range(rounds):
        done = executor.run([os.path.realpath(sys.executable), "-I", "-S", "-c", code], timeout_s=10)
        reached = sum(int(line) for line in done.stdout.splitlines() if line.isdigit())
        worst, ended_by = max(worst, reached - limit), done.limit
    held = what == "processes" and executor.proof.holds("process-limit")
    met = held or ended_by == what.partition(",")[0]
    return Row(what, executor.proof.rung.value, limit, worst, unit, "the kernel" if held else ended_by, met)


def bench(rounds: int) -> Iterator[Row]:
    """Every limit on both rungs."""
    for rung in Rung:
        with tempfile.TemporaryDirectory(dir=".") as folder:  # not in memory, where nothing is written
            plan = Plan.workspace_write(str(Path(folder).resolve()), limits=LIMITS)
            with Executor(plan, max_rung=rung) as executor:
                yield from (overshoots(executor, what, rounds) for what in BOMBS)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="bench.limits", description="overshoot of the limits that are watched")
    parser.add_argument("--json", action="store_true", help="print rows instead of a table")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--check", action="store_true", help="for company: a limit that does not end its bomb is status 1"
    )
    options = parser.parse_args(arguments)
    rows = list(bench(options.rounds))
    for row in rows:
        if options.json:
            print(json.dumps(asdict(row)))
        else:
            said = (
                f"limit {row.limit:6.0f} {row.unit:<9} overshoot {row.overshoot:8.0f}   ended by {row.by or 'nothing'}"
            )
            print(f"{row.what:<22} rung {row.rung}  {said}{'' if row.met else '   MISSED'}")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
