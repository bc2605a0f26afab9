"""The monitor's children as one thing to wait on: messages in, crashes named and counted."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from localgpt.errors import ChannelError
from localgpt.monitor.children import Child, ChildFailed, Room, spawn
from localgpt.wire import Message, PeerGone

MAX_CRASHES: Final = 5  #: of one room in one session; a room that keeps dying is reported, not restarted for ever


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message of a child."""

    room: Room
    message: Message


@dataclass(frozen=True, slots=True)
class Crashed:
    """A child ended or spoke nonsense. `sentence` may quote its last words and is foreign text.

    `status`: its exit status, or the negative number of the signal that ended it.
    """

    room: Room
    pid: int
    status: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Woken:
    """`Peers.wake` was called: somebody wants the turn to end."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """Nothing happened before the deadline."""


Incoming: TypeAlias = Arrived | Crashed | Woken | TimedOut
Spawner: TypeAlias = Callable[[Room, Mapping[str, str]], Child]


class Peers:
    """The children of one session. Not thread-safe, except for `wake`."""

    def __init__(self, environ: Mapping[str, str], *, spawner: Spawner = spawn) -> None:
        self._environ = environ
        self._spawner = spawner
        self._children: dict[Room, Child] = {}
        self._crashes: dict[Room, int] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def start(self, room: Room, *first: Message) -> int:
        """Start the child of `room`, send it its first messages, and return its process id.

        Raises:
            ChildFailed: when it cannot be started, or has crashed too often.
        """
        if self._crashes.get(room, 0) > MAX_CRASHES:
            raise ChildFailed(
                f"the {room.value} process crashed {MAX_CRASHES + 1} times in this session",
                cure="start a new session; if it happens again, run: localgpt doctor",
            )
        child = self._spawner(room, self._environ)
        self._children[room] = child
        for message in first:
            child.channel.send(message)
        return child.pid

    def reap(self) -> tuple[Crashed, ...]:
        """Find the children that have ended since somebody last listened to them."""
        dead = [child for child in self._children.values() if child.process.poll() is not None]
        return tuple(self._crashed(child, PeerGone("the other process ended")) for child in dead)

    def send(self, room: Room, message: Message) -> None:
        """Send to the child of `room`; a child that has just died is reported by the next `wait`, not here."""
        if child := self._children.get(room):
            with contextlib.suppress(PeerGone):
                child.channel.send(message)

    @contextlib.contextmanager
    def watched(self, when_one_ends: Callable[[], None]) -> Iterator[None]:
        """While the block runs and nobody waits here, call `when_one_ends` (from another thread) if a child ends."""
        watched = [os.pidfd_open(child.pid) for child in self._children.values()]
        over = os.eventfd(0, os.EFD_CLOEXEC)

        def watch() -> None:
            poll = select.poll()
            for descriptor in (*watched, over):
                poll.register(descriptor, select.POLLIN)
            if over not in {descriptor for descriptor, _ in poll.poll()}:
                when_one_ends()

        thread = threading.Thread(target=watch, name="children", daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.eventfd_write(over, 1)
            thread.join()
            for descriptor in (*watched, over):
                os.close(descriptor)

    def wake(self) -> None:
        """Make the running or the next `wait` return `Woken`. Safe in signal handlers and other threads."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"w")

    def forget_wakes(self) -> None:
        """Drop wishes to end that came before this turn."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 64):
                pass

    def wait(self, deadline: float) -> Incoming:
        """Wait until `deadline` (`time.monotonic` seconds) for whatever comes first."""
        for child in self._children.values():
            if child.channel.has_buffered:
                return self._receive(child)
        by_descriptor = {child.channel.fileno(): child for child in self._children.values()}
        remaining = max(0.0, deadline - time.monotonic())
        ready = select.select([self._wake_read, *by_descriptor], [], [], remaining)[0]
        if not ready:
            return TimedOut()
        if self._wake_read in ready:
            self.forget_wakes()
            return Woken()
        return self._receive(by_descriptor[ready[0]])

    def stop(self, room: Room) -> tuple[int, int] | None:
        """End the child of `room` if it runs; its process id and exit status."""
        child = self._children.pop(room, None)
        return None if child is None else (child.pid, child.end())

    def close(self) -> None:
        """End every child."""
        for room in tuple(self._children):
            self.stop(room)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _receive(self, child: Child) -> Incoming:
        try:
            return Arrived(child.room, child.channel.receive(timeout_s=10.0))
        except ChannelError as error:
            return self._crashed(child, error)

    def _crashed(self, child: Child, error: Exception) -> Crashed:
        del self._children[child.room]
        self._crashes[child.room] = self._crashes.get(child.room, 0) + 1
        status = child.end(grace_s=0.5)
        sentence = child.describe_end() + ("" if isinstance(error, PeerGone) else f" ({error})")
        return Crashed(child.room, child.pid, status, sentence)
