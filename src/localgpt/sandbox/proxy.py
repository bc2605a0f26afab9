"""The front of the proxy: reads what commands send to it, and has no network, no files and no say.

Started by `egress`. It gets a listener inside the network namespace of the commands, understands
CONNECT, plain HTTP and SOCKS5 on it, and asks the runtime for each connection by host and port. What it gets back is a
connected socket or a refusal. It can open none itself, so whoever takes it over can only ask.

A tunnel to port 443 has to be TLS, and TLS on any port has to ask for the host that was allowed (SNI); HTTP has to name
it too, in every request. So an allowed name is no way to its neighbour on the same address.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from localgpt.sandbox import frames, hello, hosts, http1, socks5
from localgpt.sandbox.dialer import is_refused
from localgpt.sandbox.faults import ProxyFailed
from localgpt.sandbox.frames import Frame, Kind
from localgpt.sandbox.rules import Sockets
from localgpt.sandbox.selfplan import SelfPlan, confine_self

_CHUNK: Final = 1 << 16
_AT_ONCE: Final = 128
_FIRST_WORDS_S: Final = 60.0  #: for a client to say what it wants, and for its first bytes in a tunnel
_HTTPS, _HTTP = 443, 80
_FULL_MS: Final = 50  #: until it is looked again whether there is room
_HEARD_OUT_S: Final = 1.0
_HEARD_OUT_CHUNKS: Final = 64


class Refused(Exception):  # noqa: N818 -- named after the condition
    """The runtime said no, or there is no connection: code, and what it is about."""


class Misled(Exception):  # noqa: N818 -- named after the condition
    """What came through an allowed tunnel is meant for somebody else: code."""


@dataclass(slots=True)
class _Talk:
    """One client. `answered` is set when the runtime has answered, or when everything ends."""

    number: int
    client: socket.socket
    upstream: socket.socket | None = None
    refusal: str = ""
    sent: int = 0
    received: int = 0
    answered: threading.Event = field(default_factory=threading.Event)

    def end(self) -> None:
        """Wake whoever waits for this client or its server."""
        self.answered.set()
        for sock in (self.client, self.upstream):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


class Front:
    """Serves the commands of one zygote. The main thread accepts and hears the runtime; each client has a thread."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._sending = threading.Lock()
        self._live: dict[int, _Talk] = {}
        self._changed = threading.Condition()
        self._next = 0
        self._run = 0

    def serve(self) -> None:
        """Serve until the runtime is gone."""
        frame, descriptor = frames.receive(self._control)
        if frame.kind is not Kind.LISTEN or descriptor is None:
            raise ProxyFailed("no listener came", cure="run the command again")
        with socket.socket(fileno=descriptor) as listener:
            listener.setblocking(False)
            while True:
                ready = self._wait(listener)
                if self._control.fileno() in ready:
                    self._hear(listener)
                elif ready:
                    self._accept(listener)

    def _wait(self, listener: socket.socket) -> list[int]:
        """Whose turn it is; with too many clients nobody is accepted. Not select(): numbers may be large."""
        full = len(self._live) >= _AT_ONCE
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        if not full:
            poll.register(listener, select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll(_FULL_MS if full else None)]

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        client.setblocking(True)
        self._next += 1
        talk = _Talk(self._next, client)
        with self._changed:
            self._live[talk.number] = talk
        threading.Thread(target=self._converse, args=(talk, self._run), daemon=True).start()

    def _hear(self, listener: socket.socket) -> None:
        frame, descriptor = frames.receive(self._control)
        if frame.kind is Kind.RESET:
            self._reset(listener, frame.number)
            return
        talk = self._live.get(frame.number) if frame.run == self._run else None
        if talk is None:
            if descriptor is not None:
                os.close(descriptor)
            return
        if frame.kind is Kind.OPEN and descriptor is not None:
            talk.upstream = socket.socket(fileno=descriptor)
        else:
            talk.refusal = frame.text or "net.unreachable"
        talk.answered.set()

    def _reset(self, listener: socket.socket, number: int) -> None:
        """The command is over and everybody of it dead: drop who waits to be accepted, and end every connection."""
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()
        with self._changed:
            for talk in self._live.values():
                talk.end()
            self._changed.wait_for(lambda: not self._live)
        self._run = number
        self._say(Frame(Kind.RESET, number=number))

    def _say(self, frame: Frame) -> None:
        with self._sending:
            frames.send(self._control, frame)

    def _converse(self, talk: _Talk, run: int) -> None:
        code = "ok"
        try:
            talk.client.settimeout(_FIRST_WORDS_S)
            if talk.client.recv(1, socket.MSG_PEEK) == socks5.VERSION:
                self._speak_socks(talk, run)
            else:
                self._speak_http(talk, run)
        except Misled as error:
            code = str(error)
        except (Refused, http1.BadRequest, OSError):
            pass
        except ProxyFailed:
            os._exit(0)
        finally:
            self._finish(talk, run, code)

    def _finish(self, talk: _Talk, run: int, code: str) -> None:
        opened = talk.upstream is not None
        for sock in (talk.client, talk.upstream):
            if sock is not None:
                sock.close()
        try:
            if opened:
                self._say(Frame(Kind.CLOSED, run, talk.number, text=f"{code} {talk.sent} {talk.received}"))
        except ProxyFailed:
            os._exit(0)
        with self._changed:
            del self._live[talk.number]
            self._changed.notify_all()

    def _open(self, talk: _Talk, run: int, host: str, port: int) -> socket.socket:
        """Ask the runtime for a connection; there may be a question to the user in between.

        Raises:
            Refused: there is none.
        """
        self._say(Frame(Kind.ASK, run, talk.number, port, host))
        talk.answered.wait()
        if talk.upstream is None:
            raise Refused(talk.refusal or "net.ended")
        return talk.upstream

    # --- the two languages --------------------------------------------------------------------------------------

    def _speak_http(self, talk: _Talk, run: int) -> None:
        stream = http1.Stream(talk.client)
        try:
            request = http1.parse_request(stream.until(b"\r\n\r\n", http1.LONGEST_HEAD))
            upstream = self._open(talk, run, request.host, request.port)
        except http1.BadRequest as error:
            _refuse(talk.client, "400 Bad Request", f"{error}\n")
            raise
        except Refused as error:
            place = hosts.shown(request.host, request.port)
            _refuse(talk.client, f"403 {explain(str(error), place)}", explain(str(error), place) + "\n")
            raise
        if request.method == "CONNECT":
            talk.client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._tunnel(talk, stream, request.host, request.port)
        else:
            with _pumping(talk, upstream):
                _forward(talk, upstream, stream, request)

    def _speak_socks(self, talk: _Talk, run: int) -> None:
        stream = http1.Stream(talk.client)
        host, port = socks5.greet(stream)
        try:
            self._open(talk, run, host, port)
        except Refused:
            talk.client.sendall(socks5.REFUSED)
            raise
        talk.client.sendall(socks5.GRANTED)
        self._tunnel(talk, stream, host, port)

    # --- what goes through --------------------------------------------------------------------------------------

    def _tunnel(self, talk: _Talk, stream: http1.Stream, host: str, port: int) -> None:
        """Carry bytes both ways; the client's first ones only after they were seen to be meant for `host`."""
        upstream = talk.upstream
        assert upstream is not None
        with _pumping(talk, upstream):  # a server may speak first
            if not stream.buffer:
                stream.more()
            if hello.is_tls(stream.buffer):
                _check_hello(stream, host)
            elif port == _HTTPS:
                raise Misled("net.not-tls")
            elif port == _HTTP or http1.looks_like(stream.buffer):
                _forward(talk, upstream, stream, _request_in_tunnel(stream, host, port))
                return
            talk.client.settimeout(None)
            part = stream.buffer
            while part:
                upstream.sendall(part)
                talk.sent += len(part)
                part = talk.client.recv(_CHUNK)
            upstream.shutdown(socket.SHUT_WR)


