"""One command between request and answer: its pipes, its deadline, and what came of it."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from localgpt.sandbox import messages
from localgpt.sandbox.aftermath import NOTHING, Left
from localgpt.sandbox.capture import Capture, Feed
from localgpt.sandbox.egress import Connection, Egress
from localgpt.sandbox.faults import (
    CommandInvalid,
    CommandNotExecutable,
    CommandNotFound,
    CommandNotStarted,
    WorkingDirectoryOutside,
    ZygoteDied,
)
from localgpt.sandbox.link import Link, Reply

_GRACE_S: Final = 5.0
_LOOK_S: Final = 1.0
LIMITS: Final = {  #: name of each limit that ends a command, and what there was too much of
    "processes": "processes",
    "memory": "memory",
    "cpu": "processor time",
    "written": "data written",
}


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. Output is what was kept, with a marker when it was cut; the totals count all of it.

    `exit_status`: the command's own, 128 + signal when one ended it, 124 when it ran out of time, 130 when it was
    cancelled. `limit` names the limit that ended it ("processes", "memory", "cpu", "written"), "" for none. `left`:
    what it left in the write roots that other programs would obey or execute. `connections`: what it asked the proxy
    for, in the order in which they ended.
    """

    argv: tuple[str, ...]
    exit_status: int
    signal: int | None
    stdout: bytes
    stderr: bytes
    stdout_total: int
    stderr_total: int
    duration_s: float
    timed_out: bool
    cancelled: bool = False
    limit: str = ""
    left: Left = NOTHING
    connections: tuple[Connection, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, checked. `env`: variables on top of those that the zygote has from its setup."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    stdin: bytes
    timeout_s: float
    output_bytes: int


class Wake:
    """What a thread or signal handler sets and a poll notices. Closed with its last reference, never before."""

    __slots__ = ("_fd", "is_set")

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.is_set = False

    def fileno(self) -> int:
        return self._fd

    def set(self) -> None:
        self.is_set = True
        os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        if not self.is_set:
            return
        self.is_set = False
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)

    def __del__(self) -> None:
        os.close(self._fd)


def run_command(
    link: Link, command: Command, wake: Wake, egress: Egress | None = None, watcher: Watcher | None = None
) -> Completed:
    """Run `command` in the zygote behind `link`; `wake` ends it early, `egress` decides about its connections.

    `watcher` has more to poll while it runs.

    Raises:
        CommandInvalid: it did not start.
        ZygoteDied: it may or may not have run; the caller closes the link.
    """
    started = time.monotonic()
    running = _Running(link, command, egress, watcher)
    try:
        running.request()
        running.drive(started + command.timeout_s, wake)
    finally:
        running.release()
    return running.completed(time.monotonic() - started)


class Watcher(Protocol):
    """Whoever has something to poll while a command runs."""

    def handlers(self) -> dict[int, Callable[[], bool]]:
        """Descriptors to poll for reading, and what to call then; False means not to poll it again."""
        ...


