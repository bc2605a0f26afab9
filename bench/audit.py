"""What an audit entry costs: the processor's part alone, and a durable append beside raw fdatasync of the same run.

    python -m bench.audit [--json] [--rounds N] [--entries N] [--directory DIR] [--check]

Raw and durable appends alternate, one each a round, in the same directory and with lines of about the same length, so
that a busy disk hits both. The processor's part is measured on the thread's own clock, so that other programs of the
machine do not count. `--check` ends with status 1 when a figure misses its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles

from localgpt.audit import AuditLog, LogVerdict
from localgpt.audit.disk import SystemClock, SystemDisk
from localgpt.audit.grammar import spell
from localgpt.audit.index import Index
from localgpt.audit.query import Query
from localgpt.audit.writer import Writer
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
CPU_US = (12.0, 25.0)
DURABLE_RATIOS = (1.1, 1.5)
TOGETHER_RATIO = 8.0
VERIFY_PER_S = 300_000
VERIFY_MIB = 64
QUERY_MS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: microseconds at the percentiles, operations a second, and limits where there are any.

    `limit_per_s` is a least, the others are mosts; `memory_mib` is the growth of the process while it ran.
    """

    what: str
    p50_us: float
    p99_us: float
    per_second: float
    limit_p50_us: float | None = None
    limit_p99_us: float | None = None
    limit_per_s: float | None = None
    memory_mib: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether a limit is missed."""
        return (
            (self.limit_p50_us is not None and self.p50_us > self.limit_p50_us)
            or (self.limit_p99_us is not None and self.p99_us > self.limit_p99_us)
            or (self.limit_per_s is not None and self.per_second < self.limit_per_s)
            or (self.memory_mib is not None and self.memory_mib > VERIFY_MIB)
        )


class NoSync(SystemDisk):
    """Everything but the wait for the disk."""

    def sync(self, descriptor: int) -> None:
        pass


def append(log: AuditLog) -> None:
    """One entry of the usual size."""
    log.append("decision", session=SESSION, **DECISION)


def timed(action: Callable[[], object], rounds: int, clock: Callable[[], int] = time.perf_counter_ns) -> list[float]:
    """Microseconds of each call."""
    times = []
    for _ in range(rounds):
        start = clock()
        action()
        times.append((clock() - start) / 1000)
    return times


def row(what: str, times: list[float], p50: float | None = None, p99: float | None = None) -> Row:
    """Percentiles of one series."""
    points = quantiles(times, n=100, method="inclusive")
    return Row(what, points[49], points[98], 1e6 * len(times) / sum(times), p50, p99)


def processor(directory: Path, rounds: int) -> list[Row]:
    """An append without the wait: fields checked, encoded, hashed, locked, written, head written."""
    writer = Writer(directory / "processor", KEY, SystemClock(), NoSync())
    writer.open()

    def commit() -> None:
        writer.commit([spell("decision", SESSION, DECISION)], may_close=False)

    timed(commit, 200)  # warm caches
    alone = timed(commit, rounds, time.thread_time_ns)
    batch = 64

    def together() -> None:
        writer.commit([spell("decision", SESSION, DECISION) for _ in range(batch)], may_close=False)

    shared = [each / batch for each in timed(together, max(20, rounds // batch), time.thread_time_ns)]
    writer.close()
    log = AuditLog.open(directory / "thread", key=KEY, disk=NoSync())
    through = timed(lambda: append(log), rounds)
    log.close()
    return [
        row("append, processor only", alone, *CPU_US),
        row(f"append, processor only, {batch} in a commit", shared),
        row("append, through the writer's thread, no sync", through),
    ]


def durable(directory: Path, rounds: int) -> list[Row]:
    """Durable appends and bare `write` + `fdatasync`, in turn."""
    log = AuditLog.open(directory / "durable", key=KEY)
    line = b"x" * 470 + b"\n"
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
    limits = reference.p50_us * DURABLE_RATIOS[0], reference.p99_us * DURABLE_RATIOS[1]
    return [reference, row("append, durable", full, *limits)]


def clients(directory: Path, rounds: int, count: int) -> Row:
    """Several threads appending at once; the figure is per entry over all of them."""
    log = AuditLog.open(directory / f"clients{count}", key=KEY)
    threads = [threading.Thread(target=timed, args=(lambda: append(log), rounds)) for _ in range(count)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    each_us = (time.perf_counter() - start) * 1e6 / (rounds * count)
    log.close()
    return Row(f"append, durable, {count} client{'s' * (count > 1)}", each_us, each_us, 1e6 / each_us)


def together(directory: Path, rounds: int) -> list[Row]:
    """One client and eight, in turn, so that a busy disk hits both; the limit is on the best pair."""
    pairs = []
    for attempt in range(3):
        place = directory / f"pair{attempt}"
        place.mkdir()
        pairs.append((clients(place, rounds, 1), clients(place, rounds, 8)))
    one, eight = max(pairs, key=lambda pair: pair[1].per_second / pair[0].per_second)
    limit = one.per_second * TOGETHER_RATIO
    return [one, Row(eight.what, eight.p50_us, eight.p99_us, eight.per_second, limit_per_s=limit)]


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


MEASURE = """
import json, resource, sys, time
from pathlib import Path
from bench.audit import KEY
from localgpt.audit import verify_log
from localgpt.audit.checkpoints import public_key
public_key(bytes(32))  # the library is loaded before memory is measured
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter(), time.process_time()
report = verify_log(Path(sys.argv[1]), KEY)
wall, used = time.perf_counter() - start[0], time.process_time() - start[1]
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([report.verdict.value, report.entries, wall, used, grown / 1024]))
"""


def fill(directory: Path, entries: int) -> None:
    """A log of so many entries and their epochs, without waiting for the disk."""
    writer = Writer(directory, KEY, SystemClock(), NoSync())
    writer.open()
    for _ in range(entries // 64):
        writer.commit([spell("decision", SESSION, DECISION) for _ in range(64)], may_close=False)
    writer.close()


def verification(directory: Path, entries: int) -> Row:
    """Full verification in a process of its own: grammar, chain, tree, signatures, head. By the processor's time."""
    fill(directory / "verify", entries)
    argv = [sys.executable, "-c", MEASURE, str(directory / "verify")]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=True)
    verdict, found, _wall, used, grown = json.loads(done.stdout)
    if verdict != LogVerdict.INTACT.value:
        raise SystemExit(f"the log that was just written is {verdict}")
    each_us = used * 1e6 / found
    what = f"verify, {found} entries"
    return Row(what, each_us, each_us, 1e6 / each_us, limit_per_s=VERIFY_PER_S, memory_mib=grown)


