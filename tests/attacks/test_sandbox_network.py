"""Ways around "these hosts and no others", tried against real servers in an internet of the test's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from tests.sandbox.town import INSIDE, METADATA, OWN, WEB, Town, town

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")

GOOD = ("good.example",)
_CLIENT = """
import socket, ssl
def reach(line):
    s = socket.create_connection(("127.0.0.1", 3128), 10)
    s.sendall(line.encode("latin-1") + b"\\r\\n\\r\\n")
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        part = s.recv(1)
        if not part:
            break
        head += part
    print(head.decode("latin-1").split("\\r\\n")[0])
    return s
def connect(place):
    return reach(f"CONNECT {place} HTTP/1.1\\r\\nHost: {place}")
def rest(s):
    data = b""
    try:
        while part := s.recv(65536):
            data += part
    except OSError as error:
        return type(error).__name__
    return data
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Town]:
    with town() as running:
        yield running


def codes(answer: dict[str, object]) -> list[object]:
    connections = answer["connections"]
    assert isinstance(connections, list)
    return [code for _, _, code, _ in connections]


# --- the host -----------------------------------------------------------------------------------------------------


def test_what_is_listed_is_reached(place):
    answer = place.run("curl", "-sS", "http://good.example/page", hosts=GOOD)
    assert (answer["status"], answer["out"]) == (0, "the web\n")
    assert answer["connections"] == [["good.example", 80, "listed", WEB]]


def test_another_host_through_the_open_door_is_refused_and_not_even_looked_up(place):
    for url in ("https://evil.example/", "http://neighbour.example/page", f"http://{WEB}/page"):
        answer = place.run("curl", "-sS", "--cacert", str(place.ca), url, hosts=GOOD)
        assert "the web" not in answer["out"]
        assert codes(answer) == ["net.unlisted"]
        assert answer["heard"] == []


def test_another_port_of_the_host_is_refused(place):
    answer = place.run("curl", "-sS", "http://good.example:8080/page", hosts=("good.example:80",))
    assert codes(answer) == ["net.unlisted"]
    assert answer["heard"] == []


def test_an_unlisted_host_is_a_question_asked_once(place):
    urls = ["http://neighbour.example/page"] * 3
    allowed = place.run("curl", "-sS", *urls, hosts=GOOD, answers={"neighbour.example": True})
    assert allowed["out"] == "the web\n" * 3
    assert allowed["asked"] == ["neighbour.example:80"]
    assert set(codes(allowed)) == {"granted"}
    denied = place.run("curl", "-sS", *urls, hosts=GOOD)
    assert denied["asked"] == ["neighbour.example:80"]  # an answer is for one command
    assert codes(denied) == ["net.unlisted"] * 3


def test_a_plan_that_only_asks_reaches_nothing_unasked(place):
    answer = place.run("curl", "-sS", "http://good.example/page", asks=True)
    assert codes(answer) == ["net.unlisted"]
    assert place.run("curl", "-sS", "http://good.example/page", asks=True, answers={"good.example": True})["out"]


@pytest.mark.parametrize(
    "spelling",
    [
        "127.1:80", "0x7f000001:80", "2130706433:80", "0177.0.0.1:80", "127.0.0.1:80", "127.0.0.1.:80", "[::1]:80",
        "[::ffff:127.0.0.1]:80", "[::ffff:7f00:1]:80", "[::127.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[fe80::1%25lo]:80",
        "[::]:80", "0.0.0.0:80", "0:80", "localhost:80", "LOCALHOST:80", "localhost.:80", "good.example@127.0.0.1:80",
        "127.0.0.1#good.example:80", "good.example/127.0.0.1:80", "good.example:80:80", f"{METADATA}:80",
        "[::ffff:169.254.169.254]:80", "[fd00:ec2::254]:80", "metadata.google.internal:80", f"{INSIDE}:80",
        "ｇood.example:80", "good.example\x00.evil:80", "good.example:0", "good.example:65536", "good.example:", "*:80",
        "224.0.0.1:80", "255.255.255.255:80",
    ],
)  # fmt: skip
def test_odd_spellings_of_what_is_near_are_refused(place, spelling):
    answer = place.python(_CLIENT + f"connect({spelling!r})", hosts=("good.example", "*"), answers={"localhost": True})
    assert " 200 " not in answer["out"], answer
    assert answer["asked"] == []
    assert answer["heard"] == []


def test_the_same_host_in_another_spelling_is_the_same(place):
    for spelling in ("GOOD.example", "good.example."):
        assert place.run("curl", "-sS", f"http://{spelling}/page", hosts=GOOD)["out"] == "the web\n"


