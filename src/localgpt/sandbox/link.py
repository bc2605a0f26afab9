"""The runtime's end of a zygote: start one, speak its frames, end it. `executor` decides what to say."""

from __future__ import annotations

import array
import contextlib
import errno
import marshal
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from localgpt.sandbox import messages, tree, zygote
from localgpt.sandbox.faults import CommandNotStarted, NotConfined, ZygoteDied
from localgpt.sandbox.mounts import ViewRefused
from localgpt.sandbox.proof import Mechanism

# Not run as a script, which would be compiled anew each time. Last on the path: nothing in the program's directory can
# shadow the standard library.
_PROGRAM: Final = "import sys; sys.path.append(sys.argv.pop(1)); from localgpt.sandbox.zygote import run; run()"
_PACKAGES: Final = str(Path(zygote.__file__).resolve().parents[2])
_MSG_CMSG_CLOEXEC: Final = 0x4000_0000
_START_DEADLINE_S: Final = 20.0
_END_DEADLINE_S: Final = 12.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One frame from the zygote. `number`: an errno, a wait status or a pid, by `kind`."""

    kind: bytes
    number: int
    text: str


class Link:
    """A zygote and its warden. Not shared between threads."""

    def __init__(self, setup: Mapping[str, Any], admit: Callable[[int], None] | None = None) -> None:
        """Start the processes and send `setup`; `ready` waits for the answer.

        Args:
            setup: what the zygote needs to know.
            admit: called with the warden's pid before that knows anything, to put it into a cgroup.

        Raises:
            OSError: there was no room for it.
        """
        self._handed_over: list[int] = []
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as undo:
            self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            theirs.callback(other.close)
            undo.callback(self._control.close)
            lifeline, self._lifeline = os.pipe()
            theirs.callback(os.close, lifeline)
            undo.callback(os.close, self._lifeline)
            self._warden = subprocess.Popen(  # noqa: S603 -- our own interpreter and program
                [sys.executable, "-I", "-S", "-E", "-c", _PROGRAM, _PACKAGES, str(other.fileno()), str(lifeline)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(other.fileno(), lifeline),
                env={},
                cwd="/",
                start_new_session=True,
            )
            undo.pop_all()
        self._idle = select.poll()
        self._idle.register(self._control, select.POLLIN)
        self._serving = False
        try:
            if admit is not None:
                admit(self._warden.pid)
            self._send(marshal.dumps(dict(setup)))
        except BaseException:
            self.close()
            raise

    @property
    def warden_pid(self) -> int:
        return self._warden.pid

    def fileno(self) -> int:
        return self._control.fileno()

    def take_descriptor(self) -> int:
        """The next of the descriptors that came with the zygote's first frame; the caller closes it.

        Raises:
            NotConfined: there is none.
        """
        if not self._handed_over:
            raise NotConfined("the zygote handed nothing over", cure="run `localgpt sandbox test`")
        return self._handed_over.pop(0)

    def ready(self) -> tuple[Mechanism, ...]:
        """Wait until the zygote is confined and return what its self-test saw.

        Raises:
            ViewRefused: the host refuses namespaces or mounts of one's own.
            OSError: a step of the confinement failed, with its errno.
            NotConfined: the zygote ended without a word.
        """
        try:
            reply = self.receive()
        except ZygoteDied as error:
            raise NotConfined("the zygote ended before it was confined", cure="run `localgpt sandbox test`") from error
        if reply.kind == messages.NO_VIEW:
            raise ViewRefused(reply.number, reply.text)
        if reply.kind != messages.READY:
            raise OSError(reply.number, reply.text)
        self._serving = True
        return tuple(parse_report(reply.text))

    def is_alive(self) -> bool:
        """Whether the idle zygote is still there: it says nothing unasked, so anything to read is its end."""
        return not self._idle.poll(0)

    def is_stopped(self) -> bool:
        """Whether somebody has stopped the zygote, so that it will never answer."""
        return any(tree.state(pid) in {b"T", b"t"} for pid in tree.children(self._warden.pid))

    def request(self, argv: Sequence[bytes], env: Mapping[bytes, bytes], cwd: bytes, fds: Sequence[int]) -> None:
        """Ask for one command: `fds` are its standard output, error and perhaps input.

        Raises:
            CommandNotStarted: it is longer than any kernel takes.
            ZygoteDied: nobody is there.
        """
        body = messages.encode_request(argv, env, cwd, with_stdin=len(fds) > 2)
        if len(body) > messages.LARGEST_REQUEST:
            raise CommandNotStarted("the command line is too long", cure="pass the data on standard input")
        self._send(body, fds)

    def end_command(self) -> None:
        """Ask the zygote to end the running command."""
        with contextlib.suppress(ZygoteDied):
            self._send(b"")

    def receive(self) -> Reply:
        """Wait for one frame.

        Raises:
            ZygoteDied: end of file, or bytes that are no frame.
        """
        header = self._there(messages.REPLY.size)
        try:
            kind, number, size = messages.parse_reply(header)
        except messages.Malformed as error:
            raise ZygoteDied("the zygote sent what is not an answer", cure="run the command again") from error
        return Reply(kind, number, self._exactly(size).decode("utf-8", "replace") if size else "")

    def _there(self, size: int) -> bytes:
        """`size` bytes, which are there already when the zygote serves: it sends a frame at once."""
        try:
            data = self._control.recv(size, socket.MSG_DONTWAIT) if self._serving else b""
        except BlockingIOError:
            data = b""
        except ConnectionResetError as error:
            raise ZygoteDied("the zygote has ended", cure="run the command again") from error
        return data if len(data) == size else data + self._exactly(size - len(data))

    def close(self) -> None:
        """End the zygote, everything it started, and the warden. Idempotent."""
        self._control.close()
        while self._handed_over:
            os.close(self._handed_over.pop())
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        self._warden.send_signal(signal.SIGCONT)  # whoever stopped it would have kept the tree alive
        try:
            self._warden.wait(_END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()

    def _send(self, payload: bytes, fds: Sequence[int] = ()) -> None:
        frame = messages.LENGTH.pack(len(payload)) + payload
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self._control.sendmsg([frame], rights, socket.MSG_DONTWAIT)
            if sent < len(frame):
                with self._patient():
                    self._control.sendall(memoryview(frame)[sent:])
        except OSError as error:  # also one that takes nothing: an idle zygote has room for a frame
            raise ZygoteDied("the zygote has ended", cure="run the command again") from error

    def _exactly(self, size: int) -> bytes:
        """Read `size` bytes; descriptors that come with them are kept in `_handed_over`."""
        data = b""
        with self._patient():
            while len(data) < size:
                try:
                    part, fds, _, _ = socket.recv_fds(self._control, size - len(data), 2, _MSG_CMSG_CLOEXEC)
                    self._handed_over += fds
                except (ConnectionResetError, TimeoutError):
                    part = b""
                if not part:
                    raise ZygoteDied("the zygote has ended", cure="run the command again")
                data += part
        return data

    @contextlib.contextmanager
    def _patient(self) -> Iterator[None]:
        """Wait for the zygote, but not for ever. Elsewhere nothing waits, which spares a system call each time."""
        self._control.settimeout(_START_DEADLINE_S)
        try:
            yield
        finally:
            self._control.setblocking(True)


def parse_report(text: str) -> Iterator[Mechanism]:
    """Parse the self-test's lines; what is not a line of a report is left out, and so counts as not proven."""
    for line in text.splitlines():
        name, _, rest = line.partition("\t")
        held, tab, detail = rest.partition("\t")
        if tab and held in {"0", "1"}:
            yield name, held == "1", detail


