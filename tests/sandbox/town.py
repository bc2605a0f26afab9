"""A town with an internet of its own: real servers behind real addresses, reached only through a veth pair.

Run as a program it makes three things in namespaces of its own: the *internet* (a net namespace with servers, a name
server, a metadata service and a private network), the *town* (where executors run, as on a user's machine) and names
that lead to all of it. It then carries out orders, one JSON object a line: run a command under a plan, and tell what
came of it. `Town` is the tests' end of that.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.server
import json
import os
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WEB, DNS, OWN = "93.184.216.34", "93.184.216.53", "93.184.217.1"
WEB6 = "2606:2800:220::34"
INSIDE, METADATA = "10.0.0.5", "169.254.169.254"
NAMES: dict[str, list[str]] = {
    "good.example": [WEB], "neighbour.example": [WEB], "six.example": [WEB6], "own.example": [OWN],
    "inside.example": [INSIDE], "meta.example": [METADATA], "metadata.google.internal": [METADATA],
    "loop.example": ["127.0.0.1"], "zero.example": ["0.0.0.0"], "mapped.example": ["::ffff:127.0.0.1"],
    "mixed.example": ["127.0.0.1", INSIDE, WEB], "git.corp.internal": [INSIDE], "nat64.example": ["64:ff9b::a00:5"],
}  # fmt: skip


class Town:
    """The tests' end of a running town. `folder` is what commands may change; `ca` is a certificate inside it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self.folder = folder
        self.ca = folder / "ca.pem"

    def run(self, *argv: str, hosts: tuple[str, ...] = (), **order: Any) -> dict[str, Any]:
        """Run a command; returns status, out, err, connections (host, port, code, about), asked, and heard servers.

        Options: `answers` (host to whether it may be reached), `stdin`, `timeout_s`, `asks` (hosts may be asked about),
        `think_s` (how long an answer takes), `env`, `read`.
        """
        return self.order({"argv": argv, "hosts": hosts, **order})

    def python(self, code: str, **order: Any) -> dict[str, Any]:
        """Run Python code."""
        return self.run(os.path.realpath(sys.executable), "-I", "-S", "-c", code, **order)

    def order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        if "failed" in answer:
            raise AssertionError(answer["failed"])
        return answer


@contextlib.contextmanager
def town() -> Iterator[Town]:
    """A running town; the test is skipped where this host has no such namespaces or no `ip`."""
    import pytest  # not in the town itself

    if sys.platform != "linux" or not shutil.which("ip") or not shutil.which("openssl"):
        pytest.skip("needs Linux, ip and openssl")
    with tempfile.TemporaryDirectory(prefix="lg-town-") as base:
        process = subprocess.Popen(
            [sys.executable, __file__, os.path.realpath(base)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with process:
            try:
                assert process.stdout is not None
                ready = process.stdout.readline()
                if not ready.startswith(b"ready"):
                    pytest.skip(f"no namespaces for a town here: {ready.decode() or 'it ended'}")
                yield Town(process, Path(os.path.realpath(base)) / "project")
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(30)


# --- inside -------------------------------------------------------------------------------------------------------


def _ip(*lines: str) -> None:
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True, stdout=subprocess.DEVNULL)


def _keep_over_exec(capability: int) -> None:
    """Let `ip` have a capability although nobody here is root: it is added to the inheritable and the ambient set."""
    from localgpt.sandbox import kernel

    header = struct.pack("Ii", 0x2008_0522, 0)
    sets = (ctypes.c_char * 24)()
    ctypes.CDLL(None).capget(header, sets)
    words = list(struct.unpack("6I", sets.raw))
    words[2] |= 1 << capability
    kernel.call("capset", header, struct.pack("6I", *words))
    kernel.prctl(kernel.PR_CAP_AMBIENT, 2, capability)  # PR_CAP_AMBIENT_RAISE


def _enter(base: Path) -> None:
    from localgpt.sandbox import kernel

    uid, gid = os.geteuid(), os.getegid()
    kernel.call("unshare", kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path(f"/proc/self/{name}").write_text(line)
    _keep_over_exec(12)  # CAP_NET_ADMIN
    (base / "resolv.conf").write_text(f"nameserver {DNS}\noptions timeout:1 attempts:1\n")
    (base / "hosts").write_text("127.0.0.1 localhost\n")
    for name in ("resolv.conf", "hosts"):
        target = os.path.realpath(f"/etc/{name}")
        kernel.call("mount", str(base / name).encode(), target.encode(), None, 0x1000, None)


def _make_internet(base: Path) -> None:
    """Fork the internet and lay the cable; returns when its servers listen."""
    from localgpt.sandbox import kernel

    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
        kernel.call("unshare", kernel.CLONE_NEWNET)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        _ip("link set lo up", "link set wan up", f"addr add {WEB}/32 dev wan", f"addr add {DNS}/32 dev wan",
            f"addr add {INSIDE}/32 dev wan", f"addr add {METADATA}/32 dev wan",
            "route add 192.168.77.0/24 dev wan", f"route add {OWN}/32 dev wan",
            f"-6 addr add {WEB6}/128 dev wan nodad", "-6 route add 2606:2800:77::/64 dev wan")  # fmt: skip
        _serve(base)
        os.write(ready[1], b"y")
        threading.Event().wait()
    os.read(ready[0], 1)
    _ip(f"link add lan type veth peer name wan netns {pid}", "link set lo up", "link set lan up",
        "addr add 192.168.77.1/24 dev lan", f"addr add {OWN}/32 dev lan", "route add default dev lan",
        "-6 addr add 2606:2800:77::1/64 dev lan nodad", "-6 route add default dev lan")  # fmt: skip
    os.write(go[1], b"x")
    if os.read(ready[0], 1) != b"y":
        raise OSError("the internet did not come up")


def _certificates(base: Path) -> ssl.SSLContext:
    project = base / "project"
    names = ",".join(f"DNS:{name}" for name in NAMES) + f",IP:{WEB}"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=town", "-addext", f"subjectAltName={names}", "-keyout", base / "key.pem", "-out",
         project / "ca.pem"],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(project / "ca.pem", base / "key.pem")
    return context


class _Web(http.server.SimpleHTTPRequestHandler):
    """Files of the web, except /echo, which answers with the body; each request leaves a line in the log."""

    protocol_version = "HTTP/1.1"
    log: Path
    web: str

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=self.web)

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self._note(f"POST {self.path} {len(body)}")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: Any) -> None:
        if self.command != "POST":
            self._note(f"{self.command} {self.path}")

    def log_message(self, *_: Any) -> None:
        pass

    def _note(self, what: str) -> None:
        port = self.connection.getsockname()[1]
        _note(self.log, f"web:{port} {self.headers.get('Host')} {what}")