# --- where a name leads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("inside.example", "net.private"), ("loop.example", "net.private"), ("zero.example", "net.private"),
        ("mapped.example", "net.private"), ("nat64.example", "net.private"), ("meta.example", "net.metadata"),
        ("metadata.google.internal", "net.metadata"), ("own.example", "net.own"), ("nowhere.example", "net.unresolved"),
    ],
)  # fmt: skip
def test_a_listed_name_that_leads_near_is_refused(place, name, code):
    answer = place.run("curl", "-sS", "-o", "/dev/null", f"http://{name}/", hosts=(name,))
    assert codes(answer) == [code]
    assert not [line for line in answer["heard"] if not line.startswith("dns")]


def test_of_several_addresses_only_a_public_one_is_used(place):
    answer = place.run("curl", "-sS", "http://mixed.example/page", hosts=("mixed.example",))
    assert answer["connections"] == [["mixed.example", 80, "listed", WEB]]


def test_a_name_that_leads_elsewhere_the_second_time(place):
    """DNS rebinding: what was checked is what is connected to, and the next connection is checked again."""
    first = place.run("curl", "-sS", "http://rebind.example/page", hosts=("rebind.example",))
    assert first["connections"] == [["rebind.example", 80, "listed", WEB]]
    assert [line for line in first["heard"] if line == "dns rebind.example"]
    second = place.run("curl", "-sS", "http://rebind.example/page", hosts=("rebind.example",))
    assert second["connections"] == [["rebind.example", 80, "net.private", "127.0.0.1"]]


def test_a_private_address_that_is_listed_itself_is_reached_on_that_port_only(place):
    code = _CLIENT + f"s = connect('{INSIDE}:80'); s.sendall(b'GET / HTTP/1.1\\r\\nHost: {INSIDE}\\r\\n\\r\\n')\n"
    code += "print(s.recv(6))"
    assert "hello" in place.python(code, hosts=(f"{INSIDE}:80",))["out"]
    other = place.python(_CLIENT + f"connect('{INSIDE}:22')", hosts=(f"{INSIDE}:80",))
    assert codes(other) == ["net.private"]


def test_a_local_name_that_is_listed_may_lead_to_a_private_address_but_not_to_metadata(place):
    answer = place.python(_CLIENT + "connect('git.corp.internal:80')", hosts=("git.corp.internal",))
    assert " 200 " in answer["out"]
    assert codes(place.python(_CLIENT + "connect('meta.example:80')", hosts=("*",))) == ["net.metadata"]


def test_a_public_name_with_a_listed_private_address(place):
    answer = place.python(_CLIENT + "connect('inside.example:80')", hosts=("inside.example", f"{INSIDE}:80"))
    assert " 200 " in answer["out"]


# --- what goes through an open tunnel -----------------------------------------------------------------------------

_TLS = """
s = connect("good.example:443")
context = ssl.create_default_context(cafile=CA)
context.check_hostname = CHECK
tls = context.wrap_socket(s, server_hostname=NAME)
tls.sendall(b"GET /page HTTP/1.1\\r\\nHost: good.example\\r\\nConnection: close\\r\\n\\r\\n")
print(rest(tls))
"""


def tls(place: Town, name: str | None, tail: str = _TLS) -> dict[str, object]:
    head = f"CA = {str(place.ca)!r}; NAME = {name!r}; CHECK = {name is not None}\n"
    return place.python(_CLIENT + head + tail, hosts=GOOD)


def test_tls_for_the_host_goes_through(place):
    assert "the web" in str(tls(place, "good.example")["out"])
    assert "the web" in str(tls(place, "GOOD.Example")["out"])


@pytest.mark.parametrize("name", ["neighbour.example", None, WEB, "good.example.evil.example"])
def test_tls_for_a_neighbour_on_the_same_address_is_cut(place, name):
    answer = tls(place, name)
    assert "the web" not in str(answer["out"])
    assert codes(answer) == ["net.sni"]
    assert answer["bytes"] == [[0, 0]]


def test_a_hello_in_crumbs_is_read_whole(place):
    pieces = """
s = connect("good.example:443")
context = ssl.create_default_context(cafile=CA)
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    pass
hello = outgoing.read()
body = hello[5:]
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for i in range(0, len(body), 40):  # records of 40 bytes, each in two segments
    part = body[i:i + 40]
    record = hello[:3] + len(part).to_bytes(2, "big") + part
    s.sendall(record[:7]); s.sendall(record[7:])
print(rest(s)[:1] if FULL else s.recv(1))
"""
    good = tls(place, "good.example", "FULL = False\n" + pieces)
    assert "b'\\x16'" in str(good["out"]), good
    bad = tls(place, "neighbour.example", "FULL = True\n" + pieces)
    assert codes(bad) == ["net.sni"]


