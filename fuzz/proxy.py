"""Targets of the proxy: what commands send to it, and what its processes say to each other."""

from __future__ import annotations

import socket
import struct

from localgpt.sandbox import frames, hello, hosts, http1, socks5
from localgpt.sandbox.faults import ProxyFailed

_HELLO = (
    b"\x16\x03\x01\x00\x4c\x01\x00\x00\x48\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01\x01\x00\x00\x1d"
    b"\x00\x00\x00\x11\x00\x0f\x00\x00\x0cgood.example\x00\x2b\x00\x03\x02\x03\x04"
)


def hellos() -> list[bytes]:
    """One in one record, and the same in many."""
    body = _HELLO[5:]
    crumbs = b"".join(b"\x16\x03\x01" + struct.pack("!H", 1) + body[i : i + 1] for i in range(len(body)))
    return [_HELLO, crumbs]


def requests() -> list[bytes]:
    """What curl, pip and git send."""
    return [
        b"CONNECT good.example:443 HTTP/1.1\r\nHost: good.example:443\r\nUser-Agent: curl/8\r\n\r\n",
        b"GET http://good.example/simple/ HTTP/1.1\r\nHost: good.example\r\nConnection: keep-alive, X\r\nX: y\r\n\r\n",
        b"POST http://[::1]:80/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n",
        b"POST http://good.example/ HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
    ]


def greetings() -> list[bytes]:
    """SOCKS5 by name and by both kinds of address."""
    start = b"\x05\x01\x00\x05\x01\x00"
    return [
        start + b"\x03\x0cgood.example\x01\xbb",
        start + b"\x01\x0a\x00\x00\x01\x00\x50",
        start + b"\x04" + bytes(18),
    ]


def messages() -> list[bytes]:
    """One of each kind."""
    return [struct.pack("!BIIH", kind, 1, 2, 443) + b"good.example" for kind in frames.Kind]


def patterns() -> list[bytes]:
    """Every form of one."""
    return [b"good.example:443", b"*.good.example", b"[2606::1]:80", b"10.0.0.1:5432", b"*", b"::ffff:10.0.0.1"]


def client_hello(data: bytes) -> None:
    """A name, none, or one of two errors; and a name is what the bytes hold."""
    try:
        name = hello.server_name(data)
    except (hello.NoHello, hello.Incomplete):
        return
    assert name is None or name.isascii()


def request(data: bytes) -> None:
    """What is passed on is one head for the host that was asked for, and one body with one end."""
    for tunnel in (None, ("good.example", 80)):
        try:
            parsed = http1.parse_request(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", tunnel)
        except http1.BadRequest:
            continue
        assert hosts.normalise(parsed.host) == parsed.host
        head = http1.origin_head(parsed)
        assert head.index(b"\r\n\r\n") == len(head) - 4
        assert head.lower().count(b"\r\nhost:") == 1
        assert head.lower().count(b"\r\nconnection:") == 1


def body(data: bytes) -> None:
    """Exactly the body is passed on, whatever follows it."""
    head, _, rest = data.partition(b"\r\n\r\n")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(rest[:4096])
        theirs.shutdown(socket.SHUT_WR)
        sent = bytearray()
        try:
            http1.copy_body(http1.Stream(ours), http1.parse_request(head + b"\r\n\r\n"), sent.extend)
        except (http1.BadRequest, http1.Ended):
            return
        assert len(sent) <= len(rest) + 16


def socks(data: bytes) -> None:
    """A host and a port, or an error."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data[:4096])
        theirs.shutdown(socket.SHUT_WR)
        try:
            host, port = socks5.greet(http1.Stream(ours))
        except (http1.BadRequest, OSError):
            return
        assert hosts.normalise(host) == host
        assert 0 < port < 65536


def message(data: bytes) -> None:
    """A message, or the end of whoever sent it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(data[:4096] or b"\0")
        try:
            frame, descriptor = frames.receive(theirs)
        except ProxyFailed:
            return
        assert frame.text.isascii()
        assert descriptor is None


def pattern(data: bytes) -> None:
    """One spelling, and it covers what it says."""
    text = data.decode("utf-8", "replace")
    known = hosts.normalise_pattern(text)
    if known is None:
        return
    assert hosts.normalise_pattern(known) == known
    assert hosts.normalise(text) in {None, hosts.normalise(known)} or ":" in text


TARGETS = {
    "proxy.hello": (client_hello, hellos),
    "proxy.request": (request, requests),
    "proxy.body": (body, requests),
    "proxy.socks": (socks, greetings),
    "proxy.message": (message, messages),
    "proxy.pattern": (pattern, patterns),
}
