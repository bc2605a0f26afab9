"""The runtime's end of the proxy: every connection of a command is asked for by host and port, and decided here.

Three processes carry it. Commands reach the *front* (`proxy`), which reads their bytes and has no network. The
*dialer* has the network and sees no byte of theirs. Between them stands the runtime, which sees neither a byte of
theirs nor of a server's: it gets a host and a port, decides, and passes a connected socket on without reading it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from localgpt.sandbox import frames, hosts
from localgpt.sandbox.faults import NotConfined, ProxyFailed
from localgpt.sandbox.frames import Frame, Kind
from localgpt.sandbox.proof import Mechanism

# Not run as scripts, which would be compiled anew each time. Last on the path: nothing in the program's directory can
# shadow the standard library.
_PROGRAM: Final = "import sys; sys.path.append(sys.argv.pop(1)); from localgpt.sandbox.{} import run; run()"
_PACKAGES: Final = str(Path(__file__).resolve().parents[2])
_START_DEADLINE_S: Final = 20.0
_END_DEADLINE_S: Final = 5.0
_AT_ONCE: Final = 128  #: connections that wait for an answer
_LAST_WORDS: Final = 4096  #: messages of the front before it says that all has ended
MOST_CONNECTIONS: Final = 4096  #: of one command; each is an entry of somebody's log
_CODES: Final = frozenset({
    "net.metadata", "net.private", "net.own", "net.unresolved", "net.unreachable", "net.sni", "net.not-tls",
    "net.host-header",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection that a command asked for, and what became of it.

    `code` is "listed" or "granted" when it was opened; otherwise why not, or why it was cut: "net.unlisted" (nobody
    allowed the host), "net.metadata", "net.private", "net.own" (where the name leads), "net.unresolved",
    "net.unreachable", "net.busy" (too many), "net.sni", "net.not-tls", "net.host-header" (the tunnel was used for
    somebody else). `about`: the address where it went or would have gone, or an errno's name; "" when it was never
    looked up. Bytes as the command sent and received them.
    """

    host: str
    port: int
    code: str
    about: str = ""
    sent: int = 0
    received: int = 0

    @property
    def opened(self) -> bool:
        return self.code in {"listed", "granted"}


class Gatekeeper(Protocol):
    """Whoever decides about connections, and hears of them."""

    def may_connect(self, host: str, port: int, *, listed: bool) -> bool:
        """Decide, before anything is looked up or opened; the time this takes is not the command's.

        `listed`: the plan names the host. One that is not public and not listed never comes here.
        """
        ...

    def connected(self, connection: Connection) -> None:
        """Hear what became of a connection: once when it was refused, or was opened and has ended."""
        ...


class ListedOnly:
    """Allows what the plan lists, and nothing else."""

    def may_connect(self, host: str, port: int, *, listed: bool) -> bool:  # noqa: ARG002 -- as the protocol says
        return listed

    def connected(self, connection: Connection) -> None:
        """Keep nothing: the result of the command lists them."""