def queries(directory: Path) -> list[Row]:
    """With the index, on the log that was verified: making it, and what people ask."""
    with closing(Index(directory / "verify", directory / "cache")) as index:
        start = time.perf_counter()
        index.update()
        made = (time.perf_counter() - start) * 1e6
        asked = [
            ("the last 20 refusals", Query(verdict="deny"), 20),
            ("the last 20 of a tool", Query(tool="shell"), 20),
            ("the last 20 of a session", Query(session=SESSION[:8]), 20),
            ("paths, none there", Query(path="/nowhere"), 20),
            ("the last minute's decisions", Query(kinds=frozenset({"decision"}), since_us=2**52), 200),
        ]
        rows = [Row("index made", made, made, 1e6 / made)]
        for what, query, limit in asked:
            times = timed(partial(index.select, query, limit=limit), 11)
            rows.append(row(f"query, {what}", times, p50=QUERY_MS * 1000.0))
    return rows


def measure(directory: Path, rounds: int, entries: int) -> list[Row]:
    """All rows, quickest first."""
    return [
        *processor(directory, rounds * 10),
        *durable(directory, rounds),
        *together(directory, max(20, rounds // 4)),
        processes(directory, max(20, rounds // 4), 4),
        verification(directory, entries),
        *queries(directory),
    ]


def show(rows: list[Row]) -> None:
    """Print a table."""
    print(f"{'':<46}{'p50 us':>10}{'p99 us':>10}{'per s':>10}  limits")
    for each in rows:
        mosts = [f"p50 {each.limit_p50_us:.0f}" if each.limit_p50_us else ""]
        mosts += [f"p99 {each.limit_p99_us:.0f}" if each.limit_p99_us else ""]
        mosts += [f"{each.limit_per_s:.0f}/s" if each.limit_per_s else ""]
        mosts += [f"{each.memory_mib:.0f} of {VERIFY_MIB} MiB" if each.memory_mib is not None else ""]
        limits = ", ".join(filter(None, mosts)) + (" MISSED" if each.is_missed else "")
        print(f"{each.what:<46}{each.p50_us:>10.1f}{each.p99_us:>10.1f}{each.per_second:>10.0f}  {limits}")


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
    missed = [each for each in rows if each.is_missed]
    if options.check and missed:
        raise SystemExit(f"above the limit: {', '.join(each.what for each in missed)}")


if __name__ == "__main__":
    main()