@pytest.mark.parametrize(
    "words", ["GET / HTTP/1.1\r\nHost: good.example\r\n\r\n", "SSH-2.0-x\r\n", "\x80\x2e\x01\x03\x01"]
)
def test_port_443_carries_nothing_but_tls(place, words):
    answer = place.python(
        _CLIENT + f"s = connect('good.example:443'); s.sendall({words!r}.encode('latin-1')); print(rest(s))", hosts=GOOD
    )
    assert codes(answer) == ["net.not-tls"]
    assert answer["bytes"] == [[0, 0]]


@pytest.mark.parametrize("port", [80, 8080])
@pytest.mark.parametrize(
    "head",
    [
        "GET /page HTTP/1.1\r\nHost: neighbour.example", "GET /page HTTP/1.1",
        "GET /page HTTP/1.1\r\nHost: good.example:PORT\r\nHost: neighbour.example",
        "GET http://neighbour.example/page HTTP/1.1\r\nHost: good.example:PORT",
        "GET /page HTTP/1.1\r\nHost : neighbour.example\r\nHost: good.example:PORT",
        "GET /page HTTP/1.1\r\nHost: good.example:PORT\r\n Host: neighbour.example",
        "GET /page HTTP/1.1\nHost: neighbour.example", "PRI * HTTP/2.0", "GET /page HTTP/0.9",
    ],
)  # fmt: skip
def test_http_in_a_tunnel_names_the_host_and_only_it(place, head, port):
    code = (
        f"s = connect('good.example:{port}'); s.sendall({head.replace('PORT', str(port))!r}.encode() + b'\\r\\n\\r\\n')"
    )
    answer = place.python(_CLIENT + code + "; print(rest(s))", hosts=GOOD)
    assert codes(answer) == ["net.host-header"]
    assert answer["bytes"] == [[0, 0]]


def test_a_second_request_behind_the_first_does_not_reach_the_server(place):
    for start in ("s = connect('good.example:80'); s.sendall(b'GET /page", "s = reach('GET http://good.example/page"):
        one, other = (f" HTTP/1.1\\r\\nHost: {name}.example\\r\\n\\r\\n" for name in ("good", "neighbour"))
        two = f"{one}GET /second{other}')"
        answer = place.python(_CLIENT + start + two + "; print(rest(s))", hosts=GOOD)
        assert [line for line in answer["heard"] if line.startswith("web")] == ["web:80 good.example GET /page"]


def test_the_host_header_is_that_of_the_target(place):
    answer = place.run("curl", "-sS", "-H", "Host: neighbour.example", "http://good.example/page", hosts=GOOD)
    assert "web:80 good.example GET /page" in answer["heard"]


@pytest.mark.parametrize(
    "body",
    [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Content-Length: +3\r\n\r\nabc", "Content-Length: 0x3\r\n\r\nabc",
    ],
)  # fmt: skip
def test_a_body_with_two_ends_is_not_passed_on(place, body):
    text = f"POST http://good.example/echo HTTP/1.1\r\nHost: good.example\r\n{body}"
    code = f"s = socket.create_connection(('127.0.0.1', 3128)); s.sendall({text!r}.encode()); print(rest(s))"
    answer = place.python(_CLIENT + code, hosts=GOOD)
    assert not [line for line in answer["heard"] if "POST" in line]


def test_a_refusal_is_heard_by_who_is_still_sending(place):
    answer = place.run(
        "curl", "-sS", "-d", "x" * 100_000, "-w", "%{http_code}", "http://neighbour.example/echo", hosts=GOOD
    )
    assert "not among the hosts of this command" in answer["out"], answer
    assert answer["out"].endswith("403")


def test_another_protocol_on_a_port_of_its_own_goes_through_and_the_server_may_speak_first(place):
    code = "s = connect('good.example:22'); print(s.recv(6)); s.sendall(b'SSH-2.0-x'); print(s.recv(9))"
    answer = place.python(_CLIENT + code, hosts=("good.example:22",))
    assert "b'hello\\n'" in answer["out"]
    assert "SSH-2.0-x" in answer["out"]


# --- around the proxy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        f"socket.create_connection(('{WEB}', 80), 3)",
        f"socket.create_connection(('{OWN}', 3128), 3)",
        "socket.create_connection(('127.0.0.1', 80), 3)",
        "socket.create_connection(('127.0.0.2', 22), 3)",
        f"socket.socket().sendto(b'x', 0x20000000, ('{WEB}', 80))",
        "socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', 3128))",
        "socket.socket().setsockopt(socket.IPPROTO_TCP, 30, 1)",
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)",
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1)",
        "socket.socket(socket.AF_INET6, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)",
        "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
        "socket.socket().bind(('127.0.0.1', 0))",
        "socket.socket().listen()",
        "socket.getaddrinfo('good.example', 80)",
        "open('/proc/sys/net/ipv4/ip_forward', 'w')",
    ],
)
def test_nothing_but_the_proxy(place, code):
    program = (
        "import socket\ntry:\n    x = "
        + code
        + "\nexcept OSError as error:\n    print('REFUSED', error)\nelse:\n    print('REACHED', x)"
    )
    answer = place.python(program, hosts=GOOD)
    assert answer["out"].startswith("REFUSED"), answer
    assert answer["heard"] == []


