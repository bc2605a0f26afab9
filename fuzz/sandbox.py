"""Targets of the sandbox room: what the zygote reads, and what the runtime reads from a zygote that lies."""

from __future__ import annotations

import select
import socket

from localgpt.sandbox import messages
from localgpt.sandbox.faults import ZygoteDied
from localgpt.sandbox.link import Link, parse_report

_REPORT = b"userns\t1\tuser:[1]\nlandlock\t1\tABI 7, EACCES\nfilter-mounts\t0\tfsopen: EINVAL\n"


def requests() -> list[bytes]:
    some = [
        messages.encode_request([b"/bin/true"], {}, b"/", with_stdin=False),
        messages.encode_request([b"sh", b"-c", b"echo hi", b""], {b"A": b"1=2", b"B": b""}, b"/tmp/x", with_stdin=True),
    ]
    return [*some, messages.HEAD.pack(1, 0, 0) + b"/\0x\0", b""]


def replies() -> list[bytes]:
    plain = messages.REPLY.pack(messages.DONE, 0, 0)
    return [plain, messages.REPLY.pack(messages.READY, 1, len(_REPORT)) + _REPORT, plain * 2, b""]


def request(data: bytes) -> None:
    """A request has one spelling, or is malformed; and what was read could have been asked for."""
    try:
        argv, env, cwd, with_stdin = messages.parse_request(data)
    except messages.Malformed:
        return
    assert argv
    assert argv[0]
    assert cwd.startswith(b"/")
    assert not any(b"\0" in word for word in (cwd, *argv, *env, *env.values()))
    assert not any(b"=" in name or not name for name in env)
    assert messages.encode_request(argv, env, cwd, with_stdin=with_stdin) == data


def reply(data: bytes) -> None:
    """Whatever a zygote sends, the runtime has a reply or knows that it has died; it never waits for more."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.setblocking(False)
            theirs.send(data[: 1 << 15])
        link = object.__new__(Link)  # the runtime's end alone, without a process
        link._control, link._serving, link._handed_over = ours, True, []
        try:
            found = link.receive()
        except ZygoteDied:
            return
        assert found.kind in messages.KINDS
        assert not select.select([], [], [ours], 0)[2]


def report(data: bytes) -> None:
    """Only whole lines of a self-test count, and each is one of the text."""
    text = data.decode("utf-8", "replace")
    for name, held, detail in parse_report(text):
        assert f"{name}\t{int(held)}\t{detail}" in text


TARGETS = {
    "sandbox.request": (request, requests),
    "sandbox.reply": (reply, replies),
    "sandbox.report": (report, lambda: [_REPORT, b""]),
}
