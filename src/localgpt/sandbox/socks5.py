"""As much of SOCKS5 as asks for one TCP connection: no authentication, CONNECT, an address or a name.

Source: RFC 1928.
"""

from __future__ import annotations

import socket
from typing import Final

from localgpt.sandbox import hosts
from localgpt.sandbox.http1 import BadRequest, Stream

VERSION: Final = b"\x05"
GRANTED: Final = b"\x05\x00\x00\x01" + bytes(6)
REFUSED: Final = b"\x05\x02\x00\x01" + bytes(6)
_NO_COMMAND: Final = b"\x05\x07\x00\x01" + bytes(6)
_NO_METHOD: Final = b"\x05\xff"
_CONNECT: Final = 1


def greet(stream: Stream) -> tuple[str, int]:
    """Do the greeting and return the host, in its one spelling, and the port that are asked for.

    Raises:
        BadRequest: it is no SOCKS5, no CONNECT, or no host.
    """
    _, count = stream.take(2)
    if 0 not in stream.take(count):
        stream.sock.sendall(_NO_METHOD)
        raise BadRequest("only without authentication")
    stream.sock.sendall(b"\x05\x00")
    version, command, _, kind = stream.take(4)
    if version != VERSION[0]:
        raise BadRequest("not SOCKS5")
    host = hosts.normalise(_address(stream, kind))
    port = int.from_bytes(stream.take(2), "big")
    if command != _CONNECT or host is None or not port:
        stream.sock.sendall(_NO_COMMAND)
        raise BadRequest("only CONNECT to a host and port")
    return host, port


def _address(stream: Stream, kind: int) -> str:
    if kind == 1:
        return socket.inet_ntop(socket.AF_INET, stream.take(4))
    if kind == 4:
        return socket.inet_ntop(socket.AF_INET6, stream.take(16))
    if kind == 3:
        return stream.take(stream.take(1)[0]).decode("latin-1")
    raise BadRequest("an unknown kind of address")
