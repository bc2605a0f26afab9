"""``localgpt sandbox test``: real attempts to escape, run as commands, judged from outside.

Around an empty project lie a planted home with a key, listeners, and a process of the user's. Each attempt goes for one
of them; whether it got there is looked up on this side (did the listener hear anything, is the file as it was), so that
a command cannot lie about it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from localgpt.sandbox import Completed, Executor, Limits, Plan, Rung

_LIMITS: Final = Limits(timeout_s=20.0, output_bytes=64 << 10, file_bytes=1 << 20, processes=32)
_SYSCALLS: Final = {"x86_64": (425, 272), "aarch64": (425, 97)}  #: io_uring_setup, unshare


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `held`: it did not get what it went for. `detail`: what it got instead."""

    name: str
    held: bool
    detail: str


@dataclass(frozen=True, slots=True)
class _Field:
    """Everything that is planted, and the executor that serves the project."""

    executor: Executor
    home: Path
    project: Path
    secret: str
    tcp: socket.socket
    udp: socket.socket
    unix: socket.socket
    abstract: socket.socket
    victim: subprocess.Popen[bytes]

    def sh(self, script: str, *arguments: str, timeout_s: float | None = None) -> Completed:
        """Run a shell script in the sandbox; `arguments` are its ``$1`` and so on."""
        return self.executor.run(["/bin/sh", "-c", script, "sh", *arguments], timeout_s=timeout_s)

    def python(self, code: str, *arguments: str) -> Completed:
        """Run Python in the sandbox, the interpreter of this program."""
        return self.executor.run([os.path.realpath(sys.executable), "-I", "-S", "-c", code, *arguments])


def try_escapes(environ: Mapping[str, str]) -> tuple[Attempt, ...]:
    """Make every attempt, in order.

    Raises:
        SandboxError: nothing could be proven, so nothing was run.
    """
    with _planted(environ) as field:
        return tuple(_attempt(field, name, attempt) for name, attempt in _ATTEMPTS)


def _attempt(field: _Field, name: str, attempt: Callable[[_Field], tuple[bool, str]]) -> Attempt:
    held, detail = attempt(field)
    return Attempt(name, held, detail)


@contextlib.contextmanager
def _planted(environ: Mapping[str, str]) -> Iterator[_Field]:
    with contextlib.ExitStack() as stack:
        base = Path(os.path.realpath(stack.enter_context(tempfile.TemporaryDirectory(prefix="localgpt-escape-"))))
        home, project = base / "home", base / "project"
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        project.mkdir(mode=0o700)
        secret = secrets.token_hex(16)
        (home / ".ssh/id_rsa").write_text(secret)
        (home / ".bashrc").write_text("# as it was\n")
        (project / "link").symlink_to(home / ".ssh/id_rsa")
        tcp, udp = (_listener(stack, socket.AF_INET, kind, ("127.0.0.1", 0)) for kind in _INTERNET)
        folder = os.open(project, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, folder)  # a socket's path holds 108 bytes, and TMPDIR may be longer
        unix = _listener(stack, socket.AF_UNIX, socket.SOCK_STREAM, f"/proc/self/fd/{folder}/socket")
        abstract = _listener(stack, socket.AF_UNIX, socket.SOCK_STREAM, f"\0localgpt-{secret}")
        victim = stack.enter_context(_victim(secret))
        plan = Plan.workspace_write(project, limits=_LIMITS, environ={**environ, "HOME": str(home), "CANARY": secret})
        executor = stack.enter_context(Executor(plan))
        yield _Field(executor, home, project, secret, tcp, udp, unix, abstract, victim)


_INTERNET: Final = (socket.SOCK_STREAM, socket.SOCK_DGRAM)


def _listener(stack: contextlib.ExitStack, family: int, kind: int, address: str | tuple[str, int]) -> socket.socket:
    sock = stack.enter_context(socket.socket(family, kind))
    sock.bind(address)
    if kind == socket.SOCK_STREAM:
        sock.listen()
    sock.setblocking(False)
    return sock