def _check_hello(stream: http1.Stream, host: str) -> None:
    while True:
        try:
            name = hello.server_name(stream.buffer)
        except hello.Incomplete:
            stream.more()
            continue
        except hello.NoHello as error:
            raise Misled("net.not-tls") from error
        break
    # A server without a name in the hello picks one itself; only an address has none to give.
    if (host if name is None and hosts.address_of(host) else hosts.normalise(name or "")) != host:
        raise Misled("net.sni")


def _request_in_tunnel(stream: http1.Stream, host: str, port: int) -> http1.Request:
    try:
        return http1.parse_request(stream.until(b"\r\n\r\n", http1.LONGEST_HEAD), (host, port))
    except http1.BadRequest as error:
        raise Misled("net.host-header") from error


def _forward(talk: _Talk, upstream: socket.socket, stream: http1.Stream, request: http1.Request) -> None:
    """Pass one request on, head and exactly its body."""

    def send(data: bytes) -> None:
        upstream.sendall(data)
        talk.sent += len(data)

    talk.client.settimeout(None)
    send(http1.origin_head(request))
    http1.copy_body(stream, request, send)


@contextlib.contextmanager
def _pumping(talk: _Talk, upstream: socket.socket) -> Iterator[None]:
    """Carry the server's bytes to the client in a thread of its own until both are done."""

    def pump() -> None:
        with contextlib.suppress(OSError):
            while part := upstream.recv(_CHUNK):
                talk.client.sendall(part)
                talk.received += len(part)
        with contextlib.suppress(OSError):
            talk.client.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=pump, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        talk.end()
        raise
    finally:
        thread.join()


def _refuse(client: socket.socket, status: str, text: str) -> None:
    """Answer, and hear the client out for a moment: closing on what it still sends would take the answer from it."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    client.sendall((head + text).encode("ascii", "replace"))
    client.shutdown(socket.SHUT_WR)
    client.settimeout(_HEARD_OUT_S)
    for _ in range(_HEARD_OUT_CHUNKS):
        if not client.recv(_CHUNK):
            break


def explain(refusal: str, place: str) -> str:
    """One line for whoever reads a program's error: what was refused, and what would allow it."""
    code, _, about = refusal.partition(" ")
    return _SENTENCES.get(code, "{place} cannot be reached").format(place=place, about=about or "where it says")


_SENTENCES: Final = {
    "net.unlisted": "{place} is not among the hosts of this command",
    "net.metadata": "{place} leads to a metadata service, which no command may reach",
    "net.private": "{place} leads to {about}, which is not public and not named itself",
    "net.own": "{place} leads to this machine",
    "net.unresolved": "the name of {place} cannot be resolved",
    "net.unreachable": "{place} does not answer ({about})",
    "net.busy": "too many connections for one command",
}


def _leak() -> str:
    """What this process could still do and must not; "" when all is refused."""
    attempts = {
        "files": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "inet": lambda: socket.socket(socket.AF_INET),
        "inet6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "execute": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 -- to see it refused
    }
    return " ".join(name for name, attempt in attempts.items() if not is_refused(attempt))


def run() -> None:
    """The program: confine this process, test that, serve. Its argument is the number of its socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    confine_self(SelfPlan(sockets=frozenset({Sockets.ACCEPTED})))
    try:
        frames.send(control, Frame(Kind.READY, text=_leak()))
        Front(control).serve()
    except ProxyFailed:
        os._exit(0)
