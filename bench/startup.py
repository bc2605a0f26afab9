"""How long the light commands take to start, beside a bare ``python -c pass`` of the same run.

    python -m bench.startup [--json] [--rounds N] [--check]

Each round runs every command once, in turn, so that a busy moment of the machine hits all of them; the figure is the
median of the differences to the bare interpreter of the same round. Bytecode is compiled before the first round.
``--check`` ends with status 1 when a figure is above its limit.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

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
    """One command: milliseconds added to the bare interpreter (median, 10th and 90th percentile)."""

    command: str
    added_ms: float
    p10_ms: float
    p90_ms: float
    limit_ms: float | None


def compile_packages() -> None:
    """Write bytecode for everything that the light commands import; the environment may forbid it by default."""
    for name in ("localgpt", "typer", "shellingham", "annotated_doc", "tomlkit"):
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            compileall.compile_dir(folder, quiet=2, force=False)


def elapsed_ms(argv: list[str], environ: dict[str, str]) -> float:
    """Run once; wall time."""
    start = time.perf_counter()
    subprocess.run(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return (time.perf_counter() - start) * 1000


def measure(rounds: int) -> tuple[list[Row], float]:
    """Run `rounds` rounds in an empty home; give the rows and the bare interpreter's median."""
    command = Path(sys.executable).with_name("localgpt")
    start = [str(command)] if command.exists() else [sys.executable, "-m", "localgpt"]
    with tempfile.TemporaryDirectory() as home:
        environ = {"HOME": home, "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
        bare: list[float] = []
        added: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for round_ in range(rounds + 1):
            base = elapsed_ms([sys.executable, "-c", "pass"], environ)
            times = {name: elapsed_ms([*start, *argv], environ) for name, (argv, _) in COMMANDS.items()}
            if round_:  # the first round warms the page cache
                bare.append(base)
                for name, value in times.items():
                    added[name].append(value - base)
    rows = [row(name, added[name], COMMANDS[name][1]) for name in COMMANDS]
    return rows, statistics.median(bare)


def row(name: str, added: list[float], limit: float | None) -> Row:
    """Summarise one command's differences."""
    ordered = sorted(added)
    tenth = len(ordered) // 10
    return Row(name, statistics.median(ordered), ordered[tenth], ordered[-1 - tenth], limit)


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
        print(json.dumps({"bare_ms": bare, "rows": [asdict(r) for r in rows]}))
    else:
        print(f"bare python -c pass: {bare:.1f} ms\n\ncommand        added p50   p10   p90  limit")
        for r in rows:
            limit = "" if r.limit_ms is None else f"{r.limit_ms:.0f}"
            print(f"{r.command:<14} {r.added_ms:7.1f} {r.p10_ms:7.1f} {r.p90_ms:5.1f} {limit:>6}")
    late = [r for r in rows if r.limit_ms is not None and r.added_ms > r.limit_ms]
    for r in late:
        print(f"{r.command}: {r.added_ms:.1f} ms is above {r.limit_ms:.0f} ms", file=sys.stderr)
    return 1 if options.check and late else 0


if __name__ == "__main__":
    sys.exit(main())
