"""A front or a dialer that somebody has taken over: it can ask, and be refused; it cannot speak for the other."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.sandbox import frames
from localgpt.sandbox.egress import MOST_CONNECTIONS, Connection, Egress, ListedOnly
from localgpt.sandbox.faults import NotConfined, ProxyFailed
from localgpt.sandbox.frames import Frame, Kind

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux")


class Hostile:
    """The runtime's end of a process that says what the test says."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(2)
        self.theirs.settimeout(2)

    def fileno(self) -> int:
        return self.ours.fileno()

    def is_alive(self) -> bool:
        return True

    def hello(self) -> str:
        return frames.receive(self.ours)[0].text

    def send(self, frame: Frame, descriptor: int | None = None) -> None:
        frames.send(self.ours, frame, descriptor)

    def receive(self) -> tuple[Frame, int | None]:
        return frames.receive(self.ours)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


class Wire:
    """An egress between two hostile processes, and whoever is asked."""

    def __init__(self, *patterns: str) -> None:
        self.front, self.dialer = Hostile(), Hostile()
        self.heard: list[Connection] = []
        self.egress = Egress(patterns, self, front=self.front, dialer=self.dialer)  # type: ignore[arg-type]

    def may_connect(self, host: str, port: int, *, listed: bool) -> bool:
        return listed

    def connected(self, connection: Connection) -> None:
        self.heard.append(connection)

    def from_front(self, frame: Frame, descriptor: int | None = None) -> None:
        frames.send(self.front.theirs, frame, descriptor)
        self.egress.handlers()[self.front.fileno()]()

    def from_dialer(self, frame: Frame, descriptor: int | None = None) -> None:
        frames.send(self.dialer.theirs, frame, descriptor)
        self.egress.handlers()[self.dialer.fileno()]()


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire("good.example:443", "10.0.0.1:80")
    yield wire
    wire.egress.close()


def nothing_at(peer: Hostile) -> bool:
    peer.theirs.setblocking(False)
    try:
        frames.receive(peer.theirs)
    except ProxyFailed as error:
        return isinstance(error.__cause__, BlockingIOError)
    return False


def test_a_front_that_asks_for_what_is_not_listed_reaches_nobody(wire):
    for number, (host, port) in enumerate((("evil.example", 443), ("good.example", 80), ("127.0.0.1", 22))):
        wire.from_front(Frame(Kind.ASK, 0, number + 1, port, host))
        assert frames.receive(wire.front.theirs)[0].kind is Kind.REFUSED
    assert nothing_at(wire.dialer)


@pytest.mark.parametrize(
    "host", ["", "GOOD.example", "good.example.", "127.1", "good.example 10.0.0.1", "::ffff:10.0.0.1", "a\tb"]
)
def test_a_front_that_spells_a_host_otherwise_is_ended(wire, host):
    with pytest.raises(ProxyFailed):
        wire.from_front(Frame(Kind.ASK, 0, 1, 443, host))


def test_a_front_cannot_answer_for_the_dialer(wire):
    wire.from_front(Frame(Kind.ASK, 0, 1, 443, "good.example"))
    for kind in (Kind.OPEN, Kind.REFUSED, Kind.READY, Kind.DIAL):
        wire.from_front(Frame(kind, 0, 1, 443, "x"), wire.front.theirs.fileno())
    assert frames.receive(wire.dialer.theirs)[0] == Frame(Kind.DIAL, 0, 1, 443, "good.example")
    assert nothing_at(wire.dialer)
    assert nothing_at(wire.front)


@pytest.mark.parametrize("text", ["", "ok", "ok 1", "ok 1 -1", "ok x 1", "ok 1 1 1"])
def test_a_report_that_is_none_ends_the_front(wire, text):
    wire.from_front(Frame(Kind.ASK, 0, 1, 443, "good.example"))
    with pytest.raises(ProxyFailed):
        wire.from_front(Frame(Kind.CLOSED, 0, 1, text=text))


def test_a_report_about_nothing_ends_the_front(wire):
    with pytest.raises(ProxyFailed):
        wire.from_front(Frame(Kind.CLOSED, 0, 9, text="ok 1 1"))


