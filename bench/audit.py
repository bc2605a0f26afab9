"""What an audit entry costs: the processor's part alone, and a durable append beside raw fdatasync of the same run.

    python -m bench.audit [--json] [--rounds N] [--entries N] [--directory DIR] [--check]

Raw and durable appends alternate, one each a round, in the same directory and with lines of about the same length, so
that a busy disk hits both. `--check` ends with status 1 when a figure is above its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles

from localgpt.audit import AuditLog, LogVerdict, verify_log
from localgpt.audit.system import SystemDisk
from localgpt.crypto import DeviceKey

KEY = DeviceKey(bytes(range(32)))
SESSION = "0123456789abcdef"
DECISION = {
    "call": "call-1",
    "tool": "shell",
    "verdict": "allow",
    "code": "run.confined",
    "policy": "ab" * 32,
    "argv0": "/bin/sh",
    "argv_hmac": "cd" * 16,
    "effects": ("run",),
}
CPU_P50_US = 60.0
DURABLE_P50_RATIO = 1.25


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: microseconds at the percentiles, operations a second, and the limit on `p50_us`, if any."""

    what: str
    p50_us: float
    p99_us: float
    per_second: float
    limit_p50_us: float | None = None


class NoSync(SystemDisk):
    """Everything but the wait for the disk."""

    def sync(self, descriptor: int) -> None:
        pass


def append(log: AuditLog) -> None:
    """One entry of the usual size."""
    log.append("decision", session=SESSION, **DECISION)


def timed(action: Callable[[], object], rounds: int) -> list[float]:
    """Microseconds of each call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        action()
        times.append((time.perf_counter_ns() - start) / 1000)
    return times


def row(what: str, times: list[float], limit: float | None = None) -> Row:
    """Percentiles of one series."""
    points = quantiles(times, n=100, method="inclusive")
    return Row(what, points[49], points[98], 1e6 * len(times) / sum(times), limit)


def processor(directory: Path, rounds: int) -> Row:
    """An append without the wait: fields checked, encoded, hashed, locked, written, head written."""
    log = AuditLog.open(directory / "processor", key=KEY, disk=NoSync())
    timed(lambda: append(log), 200)  # warm caches
    times = timed(lambda: append(log), rounds)
    log.close()
    return row("append, processor only", times, CPU_P50_US)


def durable(directory: Path, rounds: int) -> list[Row]:
    """Durable appends and bare `write` + `fdatasync`, in turn."""
    log = AuditLog.open(directory / "durable", key=KEY)
    line = b"x" * 518 + b"\n"
    descriptor = os.open(directory / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def bare() -> None:
        os.write(descriptor, line)
        os.fdatasync(descriptor)

    raw: list[float] = []
    full: list[float] = []
    for _ in range(rounds):
        raw += timed(bare, 1)
        full += timed(lambda: append(log), 1)
    os.close(descriptor)
    log.close()
    reference = row("write + fdatasync, bare", raw)
    limit = reference.p50_us * DURABLE_P50_RATIO + CPU_P50_US
    return [reference, row("append, durable", full, limit)]


WRITER = """
import sys
from pathlib import Path
from bench.audit import KEY, append
from localgpt.audit import AuditLog
log = AuditLog.open(Path(sys.argv[1]), key=KEY, lock_wait_s=60)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    append(log)
"""


def processes(directory: Path, rounds: int, count: int) -> Row:
    """Several processes appending to one log at once; the figure is per entry over all of them."""
    argv = [sys.executable, "-c", WRITER, str(directory / f"shared{count}"), str(rounds)]
    root = Path(__file__).resolve().parent.parent
    workers = [subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    start = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate()
    each_us = (time.perf_counter() - start) * 1e6 / (rounds * count)
    return Row(f"append, durable, {count} processes", each_us, each_us, 1e6 / each_us)


def verification(directory: Path, entries: int) -> Row:
    """Full verification: parse, re-encode, check every field, chain, head."""
    log = AuditLog.open(directory / "verify", key=KEY, disk=NoSync())
    for _ in range(entries):
        append(log)
    log.close()
    start = time.perf_counter()
    report = verify_log(directory / "verify", KEY)
    each_us = (time.perf_counter() - start) * 1e6 / report.entries
    if report.verdict is not LogVerdict.INTACT:
        raise SystemExit(f"the log that was just written is {report.verdict}")
    return Row(f"verify, {report.entries} entries", each_us, each_us, 1e6 / each_us)


def measure(directory: Path, rounds: int, entries: int) -> list[Row]:
    """All rows, quickest first."""
    return [
        processor(directory, rounds * 10),
        *durable(directory, rounds),
        processes(directory, max(20, rounds // 4), 4),
        verification(directory, entries),
    ]


def show(rows: list[Row]) -> None:
    """Print a table."""
    print(f"{'':<34}{'p50 us':>10}{'p99 us':>10}{'per s':>10}{'limit':>10}")
    for each in rows:
        limit = "" if each.limit_p50_us is None else f"{each.limit_p50_us:.0f}"
        print(f"{each.what:<34}{each.p50_us:>10.1f}{each.p99_us:>10.1f}{each.per_second:>10.0f}{limit:>10}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--directory", type=Path, help="where the disk to measure is mounted")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        rows = measure(Path(directory), options.rounds, options.entries)
    if options.json:
        print(json.dumps([asdict(each) for each in rows]))
    else:
        show(rows)
    missed = [each for each in rows if each.limit_p50_us is not None and each.p50_us > each.limit_p50_us]
    if options.check and missed:
        raise SystemExit(f"above the limit: {', '.join(each.what for each in missed)}")


if __name__ == "__main__":
    main()
