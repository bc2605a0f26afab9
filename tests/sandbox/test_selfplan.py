"""A process that confines itself: what it keeps, what it loses, with and without threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localgpt.sandbox import Sockets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux")

PREAMBLE = """
import errno, os, socket, sys, threading
from localgpt.sandbox import SelfPlan, Sockets, confine_self
read, write, kinds = sys.argv[1], sys.argv[2], sys.argv[3].split()
confine_self(SelfPlan(read=(read,), write=(write,), sockets=frozenset(Sockets[k] for k in kinds)))
def code(call):
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
"""


def confined(code: str, tmp_path: Path, *kinds: Sockets) -> list[str]:
    (tmp_path / "read").mkdir(exist_ok=True)
    (tmp_path / "read" / "file").write_text("granted")
    (tmp_path / "write").mkdir(exist_ok=True)
    (tmp_path / "secret").write_text("canary")
    names = " ".join(kind.name for kind in kinds)
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code, str(tmp_path / "read"), str(tmp_path / "write"), names],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_files(tmp_path: Path) -> None:
    said = confined(
        """
print(open(read + "/file").read(), code(lambda: open(write + "/new", "w")), code(lambda: open("/dev/null", "w")))
print(code(lambda: open(read + "/new", "w")), code(lambda: open(os.path.dirname(read) + "/secret")))
print(code(lambda: os.listdir("/root")), code(lambda: open("/etc/passwd")), code(lambda: os.listdir("/")))
""",
        tmp_path,
    )
    assert said == ["granted", "done", "done", *["EACCES"] * 5]


def test_nothing_is_executed_or_signalled(tmp_path: Path) -> None:
    said = confined(
        """
print(code(lambda: os.execv("/bin/true", ["true"])), code(lambda: os.posix_spawn("/bin/true", ["true"], {})))
print(code(lambda: os.kill(os.getppid(), 0)), code(lambda: os.kill(os.getpid(), 0)))
""",
        tmp_path,
    )
    assert said == ["EPERM", "EPERM", "EPERM", "done"]


def test_it_has_threads_and_no_children(tmp_path: Path) -> None:
    said = confined(
        """
thread = threading.Thread(target=print, args=("thread",))
thread.start()
thread.join()
print(code(os.fork), code(lambda: os.posix_spawn("/bin/true", ["true"], {})))
""",
        tmp_path,
    )
    assert said == ["thread", "EPERM", "EPERM"]


def test_modules_and_threads_still_come(tmp_path: Path) -> None:
    said = confined(
        """
import asyncio, concurrent.futures, decimal, email.message, json, sqlite3, ssl, xml.etree.ElementTree
from localgpt import wire
out = []
thread = threading.Thread(target=lambda: out.append(code(lambda: open("/etc/passwd"))))
thread.start(); thread.join()
print(out[0], asyncio.run(asyncio.to_thread(lambda: "ran")))
""",
        tmp_path,
    )
    assert said == ["EACCES", "ran"]


CALLS = """
def unix_listen():
    os.chdir(write)
    with socket.socket(socket.AF_UNIX) as s: s.bind("s"); s.listen()
def unix_connect():
    with socket.socket(socket.AF_UNIX) as s: s.connect("/nonexistent")
def inet_connect():
    with socket.socket() as s: s.connect(("127.0.0.1", 1))
def inet_listen():
    with socket.socket() as s: s.bind(("127.0.0.1", 0)); s.listen()
def fast_open():
    with socket.socket() as s: s.sendto(b"x", 0x20000000, ("127.0.0.1", 1))
def mptcp():
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
def raw():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
def netlink():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
def unix_datagram():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s: s.sendto(b"x", "/nonexistent")
for call in (unix_listen, unix_connect, inet_connect, inet_listen): print(code(call))
for call in (fast_open, mptcp, raw, netlink, unix_datagram): print(code(call))
a, b = socket.socketpair(); a.send(b"x"); print("pair" if b.recv(1) else "")
"""
NONE = "EAFNOSUPPORT"
EXPECTED = {
    None: [NONE] * 9,
    Sockets.UNIX_LISTENER: ["done", "EPERM", *[NONE] * 6, "EPERM"],
    Sockets.UNIX_CLIENT: ["EPERM", "ENOENT", *[NONE] * 6, "ENOENT"],
    Sockets.INET_CLIENT: [NONE, NONE, "ECONNREFUSED", "EPERM", "ECONNREFUSED", "EPERM", "EPERM", NONE, NONE],
    Sockets.LOOPBACK_LISTENER: [NONE, NONE, "EPERM", "done", "EPERM", "EPERM", "EPERM", NONE, NONE],
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_sockets(kind: Sockets | None, tmp_path: Path) -> None:
    said = confined(CALLS, tmp_path, *([] if kind is None else [kind]))
    expected = EXPECTED[kind]
    if kind is Sockets.INET_CLIENT and said[4] != expected[4]:
        expected[4] = said[4]  # what a refused Fast Open says depends on the host's setting
        assert said[4] in {"EPIPE", "ENOTCONN", "EINPROGRESS", "EOPNOTSUPP", "done"}
    assert said == [*expected, "pair"]


def test_threads_that_would_stay_free_are_an_error(tmp_path: Path) -> None:
    code = """
import threading
from localgpt.sandbox import SelfPlan, confine_self, landlock
from localgpt.sandbox.selfplan import ThreadsRunning
hold = threading.Event()
threading.Thread(target=hold.wait).start()
try:
    confine_self(SelfPlan())
    print("all" if landlock.abi() >= 8 else "some")
except ThreadsRunning:
    print("refused")
hold.set()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() in {"refused", "all"}


def test_paths_are_checked(tmp_path: Path) -> None:
    code = f"""
from localgpt.sandbox import SelfPlan, confine_self, faults
for path, fault in (("x", faults.RelativeRoot), ({str(tmp_path / "no")!r}, faults.MissingRoot)):
    try:
        confine_self(SelfPlan(read=(path,)))
    except fault:
        print("named")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.split() == ["named", "named"], done.stderr
