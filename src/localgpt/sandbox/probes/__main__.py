"""Run every escape attempt in this sandbox and in any other launcher, and print the comparison.

    python -m localgpt.sandbox.probes                        both rungs, and without a sandbox
    python -m localgpt.sandbox.probes -- LAUNCHER...         the same beside a launcher of yours

In LAUNCHER's words, {project} is the folder that attempts may change, {home} a planted home, {secrets} its .ssh,
{state} files like this program's own, {probes} where the attempts lie, {python} their interpreter: the last two must be
readable. Everything runs in a pid namespace of its own: an attempt that gets through must not reach the host's
processes. Ends with status 1 when this sandbox lets something through that it must not, 2 when the launcher runs
nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from localgpt.errors import SandboxError
from localgpt.sandbox.executor import Executor
from localgpt.sandbox.probes import catalogue, contained, suite
from localgpt.sandbox.probes.contained import Container
from localgpt.sandbox.probes.launchers import CommandLine, Confined, Launcher, attack_plan
from localgpt.sandbox.probes.world import World, planted
from localgpt.sandbox.proof import Rung

BARE = "bare"


def main(arguments: Sequence[str]) -> int:
    """Run from the command line."""
    ours, launcher = _split(arguments)
    options = _parser().parse_args(ours)
    chosen = [each for each in catalogue.attempts() if not options.only or options.only in _names(each)]
    if not chosen:
        print(f"no attempt is called {options.only}", file=sys.stderr)
        return 2
    try:
        container = contained.enter(options.user)
    except OSError as error:
        print(f"no pid namespace can be made here, so attempts run on our own rungs only: {error}", file=sys.stderr)
        container = None
    results: list[suite.Result] = []
    with (
        tempfile.TemporaryDirectory(prefix="localgpt-probes-", dir=options.base) as folder,
        planted(Path(folder).resolve()) as world,
    ):
        for each in _launchers(options.rungs, launcher, world, container):
            if said := suite.works(each):
                print(f"{each.name} runs nothing: {said}", file=sys.stderr)
                return 2
            for result in suite.run(chosen, each, world):
                results.append(result)
                if options.json:
                    print(json.dumps(_row(result)), flush=True)
    unexpected = [result for result in results if is_unexpected(result)]
    if not options.json:
        print(table(results))
        for result in unexpected:
            print(f"UNEXPECTED  {result.launcher}  {result.attempt.name}: {result.outcome} {result.detail}")
    return 1 if unexpected else 0


def _names(attempt: catalogue.Attempt) -> set[str]:
    """What an attempt can be chosen by."""
    return {attempt.name, attempt.file, attempt.item.area, str(attempt.item.number)}


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and the launcher's words after ``--``."""
    words = list(arguments)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m localgpt.sandbox.probes", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one row an attempt and launcher")
    parser.add_argument("--only", metavar="WHICH", help="an attempt, a file, an area or an item's number")
    parser.add_argument("--user", metavar="UID", type=int, help="go on as this user (for root)")
    parser.add_argument("--base", metavar="DIR", help="where the world is planted (default: the temporary folder)")
    parser.add_argument(
        "--rungs", default=f"{BARE},A,B", metavar="LIST", help=f"of this program: {BARE}, A, B, separated by commas"
    )
    return parser


def _launchers(rungs: str, command: Sequence[str], world: World, container: Container | None) -> Iterator[Launcher]:
    """Each in turn; an executor lives as long as it is used."""
    for name in filter(None, rungs.split(",")):
        if name == BARE:
            if container is not None:
                yield CommandLine(BARE, [], world, container)
            continue
        with contextlib.ExitStack() as stack:
            try:
                executor = stack.enter_context(Executor(attack_plan(world), max_rung=Rung(name)))
            except SandboxError as error:
                print(f"rung {name}: {error.message}", file=sys.stderr)
                continue
            if executor.proof.rung is Rung(name):
                yield Confined(executor)
            else:
                print(f"rung {name}: {executor.proof.why_not_higher}", file=sys.stderr)
    if command and container is not None:
        yield CommandLine(os.path.basename(command[0]), command, world, container)  # noqa: PTH119 -- a word of a command line


def is_unexpected(result: suite.Result) -> bool:
    """Whether this sandbox did not do what the catalogue says; of other launchers nothing is expected."""
    rung = next((rung for rung in Rung if result.launcher == f"rung {rung}"), None)
    if rung is None or result.attempt.name in catalogue.names_not_held(rung):
        return False
    return result.outcome not in suite.ALLOWED[result.attempt.item.verdict]


def table(results: Sequence[suite.Result]) -> str:
    """One line an attempt, one column a launcher, and how many got through in each."""
    names = list(dict.fromkeys(each.launcher for each in results))
    by_attempt: dict[str, dict[str, suite.Result]] = {}
    for each in results:
        by_attempt.setdefault(f"{each.attempt.item.number:>3} {each.attempt.name}", {})[each.launcher] = each
    width = max(map(len, by_attempt))
    lines = [f"{'attempt':<{width}}  " + " ".join(f"{name:>10.10}" for name in names)]
    for name, cells in by_attempt.items():
        said = " ".join(f"{cells[each].outcome if each in cells else '-':>10}" for each in names)
        lines.append(f"{name:<{width}}  {said}")
    counted = [each for each in results if each.attempt.item.verdict is not catalogue.Verdict.ALLOWED]
    for name in names:
        through = sum(each.outcome is suite.Outcome.REACHED for each in counted if each.launcher == name)
        tried = sum(each.launcher == name for each in counted)
        lines.append(f"{name}: {through} of {tried} got through")
    return "\n".join(lines)


def _row(result: suite.Result) -> dict[str, object]:
    return {
        "item": result.attempt.item.number,
        "attempt": result.attempt.name,
        "launcher": result.launcher,
        "uid": os.geteuid(),
        "outcome": result.outcome.value,
        "detail": result.detail,
        "expected": not is_unexpected(result),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