@contextlib.contextmanager
def _victim(secret: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same user whose environment holds the secret."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        env={"CANARY": secret},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


# --- attempts: each gives whether the wall held, and what was seen ------------------------------------------------


def _said(done: Completed) -> str:
    text = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    return (text.splitlines() or [f"exit status {done.exit_status}"])[-1][:160]


def _reads_nothing(script: str, *, python: bool = False) -> Callable[[_Field], tuple[bool, str]]:
    def attempt(field: _Field) -> tuple[bool, str]:
        arguments = (str(field.home), str(field.victim.pid))
        done = field.python(script, *arguments) if python else field.sh(script, *arguments)
        leaked = field.secret.encode() in done.stdout + done.stderr
        return not leaked, "the secret was read" if leaked else _said(done)

    return attempt


def _control(field: _Field) -> tuple[bool, str]:
    """Ordinary work succeeds: otherwise a wall would seem to hold because nothing runs at all."""
    shell = field.sh("echo made > made && cat made && > /dev/null")
    python = field.python("import ctypes, socket; print('started')")
    works = shell.stdout == b"made\n" and shell.exit_status == 0 and python.stdout == b"started\n"
    return works, "a shell and Python work in the project" if works else f"{_said(shell)}; {_said(python)}"


def _write_outside(field: _Field) -> tuple[bool, str]:
    done = field.sh('echo changed >> "$1/.bashrc"', str(field.home))
    return (field.home / ".bashrc").read_text() == "# as it was\n", _said(done)


def _write_by_traversal(field: _Field) -> tuple[bool, str]:
    done = field.sh("mkdir -p nope; echo key > nope/../../home/.ssh/authorized_keys")
    return not (field.home / ".ssh/authorized_keys").exists(), _said(done)


def _write_program(field: _Field) -> tuple[bool, str]:
    """Go for the package that confines."""
    target = Path(__file__).with_name(f"planted-{field.secret}")
    done = field.sh('echo changed > "$1"', str(target))
    held = not target.exists()
    target.unlink(missing_ok=True)
    return held, _said(done)


def _connect(field: _Field) -> tuple[bool, str]:
    code = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 3)"
    done = field.python(code, str(field.tcp.getsockname()[1]))
    return not _heard(field.tcp), _said(done)


_CONNECT: Final = """
import socket, sys
port, around = sys.argv[1:]
proxy = socket.create_connection(("127.0.0.1", int(port if around else "3128")), 3)
proxy.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\n\\r\\n".encode())
print(proxy.recv(200).decode("latin-1").splitlines()[0])
"""


def _with_hosts(*, listed: bool, around: bool = False) -> Callable[[_Field], tuple[bool, str]]:
    """Go for the loopback port under a plan that has another host, or that very one."""

    def attempt(field: _Field) -> tuple[bool, str]:
        port = str(field.tcp.getsockname()[1])
        plan = replace(field.executor.plan, hosts=(f"127.0.0.1:{port}" if listed else "example.org",))
        if field.executor.proof.rung is Rung.B:
            return True, "hosts are refused here: there is no network namespace"
        with Executor(plan) as executor:
            python = os.path.realpath(sys.executable)
            done = executor.run([python, "-I", "-S", "-c", _CONNECT, port, "around" if around else ""], timeout_s=10)
        return _heard(field.tcp) is listed, _said(done)

    return attempt


def _send_datagram(field: _Field) -> tuple[bool, str]:
    code = "import socket, sys; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', int(sys.argv[1])))"
    done = field.python(code, str(field.udp.getsockname()[1]))
    try:
        field.udp.recv(1)
    except BlockingIOError:
        return True, _said(done)
    return False, "a datagram arrived"


def _connect_unix(field: _Field) -> tuple[bool, str]:
    done = field.python("import socket; socket.socket(1).connect('socket')")
    return not _heard(field.unix), _said(done)


def _connect_abstract(field: _Field) -> tuple[bool, str]:
    code = "import socket, sys; socket.socket(1).connect('\\0localgpt-' + sys.argv[1])"
    done = field.python(code, field.secret)
    return not _heard(field.abstract), _said(done)


