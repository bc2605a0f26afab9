"""Run attempts in a launcher and judge each: by what it says, and by what is left of it."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from localgpt.errors import SandboxError
from localgpt.sandbox.probes.catalogue import PROGRAMS, Attempt, Verdict
from localgpt.sandbox.probes.launchers import Launcher, Ran
from localgpt.sandbox.probes.world import FLOOD_BYTES, PYTHON, World, disturbed_names, restore

_TIMEOUT_S: Final = 20.0
_SHORT_S: Final = 1.0
_TOGETHER_S: Final = 60.0
_ENDLESS: Final = frozenset({62, 70, 72})  #: items whose attempts never end by themselves
_FLOODS: Final = frozenset({74, 76})
_POLL_MS: Final = 10


class Outcome(StrEnum):
    """What came of one attempt."""

    REACHED = "reached"
    REFUSED = "refused"
    KILLED = "killed"  #: by SIGSYS
    ENDED = "ended"  #: by a signal or a limit, before it could say anything
    FAILED = "failed"  #: without having been tried: the attempt or the launcher is broken


@dataclass(frozen=True, slots=True)
class Result:
    """One attempt in one launcher. `detail`: what it said, or what ended it."""

    attempt: Attempt
    launcher: str
    outcome: Outcome
    detail: str


ALLOWED: Final[dict[Verdict, frozenset[Outcome]]] = {
    Verdict.REFUSED: frozenset({Outcome.REFUSED}),
    Verdict.KILLED: frozenset({Outcome.KILLED, Outcome.REFUSED}),
    Verdict.BOUNDED: frozenset({Outcome.REFUSED, Outcome.ENDED}),
    Verdict.ALLOWED: frozenset({Outcome.REACHED}),
}


def run(attempts: Sequence[Attempt], launcher: Launcher, world: World) -> Iterator[Result]:
    """Make `attempts` in `launcher`, but for those that could do harm there.

    Those of one file that ask nothing of their launcher share one launch, each in a child of its own.
    """
    chosen = [each for each in attempts if launcher.may_run(each)]
    for file in dict.fromkeys(each.file for each in chosen):
        shared = [each for each in chosen if each.file == file and not each.is_alone]
        yield from _run_together(shared, launcher, world)
    for each in chosen:
        if each.is_alone:
            yield _run_alone(each, launcher, world)


def _argv(attempts: Sequence[Attempt], world: World) -> list[str]:
    names = ",".join(each.name for each in attempts)
    return [PYTHON, "-S", "-E", "-B", str(attempts[0].program), names, world.json]


def _run_alone(attempt: Attempt, launcher: Launcher, world: World) -> Result:
    timeout_s = _SHORT_S if attempt.item.number in _ENDLESS else _TIMEOUT_S
    try:
        ran = launcher.run(_argv([attempt], world), timeout_s)
    except SandboxError as error:
        return Result(attempt, launcher.name, Outcome.FAILED, error.message)
    outcome, detail = _judge(attempt, ran, launcher, world)
    if attempt.file == "protected" and outcome is not Outcome.FAILED:
        disturbed = disturbed_names(world.project)
        restore(world.project, disturbed)
        outcome = Outcome.REACHED if disturbed else Outcome.REFUSED
        detail = ", ".join(disturbed) or f"all is as it was; inside: {detail}"
    return Result(attempt, launcher.name, outcome, detail)


def _run_together(attempts: Sequence[Attempt], launcher: Launcher, world: World) -> Iterator[Result]:
    if len(attempts) < 2:
        yield from (_run_alone(each, launcher, world) for each in attempts)
        return
    ran = launcher.run(_argv(attempts, world), _TOGETHER_S)
    said = {}
    for line in ran.output.decode("utf-8", "replace").splitlines():
        name, _, rest = line.partition(" ")
        said[name] = rest.partition(" ")
    for each in attempts:
        word, _, detail = said.get(each.name, ("FAILED", "", "no answer"))
        known = word.lower() if word in {"REACHED", "REFUSED"} else "failed"
        yield Result(each, launcher.name, Outcome(known), detail)


def works(launcher: Launcher) -> str:
    """Run something harmless; return "" when it worked, else what was said: a launcher that runs nothing holds all."""
    code = "import sys, os; sys.path.insert(0, sys.argv[1]); import _attempt; open('made', 'w'); os.unlink('made')"
    try:
        ran = launcher.run([PYTHON, "-S", "-E", "-B", "-c", f"{code}; print('works')", str(PROGRAMS)], _TIMEOUT_S)
    except SandboxError as error:
        return error.message
    said = ran.errors.decode("utf-8", "replace").strip().splitlines()
    return "" if b"works" in ran.output else (said or ["nothing was said"])[-1]


def _judge(attempt: Attempt, ran: Ran, launcher: Launcher, world: World) -> tuple[Outcome, str]:
    if attempt.item.number in _FLOODS:
        said = f"{ran.passed_on} of {FLOOD_BYTES} bytes came through"
        return (Outcome.REACHED if ran.passed_on >= FLOOD_BYTES else Outcome.REFUSED), said
    if ran.overdue:
        return Outcome.REACHED, "it went on until it was ended from outside"
    line = ran.output.decode("utf-8", "replace").strip().rpartition("\n")[2]
    word, _, detail = line.partition(" ")
    if word in {"LEFT", "SENT"}:
        is_true = _is_held(world, detail, launcher.grace_s) if word == "LEFT" else _got_signal(world)
        return (Outcome.REACHED, f"true from outside: {line}") if is_true else (Outcome.REFUSED, f"not so: {line}")
    if word in {"REACHED", "REFUSED"}:
        return Outcome(word.lower()), detail
    return _unsaid(ran)


def _unsaid(ran: Ran) -> tuple[Outcome, str]:
    """What came of an attempt that did not say it."""
    if ran.signal == signal.SIGSYS:
        return Outcome.KILLED, "SIGSYS"
    if ran.timed_out or ran.signal or ran.limit:
        return Outcome.ENDED, ran.limit or ("its time limit" if ran.timed_out else f"signal {ran.signal}")
    return Outcome.FAILED, ran.errors.decode("utf-8", "replace").strip().rpartition("\n")[2] or "no answer"


def _got_signal(world: World) -> bool:
    """Whether the victim says so; it gets the time to say it by answering a signal of ours afterwards."""
    os.kill(world.victim, signal.SIGUSR1)
    answered, signalled = (Path(str(world.facts[name])) for name in ("answered", "signalled"))
    ends = time.monotonic() + 5
    while not answered.exists() and time.monotonic() < ends:
        select.poll().poll(_POLL_MS)
    answered.unlink(missing_ok=True)
    got = signalled.exists()
    signalled.unlink(missing_ok=True)
    return got


def _is_held(world: World, name: str, grace_s: float) -> bool:
    """Whether anybody still holds the lock on the file `name` of the project."""
    path = world.project / Path(name).name
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    ends = time.monotonic() + grace_s
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= ends:
                    return True
                select.poll().poll(_POLL_MS)  # a lock that is given up wakes nobody who must not wait for ever
            else:
                return False
    finally:
        os.close(lock)
