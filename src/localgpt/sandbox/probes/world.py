"""What is planted for the attempts: a home full of secrets, listeners, shared objects, a victim, and a project.

Everything is made for this purpose and removed at the end; nothing of the user's is looked at. Only loopback is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localgpt.sandbox.copies import SUFFIX

PYTHON: Final = os.path.realpath(sys.executable)
INHERITED: Final = 20  #: number of the descriptor that the launcher inherits
LIMITS: Final = {
    "processes": 32, "memory_bytes": 128 << 20, "file_bytes": 4 << 20, "written_bytes": 8 << 20, "open_files": 256,
    "tmp_bytes": 16 << 20,
}  # fmt: skip
FLOOD_BYTES: Final = 8 << 20
OUTPUT_BYTES: Final = 64 << 10
_WATCH_S: Final = 0.5
_PLANTED: Final[dict[str, str | None]] = {  # a folder is None
    ".git": None, ".git/hooks": None, ".git/config": "[core]\n", ".envrc": "as it was\n", ".vscode": None,
    ".vscode/tasks.json": "{}\n", ".idea": None, ".mcp.json": "{}\n", "LocalGPT.md": "as it was\n",
}  # fmt: skip
PROTECTED: Final = (".git/hooks", ".git/config", ".envrc", ".vscode", ".idea", ".mcp.json", "LocalGPT.md")
ABSENT: Final = (".bashrc", ".bash_profile", ".profile", ".zshrc", "POLICY.md", "IDENTITY.md")
_SECRETS: Final = (
    ".ssh/id_rsa", ".aws/credentials", ".config/gh/hosts.yml", ".netrc", ".docker/config.json", ".kube/config",
    ".mozilla/firefox/default/cookies.sqlite", ".local/share/keyrings/login.keyring", ".gnupg/private-keys-v1.d/key",
    ".bash_history", ".bashrc", ".cargo/credentials.toml",
)  # fmt: skip
_STATE: Final = ("LocalGPT.md", "audit/log.jsonl", "device.key", "memory.sqlite3")
# Holds a secret in memory and one open, hands the latter to whoever connects to it, and says what signal it got.
_VICTIM: Final = """
import ctypes, os, pathlib, signal, socket, sys, threading
signal.signal(signal.SIGURG, lambda *_: pathlib.Path(sys.argv[3], "signalled").touch())
signal.signal(signal.SIGUSR1, lambda *_: pathlib.Path(sys.argv[3], "answered").touch())
secret = ctypes.create_string_buffer(b"canary!!")
held = os.open(sys.argv[1], os.O_RDONLY)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[2])
listener.listen(64)
print(ctypes.addressof(secret), held, flush=True)
def serve():
    while True:
        client, _ = listener.accept()
        try:
            socket.send_fds(client, [b"x"], [held])
        except OSError:
            pass
        client.close()
threading.Thread(target=serve, daemon=True).start()
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class World:
    """Facts for the attempts (as JSON), the folder that commands may change, and one that they may read."""

    facts: dict[str, object]
    project: Path
    readable: Path
    inherited: int

    @property
    def json(self) -> str:
        return json.dumps(self.facts)

    @property
    def victim(self) -> int:
        pid = self.facts["victim"]
        return pid if isinstance(pid, int) else -1

    @property
    def home(self) -> str:
        return str(self.facts["home"])