def _heard(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _kill_other(field: _Field) -> tuple[bool, str]:
    done = field.sh('kill -9 "$1"', str(field.victim.pid))
    return field.victim.poll() is None, _said(done)


def _call(index: int, *arguments: int) -> Callable[[_Field], tuple[bool, str]]:
    def attempt(field: _Field) -> tuple[bool, str]:
        numbers = _SYSCALLS.get(os.uname().machine)
        if numbers is None:
            return True, "not tried on this processor"
        code = (
            "import ctypes, os, sys\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "done = libc.syscall(*map(int, sys.argv[1:]), ctypes.create_string_buffer(256))\n"
            "print('GOT' if done >= 0 else os.strerror(ctypes.get_errno()))"
        )
        done = field.python(code, str(numbers[index]), *map(str, arguments))
        return b"GOT" not in done.stdout and bool(done.stdout), _said(done)

    return attempt


def _leave_orphan(field: _Field) -> tuple[bool, str]:
    """A detached process would keep its lock on a file."""
    code = (
        "import fcntl, os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        file = open('lock', 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "        open('locked', 'w').close(); time.sleep(600)\n"
        "while not os.path.exists('locked'): time.sleep(0.01)\n"
    )
    done = field.python(code)
    if not (field.project / "locked").exists():
        return False, f"it could not be tried: {_said(done)}"
    with (field.project / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False, "a process outlived its command"
    return True, "it ended with its command"


def _run_for_ever(field: _Field) -> tuple[bool, str]:
    done = field.sh("trap '' TERM INT HUP; while :; do sleep 1; done", timeout_s=0.3)
    return done.timed_out and done.duration_s < 5, f"stopped after {done.duration_s:.1f} s"


def _fork_without_end(field: _Field) -> tuple[bool, str]:
    code = (
        "import os, time\n"
        "try:\n"
        "    for count in range(400):\n"
        "        if os.fork() == 0: time.sleep(30); os._exit(0)\n"
        "        print(count, flush=True)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    done = field.python(code)
    started = sum(line.isdigit() for line in done.stdout.decode("utf-8", "replace").split())
    return started < 400, f"{started} processes, then stopped"


def _fill_disk(field: _Field) -> tuple[bool, str]:
    done = field.sh("head -c 3000000 /dev/zero > big")
    size = (field.project / "big").stat().st_size if (field.project / "big").exists() else 0
    return size <= _LIMITS.file_bytes, f"the file ended at {size} bytes; {_said(done)}"


def _flood(field: _Field) -> tuple[bool, str]:
    done = field.sh("head -c 3000000 /dev/zero | tr '\\0' x")
    kept = len(done.stdout)
    return (
        kept < 2 * _LIMITS.output_bytes and done.stdout_total == 3_000_000,
        f"{kept} of {done.stdout_total} bytes kept",
    )


_READ_ALL: Final = (
    "import glob\nfor f in glob.glob('/proc/[0-9]*/environ'):\n  try: print(open(f).read())\n  except OSError: pass"
)

_ATTEMPTS: Final[tuple[tuple[str, Callable[[_Field], tuple[bool, str]]], ...]] = (
    ("control: ordinary work succeeds", _control),
    ("read ~/.ssh/id_rsa", _reads_nothing('cat "$1/.ssh/id_rsa"')),
    ("read it through a link in the project", _reads_nothing("cat link")),
    ("read the user's environment", _reads_nothing("env; cat /proc/self/environ")),
    ("read another process's environment", _reads_nothing('cat "/proc/$2/environ"')),
    ("read every process's environment", _reads_nothing(_READ_ALL, python=True)),
    ("write ~/.bashrc", _write_outside),
    ("write through a directory that does not exist", _write_by_traversal),
    ("change this program", _write_program),
    ("connect to a loopback port", _connect),
    ("connect to it under a plan with another host", _with_hosts(listed=False, around=True)),
    ("connect to it through the proxy of that plan", _with_hosts(listed=False)),
    ("control: a plan that names it reaches it", _with_hosts(listed=True)),
    ("send a datagram", _send_datagram),
    ("connect to a unix socket in the project", _connect_unix),
    ("connect to an abstract unix socket", _connect_abstract),
    ("use io_uring instead", _call(0, 8)),
    ("make a user namespace", _call(1, 0x10000000)),
    ("kill another process of the user", _kill_other),
    ("leave a process behind", _leave_orphan),
    ("run for ever, ignoring signals", _run_for_ever),
    ("start processes without end", _fork_without_end),
    ("write a file beyond the limit", _fill_disk),
    ("print without end", _flood),
)
