"""Run the benches: ``python -m bench`` in full, ``python -m bench --fast`` as every check does.

Each bench is a module that can be run alone (``python -m bench.startup``), prints a table, and with ``--check`` ends
with status 1 when a figure misses its limit. The fast run measures less often and takes seconds; bench/README.md has
the time budget. A limit that is missed is measured once more before it counts: the machine may have been busy.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAST: dict[str, tuple[str, ...]] = {  # a bench that is not named runs in full only
    "embedded": ("--calls", "3"),
    "exec": ("--pairs", "60"),
    "injection": ("--fast",),
    "prompt": ("--rounds", "7"),
    "startup": ("--rounds", "9"),
}


def benches() -> tuple[str, ...]:
    """Return the names of all benches."""
    return tuple(sorted(each.stem for each in HERE.glob("*.py") if not each.stem.startswith("_")))


def run(name: str, options: Sequence[str]) -> bool:
    """Run one bench, a second time when it missed a limit; tell whether it met its limits."""
    argv = [sys.executable, "-m", f"bench.{name}", "--check", *options]
    for attempt in ("", " (once more)"):
        print(f"-- {name}{attempt}", flush=True)
        if subprocess.run(argv, cwd=HERE.parent, check=False).returncode == 0:
            return True
    return False


def main(arguments: Sequence[str]) -> int:
    """Run all benches, or the fast ones; return 0 when all met their limits."""
    fast = "--fast" in arguments
    chosen = [each for each in benches() if not fast or each in FAST]
    missed = [each for each in chosen if not run(each, FAST[each] if fast else ())]
    print(f"{len(chosen)} benches, missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
