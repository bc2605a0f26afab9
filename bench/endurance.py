"""Many thousand commands through one executor a rung and through a pool: descriptors, memory and processes stay flat.

    python -m bench.endurance [--json] [--check] [--commands N]

After a tenth of the commands the runtime's descriptors and children, the zygote's descriptors (as root) and the memory
of both are noted, and compared at the end. Ends with status 1 when a descriptor or a process was left, or memory grew
by more than `LIMIT_GROWTH_MIB`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from localgpt.sandbox import Executor, Plan, Pool, Rung, tree

LIMIT_GROWTH_MIB = 2.0
COMMANDS = 100_000
AT_ONCE = 4
_BATCH = 200
_LINES = (["/bin/true"], ["sh", "-c", "echo hi; echo err >&2"], ["sh", "-c", "sleep 9 & exit 3"], ["/nonexistent"])


@dataclass(frozen=True, slots=True)
class Row:
    """How one way of running commands held out; growth from a tenth of them to the last."""

    by: str
    commands: int
    seconds: float
    descriptors: int
    children: int
    zygote_descriptors: int
    runtime_mib: float
    helpers_mib: float
    met: bool


@dataclass(frozen=True, slots=True)
class _State:
    descriptors: int
    children: int
    zygote_descriptors: int
    runtime_kib: int
    helpers_kib: int


def _resident_kib(pid: int | str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def _descriptors(pid: int | str) -> int:
    try:
        return len([*Path(f"/proc/{pid}/fd").iterdir()])
    except OSError:  # only root may look into a zygote
        return 0


def _state() -> _State:
    wardens = tree.children(os.getpid())
    zygotes = [pid for warden in wardens for pid in tree.children(warden)]
    return _State(
        _descriptors("self"),
        len(wardens),
        sum(map(_descriptors, zygotes)),
        _resident_kib("self"),
        sum(map(_resident_kib, [*wardens, *zygotes])),
    )


def hold_out(by: str, commands: int, run: Callable[[list[str]], object]) -> Row:
    """Run `commands` commands of several kinds and compare what is held then with what was held early on."""

    def one(number: int) -> None:
        try:
            run(_LINES[number % len(_LINES)])
        except Exception as error:
            if number % len(_LINES) != len(_LINES) - 1:  # the last does not exist
                raise RuntimeError(f"command {number} failed") from error

    early: _State | None = None
    start = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE if by == "pool" else 1) as threads:
        for begin in range(0, commands, _BATCH):  # a future for each command would be the growth that is measured
            for _ in threads.map(one, range(begin, min(commands, begin + _BATCH))):
                pass
            early = early or (_state() if begin >= commands // 10 else None)
        late = _state()
    early = early or late
    descriptors, children = late.descriptors - early.descriptors, late.children - early.children
    zygotes = late.zygote_descriptors - early.zygote_descriptors
    runtime, helpers = (late.runtime_kib - early.runtime_kib) / 1024, (late.helpers_kib - early.helpers_kib) / 1024
    flat = max(descriptors, children) <= 0 and zygotes <= 3 * AT_ONCE  # those of the last commands may still be there
    met = flat and max(runtime, helpers) <= LIMIT_GROWTH_MIB
    return Row(by, commands, time.monotonic() - start, descriptors, children, zygotes, runtime, helpers, met)


def bench(commands: int) -> Iterator[Row]:
    """Half of the commands through executors, half through a pool."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan.workspace_write(str(Path(folder).resolve()))
        for rung in Rung:
            with Executor(plan, max_rung=rung) as executor:
                yield hold_out(f"rung {rung}", commands // 4, executor.run)
        with Pool(AT_ONCE) as pool:
            yield hold_out("pool", commands // 2, lambda argv: pool.run(plan, argv))


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="bench.endurance", description="descriptors and memory over many commands")
    parser.add_argument("--json", action="store_true", help="print rows instead of a table")
    parser.add_argument("--commands", type=int, default=COMMANDS)
    parser.add_argument("--check", action="store_true", help="for company: what is not flat ends with status 1")
    options = parser.parse_args(arguments)
    rows = []
    for row in bench(options.commands):
        rows.append(row)
        if options.json:
            print(json.dumps(asdict(row)), flush=True)
        else:
            held = f"descriptors {row.descriptors:+d}, children {row.children:+d}, zygotes' {row.zygote_descriptors:+d}"
            memory = f"memory {row.runtime_mib:+.2f} and {row.helpers_mib:+.2f} MiB"
            said = f"{row.by:<8} {row.commands:>7} commands in {row.seconds:6.0f} s: {held}, {memory}"
            print(f"{said}{'' if row.met else '   MISSED'}", flush=True)
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
