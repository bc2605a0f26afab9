"""The proxy's parsers: total on any bytes, and never two readings of the same ones."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.sandbox import frames, hello, http1, socks5
from localgpt.sandbox.faults import ProxyFailed
from localgpt.sandbox.frames import Frame, Kind


def client_hello(name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO = client_hello("good.example")


def records(message: bytes, size: int) -> bytes:
    parts = [message[i : i + size] for i in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(part)) + part for part in parts)


# --- TLS ----------------------------------------------------------------------------------------------------------


def test_a_real_hello():
    assert hello.server_name(HELLO) == "good.example"
    assert hello.server_name(client_hello(None)) is None


@pytest.mark.parametrize("size", [1, 3, 40, 16384])
def test_in_any_records(size):
    assert hello.server_name(records(HELLO[5:], size)) == "good.example"


def test_every_part_of_one_is_incomplete():
    for end in range(len(HELLO)):
        with pytest.raises(hello.Incomplete):
            hello.server_name(HELLO[:end])


@given(st.integers(5, len(HELLO) - 1), st.integers(0, 255))
def test_one_byte_changed_is_a_hello_or_none(position, value):
    data = HELLO[:position] + bytes([value]) + HELLO[position + 1 :]
    try:
        name = hello.server_name(data)
    except (hello.NoHello, hello.Incomplete):
        return
    assert name is None or name.isascii()


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: records(b"\x01\x00" + data, 50)))
def test_any_bytes(data):
    with contextlib.suppress(hello.NoHello, hello.Incomplete):
        hello.server_name(data)


def with_extensions(*extensions: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack("!HH", kind, len(data)) + data for kind, data in extensions)
    inner = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + struct.pack("!H", len(body)) + body
    return records(b"\x01" + len(inner).to_bytes(3, "big") + inner, 16384)


def sni(*names: bytes) -> bytes:
    entries = b"".join(b"\x00" + struct.pack("!H", len(name)) + name for name in names)
    return struct.pack("!H", len(entries)) + entries


@pytest.mark.parametrize(
    "extensions",
    [
        [(0, sni(b"good.example")), (0, sni(b"evil.example"))],
        [(0, sni(b"good.example", b"evil.example"))],
        [(0, sni(b"good.example") + b"x")],
        [(0, b"\x00\x04\x01\x00\x01a")],
        [(0, sni(b"g\xc3\xb6\xc3\xb6d.example"))],
        [(0, b"")],
    ],
)
def test_two_names_or_a_malformed_one_are_no_hello(extensions):
    with pytest.raises(hello.NoHello):
        hello.server_name(with_extensions(*extensions))


def test_a_hello_that_never_ends_is_given_up():
    endless = b"\x01\xff\xff\xff" + bytes(100)
    with pytest.raises(hello.NoHello):
        hello.server_name(records(endless, 50))


# --- HTTP ---------------------------------------------------------------------------------------------------------


def parse(text: str, tunnel: tuple[str, int] | None = None) -> http1.Request:
    return http1.parse_request(text.encode("latin-1") + b"\r\n\r\n", tunnel)


def test_where_requests_go():
    assert (parse("CONNECT Good.Example:443 HTTP/1.1").host, parse("CONNECT [::1]:8 HTTP/1.1").port) == (
        "good.example",
        8,
    )
    request = parse("GET http://good.example:8080/a?b=c#d HTTP/1.1\r\nHost: evil.example\r\nX: y")
    assert (request.host, request.port, request.path) == ("good.example", 8080, "/a?b=c#d")
    head = http1.origin_head(request)
    assert b"Host: good.example:8080\r\n" in head
    assert b"evil" not in head
    assert b"X: y" in head


def test_what_is_between_two_hops_stays_there():
    request = parse(
        "GET http://a.example/ HTTP/1.1\r\nProxy-Authorization: Basic x\r\nConnection: keep-alive, X-Hop\r\n"
        "X-Hop: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nAuthorization: mine\r\nTE: trailers"
    )
    assert http1.origin_head(request) == (
        b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nAuthorization: mine\r\n\r\n"
    )


@pytest.mark.parametrize("named", ["Content-Length", "Transfer-Encoding"])
def test_a_body_s_end_cannot_be_declared_a_hop_s(named):
    value = "5" if named == "Content-Length" else "chunked"
    request = parse(f"POST http://a.example/ HTTP/1.1\r\nConnection: {named}\r\n{named}: {value}")
    assert f"{named}: {value}".encode() in http1.origin_head(request)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET",
        "GET / HTTP/1.1",
        "get http://a.example/ HTTP/1.1",
        "GET http://a.example/ HTTP/2",
        "GET  http://a.example/ HTTP/1.1",
        "GET https://a.example/ HTTP/1.1",
        "GET http://u@a.example/ HTTP/1.1",
        "GET http://a.example?/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "CONNECT a.example HTTP/1.1",
        "CONNECT a.example:443/x HTTP/1.1",
        "CONNECT a.example:443:1 HTTP/1.1",
        "CONNECT a b:443 HTTP/1.1",
        "GET http://a.example/ HTTP/1.1\r\nX",
        "GET http://a.example/ HTTP/1.1\r\n X: y",
        "GET http://a.example/ HTTP/1.1\r\nX : y",
        "GET http://a.example/ HTTP/1.1\r\nX: a\rb",
        "GET http://a.example/ HTTP/1.1\r\nX: a\nY: b",
        "GET http://a.example/ HTTP/1.1\r\nX: \x00",
        "GET http://a.example/\x7f HTTP/1.1",
    ],
)
def test_what_is_no_request(text):
    with pytest.raises(http1.BadRequest):
        parse(text)


@given(st.binary(max_size=200) | st.text(alphabet="GET htp:/a.CONX1\r\n: ", max_size=80).map(str.encode))
def test_any_head(data):
    for tunnel in (None, ("a.example", 80)):
        try:
            request = http1.parse_request(data, tunnel)
        except http1.BadRequest:
            continue
        head = http1.origin_head(request)
        assert head.count(b"\r\n\r\n") == 1
        assert head.endswith(b"\r\n\r\n")


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.binary(max_size=20))
def test_exactly_the_body_is_copied(chunks, behind):
    body = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\n"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(body + behind)
        theirs.shutdown(socket.SHUT_WR)
        stream, copied = http1.Stream(ours), bytearray()
        request = parse("POST http://a.example/ HTTP/1.1\r\nTransfer-Encoding: chunked")
        http1.copy_body(stream, request, copied.extend)
        plain = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        assert bytes(copied) == plain
        rest = stream.buffer
        while part := ours.recv(100):
            rest += part
        assert rest == behind


@given(st.binary(max_size=80))
def test_any_socks(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            host, port = socks5.greet(http1.Stream(ours))
        except (http1.BadRequest, OSError):
            return
        assert host
        assert 0 < port < 65536


# --- between the processes ----------------------------------------------------------------------------------------


@given(
    st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 65535),
    st.text(alphabet=st.characters(max_codepoint=127), max_size=frames.LONGEST),
)  # fmt: skip
def test_what_is_sent_arrives(kind, run, number, port, text):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        frames.send(ours, Frame(kind, run, number, port, text), theirs.fileno())
        frame, descriptor = frames.receive(theirs)
        assert frame == Frame(kind, run, number, port, text)
        assert descriptor is not None
        socket.close(descriptor)


@given(st.binary(min_size=1, max_size=600))
def test_any_datagram_is_a_message_or_the_end(data):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(data)
        try:
            frame, _ = frames.receive(theirs)
        except ProxyFailed:
            return
        assert frame.text.isascii()
        assert len(data) >= 11