def _note(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(line + "\n")


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: Any) -> None:
        pass


class _Server6(_Server):
    address_family = socket.AF_INET6


def _serve(base: Path) -> None:
    log, web = base / "heard", str(base / "web")
    _Web.log, _Web.web = log, web
    tls = _certificates(base)

    class Plain(socketserver.BaseRequestHandler):
        """Says something first, and then says back what it hears."""

        def handle(self) -> None:
            address, port = self.request.getsockname()[:2]
            _note(log, f"raw:{address}:{port}")
            self.request.sendall(b"hello\n")
            while part := self.request.recv(65536):
                self.request.sendall(part)

    servers: list[_Server] = [_Server((WEB, port), _Web) for port in (80, 443, 8080, 8443)]
    for server in servers:
        if server.server_address[1] in {443, 8443}:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    servers += [_Server6((WEB6, 80), _Web), _Server((WEB, 22), Plain)]
    servers += [_Server((address, 80), Plain) for address in (INSIDE, METADATA)]
    for each in servers:
        threading.Thread(target=each.serve_forever, daemon=True).start()
    threading.Thread(target=_answer_names, args=(log,), daemon=True).start()


def _answer_names(log: Path) -> None:
    """A name server. `rebind.example` is the web's the first time it is asked for, and this machine's ever after."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((DNS, 53))
    rebound = False
    while True:
        query, peer = sock.recvfrom(512)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        name, kind = ".".join(labels).lower(), struct.unpack("!H", query[at + 1 : at + 3])[0]
        _note(log, f"dns {name}")
        found = NAMES.get(name, [])
        if name == "rebind.example" and kind == 1:
            found, rebound = (["127.0.0.1"] if rebound else [WEB]), True
        records = [
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(data)) + data
            for address in found
            if (data := _packed(address, kind))
        ]
        flags = 0x8180 if found else 0x8183
        head = query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
        sock.sendto(head + query[12 : at + 5] + b"".join(records), peer)


def _packed(address: str, kind: int) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address) if kind == (28 if ":" in address else 1) else b""


def _carry_out(base: Path) -> None:
    from localgpt.sandbox import Executor, Limits, Plan
    from localgpt.sandbox.egress import Connection

    class Desk:
        def __init__(self) -> None:
            self.answers: dict[str, bool] = {}
            self.asked: list[str] = []
            self.think_s = 0.0

        def may_connect(self, host: str, port: int, *, listed: bool) -> bool:
            if not listed:
                self.asked.append(f"{host}:{port}")
                time.sleep(self.think_s)
            return listed or self.answers.get(host, False)

        def connected(self, connection: Connection) -> None:
            pass

    desk = Desk()
    executors: dict[str, Executor] = {}
    log = base / "heard"
    with contextlib.ExitStack() as stack:
        for line in sys.stdin:
            order = json.loads(line)
            try:
                key = json.dumps([order["hosts"], order.get("asks", False), order.get("read", ())])
                if key not in executors:
                    plan = Plan.workspace_write(
                        base / "project", hosts=order["hosts"], asks_hosts=order.get("asks", False),
                        read=order.get("read", ()), limits=Limits(timeout_s=30), environ={"HOME": str(base)},
                    )  # fmt: skip
                    executors[key] = stack.enter_context(Executor(plan, gatekeeper=desk))
                desk.answers, desk.asked, desk.think_s = order.get("answers", {}), [], order.get("think_s", 0.0)
                log.write_text("")
                done = executors[key].run(
                    order["argv"], stdin=order.get("stdin", "").encode(), timeout_s=order.get("timeout_s"),
                    env=order.get("env", {}).items(),
                )  # fmt: skip
                answer = {
                    "status": done.exit_status, "out": done.stdout.decode("utf-8", "replace"),
                    "err": done.stderr.decode("utf-8", "replace"), "asked": desk.asked,
                    "connections": [[c.host, c.port, c.code, c.about] for c in done.connections],
                    "bytes": [[c.sent, c.received] for c in done.connections],
                    "heard": log.read_text().splitlines(), "seconds": done.duration_s,
                }  # fmt: skip
            except Exception as error:  # noqa: BLE001 -- told to the test, which raises it
                answer = {"failed": "".join(traceback.format_exception(error))}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def main() -> None:
    """Make the town and carry out orders until the tests are done."""
    base = Path(sys.argv[1])
    (base / "project").mkdir()
    (base / "web").mkdir()
    (base / "web" / "page").write_text("the web\n")
    (base / "heard").write_text("")
    try:
        _enter(base)
        _make_internet(base)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stdout.write(f"{error}\n")
        return
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    _carry_out(base)


if __name__ == "__main__":
    main()
