"""How long the light commands take to start, beside a bare ``python -c pass`` of the same run.

    python -m bench.startup [--json] [--rounds N] [--check]

Each round runs every command once, in turn, so that a busy moment of the machine hits all of them; the figure is the
median of the differences to the bare interpreter of the same round. Bytecode is compiled before the first round.
Starting is all computing, so on an idle machine wall and processor time agree; on a busy one wall time measures the
neighbours. ``--check`` ends with status 1 when both medians of a command are above its limit, which
is stretched on a machine slower than the one it is for (`bench._machine`).
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench._machine import scale

LIMIT_MS = 70.0
COMMANDS: dict[str, tuple[list[str], float | None]] = {
    "--version": (["--version"], LIMIT_MS),
    "config show": (["config", "show"], LIMIT_MS),
    "paths": (["paths"], None),
    "--help": (["--help"], None),
    "verify": (["verify"], None),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One command, in milliseconds added to the bare interpreter: wall (median, 10th, 90th percentile), processor."""

    command: str
    added_ms: float
    p10_ms: float
    p90_ms: float
    added_cpu_ms: float
    limit_ms: float | None


def compile_packages() -> None:
    """Write bytecode for everything that the light commands import; the environment may forbid it by default."""
    for name in ("localgpt", "typer", "shellingham", "annotated_doc", "tomlkit"):
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            compileall.compile_dir(folder, quiet=2, force=False)


def elapsed(argv: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Run once; wall and processor time in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1000, cpu * 1000


def measure(rounds: int) -> tuple[list[Row], tuple[float, float]]:
    """Run `rounds` rounds in an empty home; give the rows and the bare interpreter's medians (wall, processor)."""
    command = Path(sys.executable).with_name("localgpt")
    start = [str(command)] if command.exists() else [sys.executable, "-m", "localgpt"]
    bare: list[tuple[float, float]] = []
    added: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as home:
        environ = {"HOME": home, "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
        for round_ in range(rounds + 1):
            base = elapsed([sys.executable, "-c", "pass"], environ)
            times = {name: elapsed([*start, *argv], environ) for name, (argv, _) in COMMANDS.items()}
            if round_:  # the first round warms the page cache
                bare.append(base)
                for name, (wall, cpu) in times.items():
                    added[name].append((wall - base[0], cpu - base[1]))
    rows = [row(name, added[name], COMMANDS[name][1]) for name in COMMANDS]
    return rows, (statistics.median(b[0] for b in bare), statistics.median(b[1] for b in bare))


def row(name: str, added: list[tuple[float, float]], limit: float | None) -> Row:
    """Summarise one command's differences."""
    ordered = sorted(wall for wall, _ in added)
    tenth = len(ordered) // 10
    cpu = statistics.median(cpu for _, cpu in added)
    return Row(name, statistics.median(ordered), ordered[tenth], ordered[-1 - tenth], cpu, limit)


def main() -> int:
    """Measure, print, and judge when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    compile_packages()
    rows, bare = measure(options.rounds)
    if options.json:
        print(json.dumps({"bare_ms": bare[0], "bare_cpu_ms": bare[1], "rows": [asdict(r) for r in rows]}))
    else:
        print(f"bare python -c pass: {bare[0]:.1f} ms wall, {bare[1]:.1f} ms processor\n")
        print("command        added p50     p10     p90  processor  limit")
        for r in rows:
            limit = "" if r.limit_ms is None else f"{r.limit_ms:.0f}"
            print(
                f"{r.command:<14} {r.added_ms:7.1f} {r.p10_ms:7.1f} {r.p90_ms:7.1f} {r.added_cpu_ms:10.1f} {limit:>6}"
            )
    late = [r for r in rows if r.limit_ms is not None and min(r.added_ms, r.added_cpu_ms) > r.limit_ms]
    if options.check and late:
        more = scale()
        late = [r for r in late if r.limit_ms is not None and min(r.added_ms, r.added_cpu_ms) > r.limit_ms * more]
    for r in late:
        print(f"{r.command}: {r.added_ms:.1f} ms is above {r.limit_ms:.0f} ms", file=sys.stderr)
    return 1 if options.check and late else 0


if __name__ == "__main__":
    sys.exit(main())
