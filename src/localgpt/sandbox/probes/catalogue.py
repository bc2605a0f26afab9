"""What there is to try, as data: items of ``sandbox/catalogue.tsv``, attempts of ``sandbox/probes``, `rung-b.toml`."""

from __future__ import annotations

import ast
import functools
import os
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from localgpt.sandbox.proof import Rung

_PACKAGE: Final = Path(__file__).resolve().parent.parent.parent
DATA: Final = next(
    (each for each in (_PACKAGE / "data/sandbox", _PACKAGE.parent.parent / "sandbox") if (each / "probes").is_dir()),
    _PACKAGE / "data/sandbox",
)
PROGRAMS: Final = DATA / "probes"


class Verdict(StrEnum):
    """What is expected of an attempt inside the sandbox."""

    REFUSED = "refused"
    KILLED = "killed"  #: the process is ended for trying; refused where there is nothing to try
    BOUNDED = "bounded"  #: refused, or ended by a limit
    ALLOWED = "allowed"
    OUTSIDE = "outside"  #: nothing here can stop it; there is no attempt


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the catalogue. `tests`: ids of tests that try what no program of its own can."""

    number: int
    area: str
    verdict: Verdict
    mechanism: str
    attack: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One function of one file of probes.

    `bare`: under whom it is seen to succeed unconfined ("user": anybody, "ordinary": anybody but root, "root", "never";
    "ours": it may be run in this sandbox only). `because`: with the last two, why; else what the host must have for it.
    """

    file: str
    name: str
    item: Item
    bare: str
    because: str

    @property
    def program(self) -> Path:
        return PROGRAMS / f"{self.file}.py"

    @property
    def is_alone(self) -> bool:
        """Whether it needs a launch of its own, because what is left of it is looked at, or because it is ended."""
        return self.file in {"resources", "protected"} or self.bare == "ours" or self.item.verdict is Verdict.KILLED

    def succeeds_bare(self, uid: int) -> bool:
        """Whether it is expected to succeed unconfined under `uid`."""
        return self.bare in {"user", "ordinary" if uid else "root"}


@dataclass(frozen=True, slots=True)
class NotHeld:
    """One thing that rung B does not hold, and why. `decision`: number of the record that accepted it."""

    what: str
    why: str
    attempts: tuple[str, ...]
    tests: tuple[str, ...]
    decision: str


@functools.cache
def items() -> dict[int, Item]:
    """The catalogue by number."""
    found = {}
    for line in (DATA / "catalogue.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            number, area, verdict, mechanism, attack, tests = line.split("\t")
            found[int(number)] = Item(int(number), area, Verdict(verdict), mechanism, attack, tuple(tests.split()))
    return found


@functools.cache
def attempts() -> tuple[Attempt, ...]:
    """Every attempt, in the order of the files. Read, not imported: they are programs for another process."""
    found: list[Attempt] = []
    for path in sorted(PROGRAMS.glob("[a-z]*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        functions = [node for node in body if isinstance(node, ast.FunctionDef) and node.decorator_list]
        found += [_attempt(path.stem, node) for node in functions]
    return tuple(found)


def _attempt(file: str, node: ast.FunctionDef) -> Attempt:
    (call,) = node.decorator_list
    if not isinstance(call, ast.Call):
        raise TypeError(f"{file}.{node.name}: decorate it with @attempt(NUMBER)")
    number = ast.literal_eval(call.args[0])
    said = {each.arg: _text(each.value, file) for each in call.keywords}
    return Attempt(file, node.name, items()[number], said.get("bare", "user"), said.get("because", ""))


def _text(value: ast.expr, file: str) -> str:
    """A literal, or the name of a constant of the file."""
    if isinstance(value, ast.Name):
        for node in ast.parse((PROGRAMS / f"{file}.py").read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == value.id:
                return str(ast.literal_eval(node.value))
    return str(ast.literal_eval(value))


@functools.cache
def not_held_on_b() -> tuple[NotHeld, ...]:
    """The fixed list of rung B."""
    entries = tomllib.loads((DATA / "rung-b.toml").read_text(encoding="utf-8"))["not_held"]
    return tuple(
        NotHeld(
            entry["what"],
            entry["why"],
            tuple(entry.get("attempts", ())),
            tuple(entry.get("tests", ())),
            entry["decision"],
        )
        for entry in entries
    )


def names_not_held(rung: Rung) -> frozenset[str]:
    """Names of the attempts that `rung` is known not to hold."""
    if rung is Rung.A:
        return frozenset()
    return frozenset(name for entry in not_held_on_b() for name in entry.attempts)


def environment(path: str | None = None) -> dict[str, str]:
    """What the environment of whoever starts a launcher holds: a secret, and things that a program would obey."""
    return {
        "PATH": os.environ.get("PATH", os.defpath) if path is None else path,
        "LOCALGPT_PROBE_SECRET": "canary",
        "https_proxy": "http://127.0.0.1:9",
        "GIT_SSH_COMMAND": "true",
        "SSH_AUTH_SOCK": "/nonexistent/agent",
    }