@contextlib.contextmanager
def planted(base: Path) -> Iterator[World]:
    """Plant a world in the folder `base`, which must be empty."""
    home, outside, project, state, readable = (base / n for n in ("home", "outside", "project", "state", "readable"))
    for folder in (home, outside / "disposable-folder", project, state, readable):
        folder.mkdir(parents=True)
    for path in (*(home / name for name in _SECRETS), *(state / name for name in _STATE)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("canary: private key")
    victim_file = outside / "victim"
    victim_file.write_text("canary: victim file")
    (outside / "disposable").write_text("x")
    (outside / "link").symlink_to("nowhere")
    (readable / "file").write_text("to be read")
    shutil.copy("/bin/true", outside / "program")
    with contextlib.suppress(OSError):  # a file system without them
        os.setxattr(victim_file, "user.planted", b"x")
    _plant_project(project)
    with contextlib.ExitStack() as stack:
        secret = str(home / _SECRETS[0])
        facts = _listen(stack, base, project) | _share(stack)
        facts |= _start_victim(stack, secret, str(facts["unix"]), outside)
        inherited = os.open(victim_file, os.O_RDWR)
        stack.callback(os.close, inherited)
        facts |= {"home": str(home), "outside": str(outside), "state": str(state), "secret": secret}
        facts |= {"victim_file": str(victim_file), "victim_inode": victim_file.stat().st_ino}
        facts |= {"link": str(outside / "link"), "program": str(outside / "program")}
        facts |= {"readable": str(readable / "file"), "inherited": INHERITED, "absent": ABSENT}
        facts |= {"limits": LIMITS, "watch_s": _WATCH_S, "flood_bytes": FLOOD_BYTES}
        yield World(facts, project, readable, inherited)


def _plant_project(project: Path) -> None:
    for name, text in _PLANTED.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            (project / name).mkdir(exist_ok=True)
        else:
            (project / name).write_text(text)


def disturbed_names(project: Path) -> list[str]:
    """Protected names that hold what was not planted. One that is missing or empty makes nobody do anything."""
    found = [name for name, text in _PLANTED.items() if _is_foreign(project / name, text)]
    for folder in (".git/hooks", ".vscode", ".idea"):
        there = {f"{folder}/{each}" for each in _listing(project / folder) if SUFFIX not in each}
        found += sorted(each for each in there if each not in _PLANTED and _is_something(project / each))
    cases = {name.casefold() for name in ABSENT}
    return found + [name for name in _listing(project) if name.casefold() in cases and _is_something(project / name)]


def restore(project: Path, disturbed: list[str]) -> None:
    """Put back what was planted, unless all is as it was."""
    if not disturbed and all(_is_planted(project / name, text) for name, text in _PLANTED.items()):
        return
    for name in _listing(project):
        path = project / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif not path.is_socket():
            path.unlink()
    _plant_project(project)


def _listing(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208 -- names, not paths


def _is_something(path: Path) -> bool:
    return path.is_symlink() or not path.is_dir() or bool(_listing(path))


def _is_planted(path: Path, text: str | None) -> bool:
    return path.is_dir() if text is None else path.is_file() and path.read_text() == text


def _is_foreign(path: Path, planted_text: str | None) -> bool:
    if path.is_symlink():
        return True
    if not path.exists():
        return False
    return path.is_dir() != (planted_text is None) or (path.is_file() and path.read_text() not in {"", planted_text})


def _listen(stack: contextlib.ExitStack, base: Path, project: Path) -> dict[str, object]:
    # A path of a socket holds 107 bytes, which a temporary folder may exceed.
    short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lg")))
    abstract = f"localgpt-probe-{os.getpid()}-{base.name}"
    folder = os.open(project, os.O_PATH | os.O_DIRECTORY)
    stack.callback(os.close, folder)
    addresses: list[tuple[int, int, str | tuple[str, int]]] = [
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        (socket.AF_UNIX, socket.SOCK_DGRAM, str(short / "datagram")),
        (socket.AF_UNIX, socket.SOCK_STREAM, "\0" + abstract),
        (socket.AF_UNIX, socket.SOCK_DGRAM, "\0" + abstract + "-datagram"),
        (socket.AF_UNIX, socket.SOCK_STREAM, f"/proc/self/fd/{folder}/socket"),
    ]
    sockets = []
    for family, kind, address in addresses:
        each = stack.enter_context(socket.socket(family, kind))
        each.bind(address)
        if kind == socket.SOCK_STREAM:
            each.listen(512)
        sockets.append(each)
    return {
        "tcp": sockets[0].getsockname()[1],
        "udp": sockets[1].getsockname()[1],
        "unix": str(short / "stream"),
        "unix_datagram": str(short / "datagram"),
        "unix_in_project": "socket",
        "abstract": abstract,
        "abstract_datagram": abstract + "-datagram",
    }


def _share(stack: contextlib.ExitStack) -> dict[str, object]:
    libc = ctypes.CDLL(None)
    memory, semaphore, queue = (
        libc.shmget(0, 4096, 0o1600),
        libc.semget(0, 1, 0o1600),
        libc.msgget(0, 0o1600),
    )
    stack.callback(libc.shmctl, memory, 0, None)
    stack.callback(libc.semctl, semaphore, 0, 0)
    stack.callback(libc.msgctl, queue, 0, None)
    descriptor, name = tempfile.mkstemp(dir="/dev/shm")
    os.write(descriptor, b"canary: shared")
    os.close(descriptor)
    stack.callback(os.unlink, name)
    posix = f"/localgpt-probe-{os.getpid()}"
    libc.mq_open.restype = ctypes.c_int
    if libc.mq_open(posix.encode(), os.O_CREAT | os.O_RDWR, 0o600, None) >= 0:
        stack.callback(libc.mq_unlink, posix.encode())
    return {"shm": memory, "sem": semaphore, "msg": queue, "dev_shm": name, "mq": posix[1:]}


def _start_victim(stack: contextlib.ExitStack, secret: str, listener: str, outside: Path) -> dict[str, object]:
    victim = subprocess.Popen(  # noqa: S603 -- this interpreter, with a program from above
        [PYTHON, "-I", "-S", "-c", _VICTIM, secret, listener, str(outside)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"LOCALGPT_PROBE_SECRET": "canary"},
        start_new_session=True,
    )
    stack.enter_context(victim)  # closes its standard input, which ends it, and waits
    address, held = victim.stdout.readline().split() if victim.stdout is not None else (b"0", b"0")
    facts: dict[str, object] = {"victim": victim.pid, "victim_address": int(address), "victim_fd": int(held)}
    return facts | {name: str(outside / name) for name in ("signalled", "answered")}