class _Running:
    """The command's pipes and what has happened so far."""

    def __init__(self, link: Link, command: Command, egress: Egress | None, watcher: Watcher | None) -> None:
        self._link = link
        self._egress = egress
        self._watcher = watcher
        self._connections: tuple[Connection, ...] = ()
        self._command = command
        self._reply: Reply | None = None
        self._cancel_asked = False
        self._why = ""  # "timeout", "cancel" or a limit's name once the command was told to end
        self._theirs: list[int] = []
        ours: list[int] = []
        try:
            for feeds in (False, False, True)[: 3 if command.stdin else 2]:
                read, write = os.pipe()
                ours.append(write if feeds else read)
                self._theirs.append(read if feeds else write)
        except OSError as error:
            for fd in (*ours, *self._theirs):
                os.close(fd)
            raise CommandNotStarted(
                f"this process has no descriptors left: {error.strerror}", cure="close files, and try again"
            ) from error
        self._out, self._err = Capture(ours[0], command.output_bytes), Capture(ours[1], command.output_bytes)
        self._feed = Feed(ours[2], command.stdin) if command.stdin else None

    def request(self) -> None:
        """Hand the command and the far ends of its pipes to the zygote."""
        command = self._command
        env = {os.fsencode(name): os.fsencode(value) for name, value in command.env}
        self._link.request([os.fsencode(word) for word in command.argv], env, os.fsencode(command.cwd), self._theirs)
        self._drop_theirs()

    def drive(self, deadline: float, wake: Wake) -> None:
        """Drain and feed until the zygote has answered.

        Raises:
            ZygoteDied: it ended, or did not answer when told to end the command.
        """
        poll = select.poll()
        handlers = self._register(poll, wake)
        next_look = time.monotonic() + _LOOK_S
        while self._reply is None:
            now = time.monotonic()
            if now >= deadline:
                if self._why:
                    raise ZygoteDied("the zygote did not end its command in time", cure="run the command again")
                deadline = self._end("timeout", now)
            for fd, _ in poll.poll(max(0.0, min(deadline, next_look) - now) * 1e3 + 1):
                if not handlers[fd]():
                    poll.unregister(fd)
            if self._egress is not None:
                deadline += self._egress.take_waited()  # a question to the user is not the command's time
            if self._cancel_asked and not self._why:
                deadline = self._end("cancel", time.monotonic())
            if (now := time.monotonic()) >= next_look:
                next_look = now + _LOOK_S
                if self._link.is_stopped():
                    raise ZygoteDied("somebody has stopped the zygote", cure="run the command again")
        if self._egress is not None:
            self._connections = self._egress.finish()

    def _register(self, poll: select.poll, wake: Wake) -> dict[int, Callable[[], bool]]:
        handlers: dict[int, Callable[[], bool]] = {
            self._link.fileno(): self._answered,
            self._out.fileno(): self._out.read,
            self._err.fileno(): self._err.read,
            wake.fileno(): self._cancelled,
            **({} if self._egress is None else self._egress.handlers()),
            **({} if self._watcher is None else self._watcher.handlers()),
        }
        for fd in handlers:
            poll.register(fd, select.POLLIN)
        if self._feed is not None:
            handlers[self._feed.fileno()] = self._fed
            poll.register(self._feed, select.POLLOUT)
        return handlers

    def _answered(self) -> bool:
        self._reply = self._link.receive()
        return True

    def _cancelled(self) -> bool:
        self._cancel_asked = True
        return False

    def _fed(self) -> bool:
        if self._feed is not None and self._feed.write():
            return True
        self._close_feed()
        return False

    def _end(self, why: str, now: float) -> float:
        """Tell the zygote to end the command; return until when it has to answer."""
        self._why = why
        self._link.end_command()
        return now + _GRACE_S

    def release(self) -> None:
        """Take what is still in the pipes and close our ends."""
        self._drop_theirs()
        self._out.finish()
        self._err.finish()
        self._close_feed()

    def _drop_theirs(self) -> None:
        while self._theirs:
            os.close(self._theirs.pop())

    def _close_feed(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def completed(self, duration_s: float) -> Completed:
        """The result.

        Raises:
            CommandInvalid: a leaf of it, when the command did not start.
        """
        reply = self._reply
        if reply is None or reply.kind != messages.DONE:
            raise _refusal(self._command, reply)
        signal = os.WTERMSIG(reply.number) if os.WIFSIGNALED(reply.number) else None
        status = os.WEXITSTATUS(reply.number) if signal is None else 128 + signal
        return Completed(
            argv=self._command.argv,
            exit_status={"timeout": 124, "cancel": 130}.get(self._why, status),
            signal=signal,
            stdout=self._out.content(),
            stderr=self._err.content(),
            stdout_total=self._out.total,
            stderr_total=self._err.total,
            duration_s=duration_s,
            timed_out=self._why == "timeout",
            cancelled=self._why == "cancel",
            limit=reply.text if reply.text in LIMITS and not self._why else "",
            connections=self._connections,
        )


def never_started(argv: tuple[str, ...]) -> Completed:
    """The result of a command that was cancelled before its turn."""
    return Completed(argv, 130, None, b"", b"", 0, 0, 0.0, timed_out=False, cancelled=True)


def _refusal(command: Command, reply: Reply | None) -> CommandInvalid:
    program, code = command.argv[0], 0 if reply is None else reply.number
    said = os.strerror(code)
    if reply is not None and reply.kind == messages.NO_DIRECTORY:
        return WorkingDirectoryOutside(f"{command.cwd} cannot be entered: {said}", cure="check that it exists")
    if code == errno.ENOENT:
        return CommandNotFound(f"{program}: not found in what commands may see", cure="install it, or grant its folder")
    if code in {errno.EACCES, errno.ENOEXEC, errno.EISDIR, errno.ENOTDIR, errno.ELOOP}:
        return CommandNotExecutable(f"{program}: {said}", cure="check its mode and its first line")
    if code == errno.E2BIG:
        return CommandNotStarted("the command line is too long", cure="pass the data on standard input")
    return CommandNotStarted(f"{program}: {said}", cure="run it again with less running beside it")
