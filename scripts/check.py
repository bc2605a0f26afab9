"""Every check of the project in one command: format, lint, types, import contracts, tests, benches, README examples.

    run test                      everything; the exit status is 0 only when all passed
    run test --only lint,types    some steps
    run test -k policy -x         only pytest, with these arguments

Each step is timed. What a step prints is shown when it fails; pytest is shown as it runs, and its closing line is
printed once more at the very end.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
CACHE = Path(sys.prefix) / "cache"  # tools keep their caches in the environment: the checkout may be read-only


@dataclass(frozen=True, slots=True)
class Step:
    """One check: a program of the environment with its arguments.

    `shown`: print its output as it comes. `always`: part of what runs when nothing is chosen.
    """

    name: str
    argv: tuple[str, ...]
    shown: bool = False
    always: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """How one step ended. `closing` is the last line that is not empty."""

    name: str
    passed: bool
    seconds: float
    closing: str


def steps(pytest_arguments: Sequence[str]) -> tuple[Step, ...]:
    """Return every step in the order in which they run: what fails fastest comes first."""
    python = "python"
    return (
        Step("format", ("ruff", "format", "--check", ".")),
        Step("lint", ("ruff", "check", ".")),
        Step("types", ("mypy", "--cache-dir", str(CACHE / "mypy"))),
        Step("imports", ("lint-imports", "--cache-dir", str(CACHE / "imports"))),
        Step("readme", (python, "scripts/examples.py", "README.md")),
        Step("benches", (python, "-m", "bench", "--fast")),
        Step("benches-full", (python, "-m", "bench"), always=False),
        Step("fuzz", (python, "-m", "fuzz", "--seconds", "300"), always=False),
        Step("agentdojo", (python, "-m", "bench.agentdojo", "--check"), always=False),
        Step("adaptive", (python, "-m", "bench.adaptive"), always=False),
        Step("release", (python, "scripts/build.py"), always=False),
        Step("mutations", (python, "scripts/mutate_sandbox.py"), always=False),
        Step(
            "tests",
            ("pytest", "-o", f"cache_dir={CACHE / 'pytest'}", *workers(pytest_arguments), *pytest_arguments),
            shown=True,
        ),
    )


def workers(pytest_arguments: Sequence[str]) -> tuple[str, ...]:
    """Return how pytest spreads a whole run over the cores; a file stays together, for its fixtures are shared.

    A run of chosen tests stays in one process, so that its output comes as it happens.
    """
    return () if pytest_arguments or (os.cpu_count() or 1) < 2 else ("-n", "2", "--dist", "loadfile")


def environment() -> dict[str, str]:
    """Return the environment of the steps: caches outside the checkout, nothing that changes what Python imports."""
    programs = f"{Path(sys.prefix) / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE"}}
    caches = {"RUFF_CACHE_DIR": str(CACHE / "ruff"), "HYPOTHESIS_STORAGE_DIRECTORY": str(CACHE / "hypothesis")}
    model = {"LOCALGPT_TEST_MODELS": str(CACHE / "models")}  # fetched by the first test that needs it, then kept
    return {**model, **kept, **caches, "PATH": programs}


def run(step: Step) -> Result:
    """Run one step and say how it ended."""
    print(f"== {step.name}", flush=True)
    start = time.monotonic()
    argv = [str(Path(sys.prefix) / "bin" / step.argv[0]), *step.argv[1:]]
    process = subprocess.Popen(
        argv,
        cwd=CHECKOUT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if step.shown:
            print(lines[-1], flush=True)
    passed = process.wait() == 0
    if not passed and not step.shown:
        print("\n".join(lines), flush=True)
    closing = next((line for line in reversed(lines) if line.strip()), "")
    return Result(step.name, passed, time.monotonic() - start, closing)


def summary(results: Sequence[Result]) -> str:
    """Return one line a step, then pytest's own closing line when pytest ran."""
    rows = [f"  {'passed' if each.passed else 'FAILED'}  {each.name:<8} {each.seconds:7.1f} s" for each in results]
    total = sum(each.seconds for each in results)
    closing = [each.closing for each in results if each.name == "tests"]
    return "\n".join(
        ["", *rows, f"  {'all' if all(e.passed for e in results) else 'NOT all'} passed in {total:.1f} s", *closing]
    )


def chosen(arguments: Sequence[str]) -> tuple[Step, ...]:
    """Return the steps that the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="run test", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    every = steps(())
    parser.add_argument("--only", metavar="STEP,...", help=f"some of: {', '.join(each.name for each in every)}")
    options, pytest_arguments = parser.parse_known_args(arguments)
    usual = ["tests"] if pytest_arguments else [each.name for each in every if each.always]
    wanted = options.only.split(",") if options.only else usual
    if unknown := set(wanted) - {each.name for each in every}:
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    return tuple(each for each in steps(pytest_arguments) if each.name in wanted)


def main(arguments: Sequence[str]) -> int:
    """Run the chosen steps and return 0 when all passed."""
    # A shell starts background jobs with interrupts ignored, and programs inherit that: tests send interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results = [run(each) for each in chosen(arguments)]
    print(summary(results), flush=True)
    return 0 if all(each.passed for each in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
