"""The dialer: resolves a name once and connects to exactly an address that it has checked.

Started by `egress`. It has the network and nothing else: no files but those that name resolution
needs, no programs, no byte of what commands send or get. It connects only where the runtime tells it to, and hands the
connection over.
"""

# Pathlib would double what this process loads.
# ruff: noqa: PTH110

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from typing import Final

from localgpt.sandbox import frames, hosts
from localgpt.sandbox.faults import ProxyFailed
from localgpt.sandbox.frames import Frame, Kind
from localgpt.sandbox.rules import Sockets
from localgpt.sandbox.selfplan import SelfPlan, confine_self

_NAMES: Final = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
    "/run/systemd/resolve",
)  # fmt: skip
_CONNECT_S: Final = 10.0
_MOST_ADDRESSES: Final = 8
_AT_ONCE: Final = 32


class Undialled(Exception):  # noqa: N818 -- named after the condition
    """There is no connection; the first argument is the code, the second what it is about."""


class Dialer:
    """Serves one runtime. `listed` are patterns of addresses that may be reached although they are not public."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._sending = threading.Lock()
        self._room = threading.BoundedSemaphore(_AT_ONCE)

    def serve(self) -> None:
        """Answer until the runtime is gone."""
        listed: list[str] = []
        while True:
            frame, _ = frames.receive(self._control)
            if frame.kind is Kind.LISTEN:
                listed.append(frame.text)
            elif frame.kind is Kind.DIAL:
                self._room.acquire()
                threading.Thread(target=self._dial, args=(frame, tuple(listed)), daemon=True).start()

    def _dial(self, frame: Frame, listed: tuple[str, ...]) -> None:
        connection: socket.socket | None = None
        try:
            connection = dial(frame.text, frame.port, listed)
            answer = Frame(Kind.OPEN, frame.run, frame.number, frame.port, connection.getpeername()[0])
        except Undialled as error:
            answer = Frame(Kind.REFUSED, frame.run, frame.number, frame.port, " ".join(error.args))
        except OSError as error:
            answer = Frame(Kind.REFUSED, frame.run, frame.number, frame.port, f"net.unreachable {_name_of(error)}")
        finally:
            self._room.release()
        try:
            with self._sending:
                frames.send(self._control, answer, None if connection is None else connection.fileno())
        except ProxyFailed:
            os._exit(0)
        if connection is not None:
            connection.close()


def dial(host: str, port: int, listed: tuple[str, ...]) -> socket.socket:
    """Resolve and connect; the answer of the resolver is used once, for the check and for the connection.

    Raises:
        Undialled: no address may be reached, or none answers.
    """
    refusal, failure = "", ""
    for family, address in _resolve(host, port):
        if why := _refusal(host, family, address, listed):
            refusal = f"{why} {address[0]}"
            continue
        try:
            return _connect(family, address)
        except OSError as error:
            failure = f"net.unreachable {_name_of(error)}"
    raise Undialled(*(failure or refusal or "net.unresolved").split(" ", 1))


def _resolve(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise Undialled("net.unresolved") from error
    # What comes back is the name, the scope and the flow; only the address and the port are used.
    pairs = dict.fromkeys((int(family), (str(address[0]), int(address[1]))) for family, _, _, _, address in found)
    return [(family, address) for family, address in pairs if "%" not in address[0]][:_MOST_ADDRESSES]


def _refusal(host: str, family: int, address: tuple[str, int], listed: tuple[str, ...]) -> str:
    """Why this address may not be reached; "" when it may."""
    parsed = hosts.address_of(address[0])
    if parsed is None or hosts.is_nowhere(address[0]):
        return "net.private"
    if hosts.is_listed(str(parsed), address[1], listed) or hosts.address_of(host) == parsed:
        return ""  # granted as it stands
    refusal = hosts.refusal_of_address(parsed)
    if refusal == "net.private" and hosts.is_local_name(host):
        return ""  # a name that can only mean something near was granted
    return refusal or ("net.own" if _is_own(family, address) else "")


def _is_own(family: int, address: tuple[str, int]) -> bool:
    """Whether `address` is this machine's: its services listen there as on loopback. This sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False  # nothing leads there, and the connection will say so
        return bool(probe.getsockname()[0] == address[0])


def _connect(family: int, address: tuple[str, int]) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        connection.settimeout(_CONNECT_S)
        connection.connect(address)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def _name_of(error: OSError) -> str:
    return "ETIMEDOUT" if isinstance(error, TimeoutError) else errno.errorcode.get(error.errno or 0, "EIO")


def _leak() -> str:
    """What this process could still do and must not; "" when all is refused."""
    attempts = {
        "files": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "listen": lambda: socket.socket(socket.AF_INET).listen(),
        "execute": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 -- to see it refused
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    }
    return " ".join(name for name, attempt in attempts.items() if not is_refused(attempt))


def is_refused(attempt: object) -> bool:
    """Whether the kernel refuses `attempt`, a function without arguments."""
    try:
        attempt()  # type: ignore[operator]
    except OSError as error:
        return error.errno in {errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT}
    return False


def run() -> None:
    """The program: confine this process, test that, serve. Its argument is the number of its socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    confine_self(
        SelfPlan(read=tuple(path for path in _NAMES if os.path.exists(path)), sockets=frozenset({Sockets.INET_CLIENT}))
    )
    frames.send(control, Frame(Kind.READY, text=_leak()))
    try:
        Dialer(control).serve()
    except ProxyFailed:
        os._exit(0)
