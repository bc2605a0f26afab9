"""As much of HTTP/1.1 as a proxy needs: heads, where they go, and where their bodies end. Strict, for what two servers
could read differently is how a request is smuggled past a check.

Source: RFC 9110 sections 7.1 and 7.6.1; RFC 9112 sections 3.2, 5, 6 and 11.2.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from localgpt.sandbox import hosts

LONGEST_HEAD: Final = 1 << 16
_CHUNK: Final = 1 << 16
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_LINE: Final = re.compile(r"([A-Z]{1,32}) ([!-~]+) HTTP/1\.[01]", re.ASCII)
_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,12})(?:[ \t]*;[\t -~]*)?\r\n")
_HOP_BY_HOP: Final = frozenset({
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer",
    "upgrade", "host", "http2-settings",
})  # fmt: skip


class BadRequest(ValueError):  # noqa: N818 -- named after the condition
    """No HTTP/1 request, or one that two servers could read differently."""


class Ended(OSError):  # noqa: N818 -- named after the condition
    """The peer closed before it had said everything."""


@dataclass(frozen=True, slots=True)
class Request:
    """One head. `host` and `port` are where it goes: from an absolute target, or the authority of a CONNECT.

    `length` is that of its body in bytes, None when it comes in chunks.
    """

    method: str
    path: str
    host: str
    port: int
    headers: tuple[tuple[str, str], ...]
    length: int | None


def looks_like(data: bytes) -> bool:
    """Whether a stream that begins like this is HTTP: an upper-case word and a blank, as every method is."""
    word, blank, _ = data[:33].partition(b" ")
    return bool(blank) and word.isalpha() and word.isupper()


class Stream:
    """A socket, and what was read from it and not used yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def more(self) -> None:
        """Read what comes next.

        Raises:
            Ended: nothing comes any more.
        """
        part = self.sock.recv(_CHUNK)
        if not part:
            raise Ended
        self.buffer += part

    def until(self, mark: bytes, longest: int) -> bytes:
        """Take everything up to `mark`, and it.

        Raises:
            BadRequest: it is not among the first `longest` bytes.
        """
        while (end := self.buffer.find(mark)) < 0:
            if len(self.buffer) > longest:
                raise BadRequest("too long")
            self.more()
        return self.take(end + len(mark))

    def take(self, size: int) -> bytes:
        """Take exactly `size` bytes."""
        while len(self.buffer) < size:
            self.more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken


def parse_request(head: bytes, tunnel: tuple[str, int] | None = None) -> Request:
    """Parse a head with its closing empty line.

    Args:
        head: the bytes.
        tunnel: the host and port that the connection already leads to; the target is a path then, and the Host header
            has to name that host. Without it the target is absolute, or the request is a CONNECT.

    Raises:
        BadRequest: the cause.
    """
    lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    first = _LINE.fullmatch(lines[0])
    if first is None:
        raise BadRequest("no request line")
    headers = tuple(_header(line) for line in lines[1:])
    method, target = first.groups()
    length = _length(headers)
    if tunnel is not None:
        named = [value for name, value in headers if name.lower() == "host"]
        if len(named) != 1 or authority(named[0], 80) != tunnel or method == "CONNECT" or not target.startswith("/"):
            raise BadRequest("it names another host than the tunnel leads to")
        return Request(method, target, *tunnel, headers, length)
    if method == "CONNECT":
        return Request(method, "", *authority(target, None), headers, length)
    scheme, _, rest = target.partition("://")
    place, slash, path = rest.partition("/")
    if scheme.lower() != "http" or "?" in place or "#" in place:
        raise BadRequest("a proxy is asked with http://HOST/PATH or CONNECT")
    return Request(method, f"/{path}" if slash else "/", *authority(place, 80), headers, length)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise BadRequest("a malformed header")
    return name, value.strip(" \t")


def authority(text: str, default_port: int | None) -> tuple[str, int]:
    """Parse ``HOST:PORT``; the host comes back in its one spelling.

    Raises:
        BadRequest: it is none, or has no port and there is no default.
    """
    found = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]@/]+))(?::([0-9]{1,5}))?", text, re.ASCII)
    host = None if found is None else hosts.normalise(found[1] or found[2])
    port = default_port if found is None or found[3] is None else int(found[3])
    if host is None or port is None or not 0 < port < 65536:
        raise BadRequest("no host and port")
    return host, port


def origin_head(request: Request) -> bytes:
    """The head as the origin gets it: one request a connection, for exactly the host that was allowed."""
    named = {word.strip().lower() for name, value in request.headers if name.lower() == "connection"
             for word in value.split(",")}  # fmt: skip
    dropped = _HOP_BY_HOP | (named - {"content-length", "transfer-encoding", "authorization"})
    place = hosts.shown(request.host, None if request.port == 80 else request.port)
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {place}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in request.headers if name.lower() not in dropped]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def copy_body(stream: Stream, request: Request, send: Callable[[bytes], object]) -> None:
    """Copy exactly the body of `request`: nothing that follows it reaches the origin.

    Raises:
        BadRequest: a malformed chunk.
    """
    if request.length is None:
        _copy_chunks(stream, send)
    else:
        _copy_exactly(stream, request.length, send)


def _length(headers: tuple[tuple[str, str], ...]) -> int | None:
    """The length of the body, None when it comes in chunks; refused where it could be read in two ways."""
    lengths = {value for name, value in headers if name.lower() == "content-length"}
    coding = [value.lower() for name, value in headers if name.lower() == "transfer-encoding"]
    if coding:
        if lengths or coding != ["chunked"]:
            raise BadRequest("a body with two ends")
        return None
    if not lengths:
        return 0
    (length, *others) = lengths
    if others or not length.isascii() or not length.isdigit() or len(length) > 18:
        raise BadRequest("a body with two ends")
    return int(length)


def _copy_exactly(stream: Stream, size: int, send: Callable[[bytes], object]) -> None:
    while size:
        if not stream.buffer:
            stream.more()
        part = stream.take(min(size, len(stream.buffer)))
        send(part)
        size -= len(part)


def _copy_chunks(stream: Stream, send: Callable[[bytes], object]) -> None:
    size = 1
    while size:
        line = stream.until(b"\r\n", 1024)
        parsed = _SIZE.fullmatch(line)
        if parsed is None:
            raise BadRequest("a malformed chunk")
        size = int(parsed[1], 16)
        send(b"%x\r\n" % size)
        _copy_exactly(stream, size, send)
        if size and stream.take(2) != b"\r\n":
            raise BadRequest("a malformed chunk")
        send(b"\r\n" if size else b"")
    while stream.until(b"\r\n", LONGEST_HEAD) != b"\r\n":
        pass  # trailers are not passed on
    send(b"\r\n")
