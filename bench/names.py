"""What looking after protected names costs: around each command, at the start, and after a command that changed much.

    python -m bench.names [--json] [--folders N] [--check]

A made-up project of N folders with 20 files each. ``idle`` is what one command pays when nothing changed, both looks
together; ``start`` is taking the project in once, while the zygote starts; ``after`` is the look after a command that
made 1000 files. Processor time, because the machine may be busy. Ends with status 1 when a must is missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from localgpt.sandbox import Plan
from localgpt.sandbox.protection import Protection

LIMIT_IDLE_US = 60.0
LIMIT_START_MS_PER_1000_FOLDERS = 150.0
LIMIT_AFTER_MS = 60.0
_FILES = 20
_ROUNDS = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One project."""

    folders: int
    files: int
    idle_us: float
    start_ms: float
    after_1000_files_ms: float

    @property
    def met(self) -> bool:
        most = max(10.0, LIMIT_START_MS_PER_1000_FOLDERS * self.folders / 1000)
        return self.idle_us <= LIMIT_IDLE_US and self.start_ms <= most and self.after_1000_files_ms <= LIMIT_AFTER_MS


def spent_ms(run: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    run()
    return (time.process_time() - start) * 1000


def measure(folders: int) -> Row:
    """Make a project, look after it, take it away."""
    base = Path(tempfile.mkdtemp()).resolve()
    try:
        for index in range(folders):
            folder = base / f"a{index % 10}" / f"b{index}"
            folder.mkdir(parents=True)
            for number in range(_FILES):
                (folder / f"f{number}.py").touch()
        protection = Protection(Plan.workspace_write(base))
        start_ms = spent_ms(protection.begin)
        idle_ms = spent_ms(lambda: _idle(protection))
        protection.before_command()
        (base / "new").mkdir()
        for number in range(1000):
            (base / "new" / f"f{number}.py").touch()
        after_ms = spent_ms(protection.after_command)
        protection.close()
    finally:
        shutil.rmtree(base)
    return Row(folders, folders * _FILES, idle_ms / _ROUNDS * 1000, start_ms, after_ms)


def _idle(protection: Protection) -> None:
    for _ in range(_ROUNDS):
        protection.before_command()
        protection.after_command()


def table(rows: list[Row]) -> str:
    """Rows for people."""
    lines = [f"{'folders':>8} {'files':>8} {'idle us':>9} {'start ms':>9} {'after ms':>9}"]
    for row in rows:
        figures = f"{row.idle_us:>9.1f} {row.start_ms:>9.1f} {row.after_1000_files_ms:>9.1f}"
        lines.append(f"{row.folders:>8} {row.files:>8} {figures}{'' if row.met else '   MISSED'}")
    lines.append(
        f"musts: idle <= {LIMIT_IDLE_US:.0f} us, start <= {LIMIT_START_MS_PER_1000_FOLDERS:.0f} ms a 1000 folders"
    )
    return "\n".join(lines)


def main() -> int:
    """Print the table; 1 with --check when a must is missed twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--folders", type=int, default=1000)
    arguments = parser.parse_args()
    rows = [row if row.met else measure(row.folders) for row in map(measure, (20, arguments.folders))]
    print(json.dumps([asdict(row) for row in rows]) if arguments.json else table(rows))
    return 1 if arguments.check and not all(row.met for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