class Egress:
    """Front and dialer of one zygote. Not shared between threads."""

    def __init__(
        self,
        patterns: tuple[str, ...],
        gatekeeper: Gatekeeper,
        *,
        front: Peer | None = None,
        dialer: Peer | None = None,
    ) -> None:
        """Start both processes; `ready` waits for them.

        Args:
            patterns: the plan's hosts.
            gatekeeper: decides about each connection.
            front: another front, for tests of one that was taken over.
            dialer: likewise.
        """
        self._patterns = patterns
        self._gatekeeper = gatekeeper
        self._front = front or Peer("proxy")
        self._dialer = dialer or Peer("dialer")
        self._run = 0
        self._total = 0
        self._open: dict[int, Connection] = {}
        self._granted: dict[tuple[str, int], bool] = {}
        self._waited_s = 0.0
        self._seen: list[Connection] = []

    def ready(self, listener: int) -> tuple[Mechanism, ...]:
        """Wait until both are confined, and give the front its listener (which is closed here).

        Raises:
            NotConfined: one of them ended, or could still do what it must not.
        """
        try:
            said = {"proxy-front": self._front.hello(), "proxy-dialer": self._dialer.hello()}
            for pattern in self._patterns:
                self._dialer.send(Frame(Kind.LISTEN, text=pattern))
            self._front.send(Frame(Kind.LISTEN), listener)
        except ProxyFailed as error:
            raise NotConfined("the proxy ended before it was confined", cure="run `localgpt sandbox test`") from error
        finally:
            os.close(listener)
        return tuple((name, not leak, leak or "confined and tested") for name, leak in said.items())

    def is_alive(self) -> bool:
        """Whether both processes are still there."""
        return self._front.is_alive() and self._dialer.is_alive()

    def handlers(self) -> dict[int, Callable[[], bool]]:
        """What to poll for reading while a command runs, and what to call then; False means not to poll it again."""
        return {self._front.fileno(): self._asked, self._dialer.fileno(): self._dialled}

    def take_waited(self) -> float:
        """Seconds spent deciding since this was last asked."""
        waited, self._waited_s = self._waited_s, 0.0
        return waited

    def finish(self) -> tuple[Connection, ...]:
        """End every connection of the command that is over; returns all that it asked for.

        Raises:
            ProxyFailed: the front did not do so; the caller closes everything.
        """
        self._front.send(Frame(Kind.RESET, number=self._run + 1))
        for _ in range(_LAST_WORDS):
            frame, _ = self._front.receive()
            if frame.kind is Kind.RESET and frame.number == self._run + 1:
                break
            if frame.kind is Kind.CLOSED:
                self._closed(frame)
        else:
            raise ProxyFailed("the proxy of commands does not come to an end", cure="run the command again")
        for number in list(self._open):  # asked for, and never opened
            self._tell(replace(self._open.pop(number), code="net.unreachable"))
        seen, self._seen = tuple(self._seen), []
        self._run += 1
        self._total = 0
        self._granted.clear()
        return seen

    def close(self) -> None:
        """End both processes. Idempotent."""
        self._front.close()
        self._dialer.close()

    # --- one connection -----------------------------------------------------------------------------------------

    def _asked(self) -> bool:
        """The front asks, or reports an end."""
        frame, _ = self._front.receive()
        if frame.kind is Kind.CLOSED:
            self._closed(frame)
        elif frame.kind is Kind.ASK and frame.run == self._run:
            self._decide(frame)
        return True

    def _decide(self, frame: Frame) -> None:
        host = hosts.normalise(frame.text)
        self._total += 1
        if host != frame.text or frame.port == 0 or frame.number in self._open:
            raise ProxyFailed("the proxy of commands asked for what is no host", cure="run the command again")
        wanted = Connection(host, frame.port, "")
        if code := self._refusal(host, frame.port):
            self._front.send(Frame(Kind.REFUSED, frame.run, frame.number, frame.port, code))
            if self._total <= MOST_CONNECTIONS:
                self._tell(replace(wanted, code=code))
            return
        code = "listed" if hosts.is_listed(host, frame.port, self._patterns) else "granted"
        self._open[frame.number] = replace(wanted, code=code)
        self._dialer.send(Frame(Kind.DIAL, frame.run, frame.number, frame.port, host))

    def _refusal(self, host: str, port: int) -> str:
        """Why this connection is not to be; "" when it is."""
        listed = hosts.is_listed(host, port, self._patterns)
        if len(self._open) >= _AT_ONCE or self._total > MOST_CONNECTIONS:
            return "net.busy"
        if hosts.is_nowhere(host):
            return "net.private"
        if not listed and (code := hosts.refusal_of_name(host)):
            return code
        return "" if self._may(host, port, listed=listed) else "net.unlisted"

    def _may(self, host: str, port: int, *, listed: bool) -> bool:
        known = self._granted.get((host, port))
        if known is not None and not listed:
            return known  # one question for one host and command, however often it is asked for
        started = time.monotonic()
        try:
            answer = self._gatekeeper.may_connect(host, port, listed=listed)
        finally:
            self._waited_s += time.monotonic() - started
        self._granted[host, port] = answer
        return answer

    def _dialled(self) -> bool:
        """The dialer has connected, or not."""
        frame, descriptor = self._dialer.receive()
        try:
            wanted = self._open.get(frame.number) if frame.run == self._run else None
            if wanted is None or frame.kind not in {Kind.OPEN, Kind.REFUSED}:
                return True
            if frame.kind is Kind.OPEN and descriptor is not None:
                self._open[frame.number] = replace(wanted, about=frame.text)
                self._front.send(Frame(Kind.OPEN, frame.run, frame.number, frame.port, frame.text), descriptor)
            else:
                del self._open[frame.number]
                code, *about = frame.words or ["net.unreachable"]
                self._front.send(Frame(Kind.REFUSED, frame.run, frame.number, frame.port, frame.text))
                self._tell(replace(wanted, code=_known(code), about=" ".join(about)))
        finally:
            if descriptor is not None:
                os.close(descriptor)
        return True

    def _closed(self, frame: Frame) -> None:
        ended = self._open.pop(frame.number, None) if frame.run == self._run else None
        match frame.words:
            case [code, sent, received] if ended is not None and sent.isdigit() and received.isdigit():
                code = ended.code if code == "ok" else _known(code)
                self._tell(replace(ended, code=code, sent=int(sent), received=int(received)))
            case _:
                raise ProxyFailed("the proxy of commands sent what is no report", cure="run the command again")

    def _tell(self, connection: Connection) -> None:
        self._seen.append(connection)
        self._gatekeeper.connected(connection)


def _known(code: str) -> str:
    return code if code in _CODES else "net.unreachable"


class Peer:
    """One of the two processes, and our end of its socket."""

    def __init__(self, name: str) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_START_DEADLINE_S)
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and program
                [sys.executable, "-I", "-S", "-E", "-c", _PROGRAM.format(name), _PACKAGES, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={},
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def hello(self) -> str:
        """Wait until it is confined; returns what it could still do, "" for nothing."""
        frame, _ = self.receive()
        if frame.kind is not Kind.READY:
            raise ProxyFailed("the proxy did not say what it is", cure="run the command again")
        self._socket.settimeout(_END_DEADLINE_S)
        return frame.text

    def send(self, frame: Frame, descriptor: int | None = None) -> None:
        frames.send(self._socket, frame, descriptor)

    def receive(self) -> tuple[Frame, int | None]:
        return frames.receive(self._socket)

    def close(self) -> None:
        """Its end of the socket closes, which ends it."""
        self._socket.close()
        try:
            self._process.wait(_END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
