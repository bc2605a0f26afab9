"""What the sandbox tests share: executors on both rungs, and a world outside with things worth stealing."""

from __future__ import annotations

import ast
import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from localgpt.errors import SandboxError
from localgpt.sandbox import Executor, Limits, Plan, Rung

PROBES = Path(__file__).resolve().parents[2] / "sandbox" / "probes"
PYTHON = os.path.realpath(sys.executable)
_VICTIM = """
import ctypes, sys
secret = ctypes.create_string_buffer(b"canary!!")
print(ctypes.addressof(secret), flush=True)
sys.stdin.read()
"""


def executor(plan: Plan, rung: Rung, max_abi: int = 99) -> Executor:
    """An executor on exactly `rung`, not yet entered; the test is skipped where the host has no such rung."""
    if rung not in _available():
        pytest.skip(f"this host does not reach rung {rung}")
    return Executor(plan, max_rung=rung, max_abi=max_abi)


_rungs: list[Rung] = []


def _available() -> list[Rung]:
    if not _rungs:
        for rung in Rung:
            with (
                contextlib.suppress(SandboxError),
                tempfile.TemporaryDirectory() as folder,
                Executor(Plan.read_only(os.path.realpath(folder)), max_rung=rung) as running,
            ):
                _rungs.append(running.proof.rung)
    return _rungs


@dataclass(frozen=True, slots=True)
class World:
    """Facts for the attempts (as JSON) and the folder that commands may change."""

    facts: dict[str, object]
    project: Path

    @property
    def json(self) -> str:
        return json.dumps(self.facts)


@contextlib.contextmanager
def planted(base: Path) -> Iterator[World]:
    """Plant a home with a key, listeners of every kind, shared memory, and a victim process."""
    home, outside, project = base / "home", base / "outside", base / "project"
    for folder in (home / ".ssh", outside, project):
        folder.mkdir(parents=True)
    secret = home / ".ssh" / "id_rsa"
    secret.write_text("canary: private key")
    (outside / "victim").write_text("canary: victim file")
    (outside / "disposable").write_text("x")
    with contextlib.ExitStack() as stack:
        facts = _listen(stack, base) | _share(stack) | _start_victim(stack)
        facts |= {"home": str(home), "outside": str(outside), "secret": str(secret)}
        facts["victim_file"] = str(outside / "victim")
        yield World(facts, project)


def _listen(stack: contextlib.ExitStack, base: Path) -> dict[str, object]:
    # A path of a socket holds 107 bytes, which pytest's folders exceed.
    short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lg")))
    abstract = f"localgpt-test-{os.getpid()}-{base.name}"
    addresses: list[tuple[int, int, str | tuple[str, int]]] = [
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        (socket.AF_UNIX, socket.SOCK_STREAM, str(short / "stream")),
        (socket.AF_UNIX, socket.SOCK_DGRAM, str(short / "datagram")),
        (socket.AF_UNIX, socket.SOCK_STREAM, "\0" + abstract),
    ]
    sockets = []
    for family, kind, address in addresses:
        each = stack.enter_context(socket.socket(family, kind))
        each.bind(address)
        if kind == socket.SOCK_STREAM:
            each.listen(64)
        sockets.append(each)
    return {
        "tcp": sockets[0].getsockname()[1],
        "udp": sockets[1].getsockname()[1],
        "unix": str(short / "stream"),
        "unix_datagram": str(short / "datagram"),
        "abstract": abstract,
    }


def _share(stack: contextlib.ExitStack) -> dict[str, object]:
    libc = ctypes.CDLL(None)
    segment = libc.shmget(0, 4096, 0o1600)
    stack.callback(libc.shmctl, segment, 0, None)
    descriptor, name = tempfile.mkstemp(dir="/dev/shm")
    os.write(descriptor, b"canary: shared")
    os.close(descriptor)
    stack.callback(os.unlink, name)
    return {"shm": segment, "dev_shm": name}


def _start_victim(stack: contextlib.ExitStack) -> dict[str, object]:
    victim = subprocess.Popen(
        [PYTHON, "-I", "-S", "-c", _VICTIM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"LOCALGPT_PROBE_SECRET": "canary"},
    )
    assert victim.stdout is not None
    stack.enter_context(victim)  # closes its standard input, which ends it, and waits
    return {"victim": victim.pid, "victim_address": int(victim.stdout.readline())}


def attempts(name: str) -> list[tuple[str, str | None]]:
    """Names in one file of attempts, and under whom each is seen to succeed unconfined; read, not imported."""
    found = []
    for node in ast.parse((PROBES / f"{name}.py").read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            (decorator,) = node.decorator_list
            assert isinstance(decorator, ast.Call)
            value = decorator.keywords[0].value
            assert isinstance(value, ast.Constant)
            found.append((node.name, None if value.value is None else str(value.value)))
    return found


def attempt_argv(file: str, name: str, world: World) -> list[str]:
    """Command line of one attempt."""
    return [PYTHON, "-S", "-E", "-B", str(PROBES / f"{file}.py"), name, world.json]


def attack_plan(world: World) -> Plan:
    """A project in which attempts can be run."""
    return Plan.workspace_write(
        world.project,
        read=[PROBES.parent],
        limits=Limits(timeout_s=20),
        environ={"HOME": str(world.facts["home"]), "PATH": os.environ.get("PATH", "")},
    )