def test_programs_that_ignore_the_proxy_find_nothing(place):
    for option in ("--noproxy", "--resolve"):
        value = "*" if option == "--noproxy" else f"good.example:80:{WEB}"
        proxy = () if option == "--noproxy" else ("--proxy", "")
        answer = place.run("curl", "-sS", "-m", "3", option, value, *proxy, "http://good.example/page", hosts=GOOD)
        assert answer["status"] != 0
        assert answer["heard"] == []


@pytest.mark.parametrize(
    "request_",
    [
        b"\x05\x01\x00\x05\x02\x00\x01" + bytes([127, 0, 0, 1]) + b"\x00\x50",  # BIND
        b"\x05\x01\x00\x05\x03\x00\x01" + bytes([0, 0, 0, 0]) + b"\x00\x35",  # UDP ASSOCIATE
        b"\x05\x01\x00\x05\x01\x00\x01" + bytes([127, 0, 0, 1]) + b"\x00\x50",
        b"\x05\x01\x00\x05\x01\x00\x01" + bytes([169, 254, 169, 254]) + b"\x00\x50",
        b"\x05\x01\x00\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50",
        b"\x05\x01\x00\x05\x01\x00\x03\x0c" + b"evil.example" + b"\x00\x50",
        b"\x05\x01\x00\x05\x01\x00\x03\x0f" + b"good.example\x00.e" + b"\x00\x50",
        b"\x05\x01\x02\x05\x01\x00\x03\x0c" + b"good.example" + b"\x00\x50",  # only with a password
        b"\x04\x01\x00\x50" + bytes([93, 184, 216, 34]) + b"\x00",  # SOCKS4
    ],
)
def test_socks_asks_for_one_connection_to_a_listed_host_or_gets_nothing(place, request_):
    code = f"s = socket.create_connection(('127.0.0.1', 3128)); s.sendall({request_!r})\n"
    code += "s.settimeout(1); print(rest(s))"
    answer = place.python(_CLIENT + code, hosts=GOOD)
    assert answer["heard"] == []
    assert "x05\\x00\\x00\\x01" not in answer["out"]


def test_socks_to_the_listed_host_is_checked_like_any_tunnel(place):
    request = b"\x05\x01\x00\x05\x01\x00\x03\x0cgood.example\x01\xbb"
    code = f"s = socket.create_connection(('127.0.0.1', 3128)); s.sendall({request!r}); s.recv(2); print(s.recv(10))\n"
    code += "s.sendall(b'not tls at all'); print(rest(s))"
    answer = place.python(_CLIENT + code, hosts=GOOD)
    assert codes(answer) == ["net.not-tls"]


# --- the life of a connection -------------------------------------------------------------------------------------


def test_no_connection_outlives_its_command(place):
    code = _CLIENT + "import os\ns = connect('good.example:22')\ns.recv(6)\nos.fork() or __import__('time').sleep(60)"
    answer = place.python(code, hosts=("good.example:22",))
    assert answer["seconds"] < 10
    assert codes(answer) == ["listed"]


def test_a_flood_of_connections_is_bounded_and_leaves_the_proxy_whole(place):
    flood = _CLIENT + (
        "held = []\n"
        "for _ in range(200):\n"
        "    s = socket.create_connection(('127.0.0.1', 3128), 5); held.append(s)\n"
        "    s.sendall(b'CONNECT evil.example:443 HTTP/1.1\\r\\n')\n"
        "print('done')"
    )
    place.python(flood, hosts=GOOD, timeout_s=3)
    assert place.run("curl", "-sS", "http://good.example/page", hosts=GOOD)["out"] == "the web\n"


def test_more_questions_than_a_log_should_hold_are_not_asked(place):
    code = _CLIENT + "for i in range(60): connect(f'h{i % 3}.example:443')"
    answer = place.python(code, hosts=GOOD)
    assert answer["asked"] == ["h0.example:443", "h1.example:443", "h2.example:443"]


def test_bytes_that_are_nothing_end_that_client_and_nobody_else(place):
    code = _CLIENT + (
        "import os\n"
        "for n in (0, 1, 5, 100, 70000):\n"
        "    s = socket.create_connection(('127.0.0.1', 3128), 5)\n"
        "    try:\n"
        "        s.sendall(os.urandom(n)); s.shutdown(1); rest(s)\n"
        "    except OSError: pass\n"
        "reach('GET http://good.example/page HTTP/1.1\\r\\nHost: x')"
    )
    assert " 200 " in place.python(code, hosts=GOOD)["out"]