class Canaries:
    """What the self-test must fail to reach: a readable file, and listeners on TCP and on two kinds of unix socket."""

    def __init__(self, outside_of: Sequence[str]) -> None:
        """Plant them, in a directory that lies in none of `outside_of`.

        Raises:
            OSError: there was no room for them.
        """
        self._directory = Path(_directory_outside(outside_of))
        self._listeners: list[socket.socket] = []
        self.file = self._directory / "canary"
        try:
            self.file.write_bytes(secrets.token_bytes(16))
            self._listen()
        except BaseException:
            self.close()
            raise

    def _listen(self) -> None:
        for family, address in (
            (socket.AF_INET, ("127.0.0.1", 0)),
            (socket.AF_UNIX, str(self._directory / "socket")),
            (socket.AF_UNIX, b"\0localgpt-canary-" + secrets.token_hex(8).encode()),
        ):
            listener = socket.socket(family, socket.SOCK_STREAM)
            self._listeners.append(listener)
            with contextlib.suppress(OSError):  # a host without loopback, or a path too long for a socket
                listener.bind(address)
                listener.listen(1)
            listener.setblocking(False)

    @property
    def tcp_port(self) -> int:
        """Where one of them listens on the host's loopback."""
        return int(self._listeners[0].getsockname()[1])

    def heard(self) -> bool:
        """Whether anybody connected."""
        for listener in self._listeners:
            try:
                listener.accept()[0].close()
            except OSError as error:
                if error.errno in {errno.EAGAIN, errno.EINVAL}:  # nobody, or it does not listen
                    continue
            return True
        return False

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _directory_outside(roots: Sequence[str]) -> str:
    """A fresh private directory in none of `roots`."""
    candidates = (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/var/tmp", "/dev/shm", "/tmp")  # noqa: S108
    for base in candidates:
        if base and os.access(base, os.W_OK | os.X_OK):
            real = os.path.realpath(base)
            if not any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots):
                return tempfile.mkdtemp(prefix="localgpt-", dir=real)
    raise NotConfined(
        "no directory outside the plan can hold the self-test's canary",
        cure="leave one of XDG_RUNTIME_DIR, TMPDIR, /var/tmp or /dev/shm out of the plan's roots",
    )
