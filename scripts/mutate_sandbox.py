"""Take the sandbox apart, one restriction at a time, and see whether anything notices.

    python scripts/mutate_sandbox.py [--rung A|B] [--only TEXT] [--self-test-only]

Each mutation removes one filter rule of one system call, one Landlock right or scope, one mount or mount flag, one
limit. The mutated sandbox then starts: either its self-test refuses to serve, or the attempts of ``sandbox/probes`` run
until one does not get its verdict. A mutation that neither notices *survives*; ``sandbox/survivors.toml`` lists those
that are known, each with its reason (mostly: the kernel, or another layer, refuses the same). Ends with status 1 when
one survives that is not listed, or one that is listed does not.

Everything runs in a pid namespace of its own: what a mutation no longer holds back must not reach the host's processes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
SURVIVORS = CHECKOUT / "sandbox" / "survivors.toml"
LINES = CHECKOUT / "sandbox" / "mutations.toml"
ROOM = "src/localgpt/sandbox"
FILES = ("reading", "writing", "metadata", "network", "processes", "privilege", "protected")
LIMITS = "resources"
_RIGHTS = (
    "EXECUTE", "WRITE_FILE", "READ_FILE", "READ_DIR", "REMOVE_DIR", "REMOVE_FILE", "MAKE_CHAR", "MAKE_DIR", "MAKE_REG",
    "MAKE_SOCK", "MAKE_FIFO", "MAKE_BLOCK", "MAKE_SYM", "REFER", "TRUNCATE", "IOCTL_DEV",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutation:
    """One restriction that is taken away. `rule`: index and call in the filter; `patch`: file, old text, new text."""

    name: str
    rule: tuple[int, str] | None = None
    patch: tuple[str, str, str] | None = None


def mutations(rung: str) -> Iterator[Mutation]:
    """Everything that can be taken away on one rung."""
    from localgpt.sandbox import rules  # noqa: PLC0415 -- the driver imports it from a mutated copy
    from localgpt.sandbox.syscalls import NUMBERS  # noqa: PLC0415 -- as above

    for line in tomllib.loads(LINES.read_text(encoding="utf-8"))["mutation"]:
        if rung in line["rungs"]:
            yield Mutation(line["name"], patch=(line["file"], line["text"], line["without"]))
    for right in _RIGHTS:
        text = "return (1 << _RIGHTS_OF_ABI[min(version, 9)]) - 1"
        yield Mutation(f"landlock {right}", patch=("landlock.py", text, f"{text} & ~{right}"))
    for index, rule in enumerate(rules.command_rules(namespaces=rung == "A", signals_scoped=True)):
        for call in rule.calls:
            if NUMBERS.get(call) is not None:
                where = ", ".join(f"{w.argument} {w.test.value} {w.value}" for w in rule.where)
                yield Mutation(f"rule {call}{f' where {where}' if where else ''}", rule=(index, call))


def baseline(rung: str) -> tuple[str, ...]:
    """Attempts that do not get their verdict even with everything in place: they say nothing about a mutation."""
    found = _driven(CHECKOUT, {"rung": rung, "rule": None, "files": [*FILES, LIMITS], "ignored": [], "all": True})
    return tuple(name for name, _ in json.loads(found.stdout.strip().rpartition("\n")[2]))


def _driven(tree: Path, order: dict[str, object]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", __file__, "--drive", json.dumps(order)],
        env={"PYTHONPATH": str(tree / "src"), "PATH": os.environ.get("PATH", os.defpath)},
        capture_output=True, text=True, timeout=600, check=False, cwd="/",
    )  # fmt: skip


def try_one(mutation: Mutation, rung: str, ignored: Sequence[str], *, attempts: bool) -> tuple[str, str]:
    """What noticed: "self-test", an attempt's name, "start" when nothing ran at all, or "" for a survivor; and why."""
    with tempfile.TemporaryDirectory(prefix="localgpt-mutant-", dir="/var/tmp") as folder:
        copy = Path(folder)
        for part in ("src", "sandbox"):
            shutil.copytree(CHECKOUT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        if mutation.patch is not None:
            file, old, new = mutation.patch
            place = copy / ROOM / file
            text = place.read_text(encoding="utf-8")
            if text.count(old) != 1:
                return "stale", f"{file} has {text.count(old)} times {old!r}"
            place.write_text(text.replace(old, new), encoding="utf-8")
        # What is about limits takes a minute, and no rule of the filter and no right of Landlock limits anything.
        files = [*FILES, *([LIMITS] if mutation.patch and mutation.patch[0] != "landlock.py" else [])]
        order: dict[str, object] = {"rung": rung, "rule": mutation.rule, "ignored": list(ignored), "all": False}
        done = _driven(copy, order | {"files": files if attempts else []})
    last = done.stdout.strip().rpartition("\n")[2]
    try:
        noticed, said = json.loads(last)
    except ValueError:
        return "crash", done.stderr.strip().rpartition("\n")[2]
    return noticed, said


def drive(order: dict[str, Any]) -> None:
    """In the mutated copy: start, and make attempts until one does not get its verdict; print what noticed."""
    from localgpt.errors import SandboxError  # noqa: PLC0415 -- of the copy
    from localgpt.sandbox import Executor, Rung, rules, seccomp  # noqa: PLC0415 -- of the copy
    from localgpt.sandbox.probes import __main__ as command  # noqa: PLC0415 -- of the copy
    from localgpt.sandbox.probes import catalogue, contained, suite  # noqa: PLC0415 -- of the copy
    from localgpt.sandbox.probes.launchers import Confined, attack_plan  # noqa: PLC0415 -- of the copy
    from localgpt.sandbox.probes.world import planted  # noqa: PLC0415 -- of the copy

    contained.enter()
    rung = Rung(str(order["rung"]))
    if isinstance(order["rule"], list):
        index, call = order["rule"]
        whole = rules.command_rules

        def without(**options: bool) -> tuple[seccomp.Rule, ...]:
            made = list(whole(**options))
            rule = made[index]
            made[index] = seccomp.Rule(tuple(name for name in rule.calls if name != call), rule.error, rule.where)
            return tuple(made)

        rules.command_rules = without
    with tempfile.TemporaryDirectory(prefix="localgpt-world-") as folder, planted(Path(folder).resolve()) as world:
        try:
            with Executor(attack_plan(world), max_rung=rung, min_rung=rung) as running:
                chosen = [each for each in catalogue.attempts() if each.file in order["files"]]
                results = suite.run(chosen, Confined(running), world)
                flips = ([each.attempt.name, each.detail[:160]] for each in results if command.is_unexpected(each))
                fresh = (flip for flip in flips if flip[0] not in order["ignored"])
                print(json.dumps([*fresh] if order["all"] else next(fresh, ["", ""])), flush=True)
        except SandboxError as error:
            print(json.dumps(["self-test", error.message[:160]]), flush=True)


def known() -> dict[str, str]:
    """Survivors that are listed, by rung and name, with their reasons."""
    if not SURVIVORS.exists():
        return {}
    listed = tomllib.loads(SURVIVORS.read_text(encoding="utf-8"))["survivor"]
    return {f"{rung} {name}": each["reason"] for each in listed for rung in each["rungs"] for name in each["names"]}


def main(arguments: Sequence[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rung", choices=["A", "B"], help="only this one")
    parser.add_argument("--only", default="", help="only mutations whose name contains this")
    parser.add_argument("--self-test-only", action="store_true", help="make no attempts: seconds instead of an hour")
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.drive:
        drive(json.loads(options.drive))
        return 0
    listed, wrong, total, survivors = known(), [], 0, 0
    for rung in [options.rung] if options.rung else ["A", "B"]:
        ignored = () if options.self_test_only else baseline(rung)
        print(f"{rung}: without any mutation these are not as expected: {', '.join(ignored) or 'none'}", flush=True)
        for mutation in mutations(rung):
            if options.only not in mutation.name:
                continue
            noticed, said = try_one(mutation, rung, ignored, attempts=not options.self_test_only)
            total, survivors = total + 1, survivors + (noticed == "")
            is_listed = f"{rung} {mutation.name}" in listed
            verdict = noticed or ("survives, as listed" if is_listed else "SURVIVES")
            if (not noticed) != is_listed or noticed in {"stale", "crash"}:
                wrong.append(f"{rung} {mutation.name}: {verdict}")
            print(f"{rung} {mutation.name:<60} {verdict}: {said}", flush=True)
    print(f"{total} mutations, {survivors} survive")
    if options.self_test_only:
        return 0
    print("\n".join(["not as listed:", *wrong] if wrong else ["all as listed"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
