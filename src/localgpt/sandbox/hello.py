"""The server name in a TLS ClientHello. Pure, and no more of TLS than that takes.

Source: RFC 8446 sections 4.1.2 and 5.1; RFC 6066 section 3.
"""

from __future__ import annotations

from typing import Final

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
LONGEST: Final = 1 << 14


class NoHello(ValueError):  # noqa: N818 -- named after the condition
    """These bytes are no ClientHello, or one that two servers could read differently."""


class Incomplete(Exception):  # noqa: N818 -- named after the condition
    """So far it could become one: more is needed."""


def is_tls(data: bytes) -> bool:
    """Whether a stream that begins like this is TLS."""
    return data[:1] == bytes([_HANDSHAKE])


def server_name(data: bytes) -> str | None:
    """The name that the ClientHello at the start of `data` asks for, as it is spelled; None without one.

    Raises:
        Incomplete: `data` ends before the ClientHello does.
        NoHello: it is none, or is longer than `LONGEST`.
    """
    reader = _Reader(_message(data))
    reader.skip(2 + 32)  # legacy version, random
    reader.vector(1)  # legacy session id
    reader.vector(2)  # cipher suites
    reader.vector(1)  # compression methods
    if reader.at_end():
        return None
    extensions = _Reader(reader.vector(2))
    reader.must_end()
    names = []
    while not extensions.at_end():
        kind, body = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            names.append(_host_name(body))
    if len(names) > 1:
        raise NoHello("two server names")
    return names[0] if names else None


def _host_name(body: bytes) -> str:
    whole = _Reader(body)
    reader = _Reader(whole.vector(2))
    whole.must_end()
    kind, name = reader.number(1), reader.vector(2)
    reader.must_end()  # one name, or servers could pick different ones
    if kind != _HOST_NAME:
        raise NoHello("not a host name")
    try:
        return name.decode("ascii")
    except UnicodeDecodeError as error:
        raise NoHello("not a host name") from error


def _message(data: bytes) -> bytes:
    """The body of the handshake message at the start, put together from as many records as it takes."""
    message = b""
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        if data and data[0] != _HANDSHAKE:
            raise NoHello("not a handshake")
        if len(data) < 5:
            raise Incomplete
        size = int.from_bytes(data[3:5], "big")
        if data[1] != 3 or not 0 < size <= 1 << 14:
            raise NoHello("not a handshake")
        if len(data) < 5 + size:
            raise Incomplete
        message += data[5 : 5 + size]
        data = data[5 + size :]
        if message[0] != _CLIENT_HELLO or (len(message) >= 4 and int.from_bytes(message[1:4], "big") > LONGEST):
            raise NoHello("not a ClientHello")
    size = int.from_bytes(message[1:4], "big")
    if len(message) != 4 + size:
        raise NoHello("something follows the ClientHello in its record")
    return message[4:]


class _Reader:
    """A position in bytes; what reads past the end is no ClientHello."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def skip(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) < size:
            raise NoHello("cut short")
        self._at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.skip(size), "big")

    def vector(self, size: int) -> bytes:
        return self.skip(self.number(size))

    def at_end(self) -> bool:
        return self._at == len(self._data)

    def must_end(self) -> None:
        if not self.at_end():
            raise NoHello("longer than it says")