def test_a_code_of_a_front_s_own_making_does_not_reach_the_log(wire):
    wire.from_front(Frame(Kind.ASK, 0, 1, 443, "good.example"))
    wire.from_front(Frame(Kind.CLOSED, 0, 1, text="rule.allow 1 1"))
    assert [each.code for each in wire.heard] == ["net.unreachable"]


def test_a_flood_of_questions_is_neither_logged_nor_kept_without_end(wire):
    for number in range(MOST_CONNECTIONS + 50):
        wire.from_front(Frame(Kind.ASK, 0, number + 1, 443, "evil.example"))
        frames.receive(wire.front.theirs)
    assert len(wire.heard) == MOST_CONNECTIONS


def test_a_front_that_never_comes_to_an_end_is_ended(wire):
    frames.send(wire.front.theirs, Frame(Kind.ASK, 0, 1, 443, "evil.example"))
    with pytest.raises(ProxyFailed):
        wire.egress.finish()  # nobody says RESET


def test_questions_of_an_old_command_are_not_answered(wire):
    frames.send(wire.front.theirs, Frame(Kind.RESET, number=1))
    assert wire.egress.finish() == ()
    assert frames.receive(wire.front.theirs)[0].kind is Kind.RESET
    wire.from_front(Frame(Kind.ASK, 0, 1, 443, "good.example"))
    assert nothing_at(wire.dialer)


def test_a_dialer_that_sends_what_nobody_asked_for_is_not_heard(wire):
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for run, number in ((0, 5), (7, 1)):
        wire.from_dialer(Frame(Kind.OPEN, run, number, 443, "1.2.3.4"), wire.dialer.theirs.fileno())
    assert nothing_at(wire.front)
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_a_peer_that_still_can_do_what_it_must_not_is_not_used(tmp_path):
    wire = Wire("good.example")
    frames.send(wire.front.theirs, Frame(Kind.READY, text=""))
    frames.send(wire.dialer.theirs, Frame(Kind.READY, text="files execute"))
    read, write = os.pipe()
    os.close(write)
    mechanisms = wire.egress.ready(read)
    assert mechanisms == (("proxy-front", True, "confined and tested"), ("proxy-dialer", False, "files execute"))
    wire.egress.close()


def test_a_peer_that_ends_early_is_not_confined():
    wire = Wire("good.example")
    wire.dialer.theirs.close()
    frames.send(wire.front.theirs, Frame(Kind.READY))
    read, write = os.pipe()
    os.close(write)
    with pytest.raises(NotConfined):
        wire.egress.ready(read)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(read)
    wire.egress.close()


_IMPORTS = "import sys, os, socket; sys.path.insert(0, {packages!r})\nfrom localgpt.sandbox.{module} import {names}\n"
_FRONT = "from localgpt.sandbox.rules import Sockets\nfrom localgpt.sandbox.selfplan import SelfPlan, confine_self\n"


@pytest.mark.parametrize("module", ["proxy", "dialer"])
def test_the_self_test_names_what_is_open(module):
    """Without its confinement each process finds that it could do everything; with it, nothing."""
    packages = str(Path(frames.__file__).resolve().parents[2])
    code = (
        _IMPORTS.format(packages=packages, module=module, names="_leak") + "os.execv = lambda *a: None\nprint(_leak())"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, check=True, text=True
    ).stdout.split()
    assert {"files", "unix", "execute"} <= set(found)
    sockets = "Sockets.ACCEPTED" if module == "proxy" else "Sockets.INET_CLIENT"
    confine = f"confine_self(SelfPlan(sockets=frozenset({{{sockets}}})))\n"
    code = _IMPORTS.format(packages=packages, module=module, names="_leak") + _FRONT + confine + "print(_leak())"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "\n"


def test_listed_only_is_what_it_says():
    keeper = ListedOnly()
    assert keeper.may_connect("a.example", 1, listed=True)
    assert not keeper.may_connect("a.example", 1, listed=False)
    with contextlib.suppress(AttributeError):
        keeper.connected(Connection("a.example", 1, "listed"))
