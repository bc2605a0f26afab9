"""Ways to start an attempt: in this sandbox, or by any command line that another launcher takes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Final, Protocol

from localgpt.sandbox.executor import Executor
from localgpt.sandbox.plan import Limits, Plan
from localgpt.sandbox.probes import catalogue
from localgpt.sandbox.probes.catalogue import Attempt
from localgpt.sandbox.probes.contained import Container
from localgpt.sandbox.probes.world import ABSENT, INHERITED, LIMITS, OUTPUT_BYTES, PROTECTED, PYTHON, World
from localgpt.sandbox.proof import Rung

_KEPT: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended. `output` is at most some tens of KiB of it, `passed_on` counts what came through.

    `timed_out`: the launcher ended it; `overdue`: the launcher did not, and had to be ended itself.
    """

    output: bytes
    passed_on: int
    signal: int | None
    timed_out: bool
    errors: bytes = b""
    overdue: bool = False
    limit: str = ""  #: name of the limit that ended it


class Launcher(Protocol):
    """Something that starts commands in a world."""

    name: str
    grace_s: float  #: how long after it is done its processes may still be on their way out

    def may_run(self, attempt: Attempt) -> bool:
        """Whether `attempt` does no harm in this launcher if it succeeds."""
        ...

    def run(self, argv: Sequence[str], timeout_s: float) -> Ran:
        """Run `argv` in the project and wait for its end, or end it after `timeout_s`."""
        ...


class Confined:
    """This sandbox."""

    grace_s = 0.0

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.name = f"rung {executor.proof.rung}"

    @property
    def rung(self) -> Rung:
        return self.executor.proof.rung

    def may_run(self, _attempt: Attempt) -> bool:
        return True

    def run(self, argv: Sequence[str], timeout_s: float) -> Ran:
        done = self.executor.run(argv, timeout_s=timeout_s)
        return Ran(done.stdout, len(done.stdout), done.signal, done.timed_out, done.stderr, limit=done.limit)


class CommandLine:
    """A command in front of the attempt's; an empty one is no sandbox at all. Runs inside a pid namespace only."""

    def __init__(self, name: str, prefix: Sequence[str], world: World, container: Container) -> None:
        Container(container.outer)  # proven here and now
        self.name = name
        self.world = world
        self.prefix = [fill(word, world) for word in prefix]
        self.grace_s = 1.0 if prefix else 0.1

    def may_run(self, attempt: Attempt) -> bool:
        return attempt.bare != "ours" and (bool(self.prefix) or attempt.bare != "never")

    def run(self, argv: Sequence[str], timeout_s: float) -> Ran:
        silent, ours = os.pipe()  # standard input that never answers
        inherit = (INHERITED,)
        with _at(self.world.inherited, INHERITED):
            process = subprocess.Popen(  # noqa: S603 -- the launcher that the user named
                [*self.prefix, *argv],
                cwd=self.world.project,
                env=catalogue.environment() | {"HOME": self.world.home},
                stdin=silent,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=inherit,
            )
        os.close(silent)
        readers = [_Reader(pipe) for pipe in (process.stdout, process.stderr) if pipe is not None]
        overdue = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            overdue = True
            process.kill()  # the launcher only: whom it started is its own affair
            process.wait()
        os.close(ours)
        for reader in readers:
            reader.join(0.2)  # whoever outlives the launcher may keep the pipe open
        out, err = readers
        code = process.returncode
        signal = -code if code < 0 else code - 128 if 128 < code < 160 else None
        return Ran(bytes(out.kept), out.total, signal, timed_out=False, errors=bytes(err.kept), overdue=overdue)


class _Reader(threading.Thread):
    """Drains a pipe and keeps the end of it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.pipe, self.kept, self.total = pipe, bytearray(), 0
        self.start()

    def run(self) -> None:
        with self.pipe, contextlib.suppress(OSError):
            while chunk := os.read(self.pipe.fileno(), 1 << 16):
                self.total += len(chunk)
                self.kept = (self.kept + chunk)[-_KEPT:]


class _at:  # noqa: N801 -- reads as a clause
    """A copy of a descriptor under a number that is inherited, for as long as a child is being started."""

    def __init__(self, source: int, number: int) -> None:
        self.source, self.number = source, number

    def __enter__(self) -> None:
        self.before = None
        with contextlib.suppress(OSError):
            self.before = os.dup(self.number)
        os.dup2(self.source, self.number, inheritable=True)

    def __exit__(self, *_: object) -> None:
        if self.before is None:
            os.close(self.number)
        else:
            os.dup2(self.before, self.number, inheritable=False)
            os.close(self.before)


def fill(word: str, world: World) -> str:
    """Put this world's places into a word of a launcher's command line: {project}, {home}, {secrets}, {probes}, …"""
    places = {
        "project": str(world.project),
        "home": world.home,
        "secrets": world.home + "/.ssh",
        "state": str(world.facts["state"]),
        "probes": str(catalogue.PROGRAMS),
        "python": PYTHON,
    }
    for name, path in places.items():
        word = word.replace(f"{{{name}}}", path)
    return word


def attack_plan(world: World) -> Plan:
    """A project in which attempts can be run, with the limits that they try to pass."""
    return Plan.workspace_write(
        world.project,
        read=[catalogue.DATA, world.readable],
        protected=[world.project / name for name in (*PROTECTED, *ABSENT)],
        limits=Limits(
            timeout_s=60,
            output_bytes=OUTPUT_BYTES,
            processes=LIMITS["processes"],
            memory_bytes=LIMITS["memory_bytes"],
            written_bytes=LIMITS["written_bytes"],
            file_bytes=LIMITS["file_bytes"],
            open_files=LIMITS["open_files"],
            tmp_bytes=LIMITS["tmp_bytes"],
        ),
        environ={"HOME": world.home, "PATH": os.environ.get("PATH", "")},
    )
