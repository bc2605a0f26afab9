"""One running turn: a deadline that every wait obeys, the user's cancel, and what is to be said at its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from localgpt.wire import (
    AgentUpdate,
    Message,
    ReceiveTimeout,
    TurnCancel,
    TurnReason,
    TurnStart,
    TurnText,
    Usage,
)


class Peer(Protocol):
    """The monitor, as the agent sees it."""

    def send(self, message: Message) -> None:
        """Send one message. Raises: PeerGone."""

    def receive(self, timeout_s: float | None = None) -> Message:
        """Wait for one message. Raises: PeerGone, ReceiveTimeout, WireError."""
        ...


class Stopped(Exception):  # noqa: N818 -- the end of a turn before its answer, not a fault
    """The turn ends here."""

    def __init__(self, reason: TurnReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Turn:
    """What belongs to one turn and to no other."""

    def __init__(self, peer: Peer, turn_id: str, deadline_s: float, clock: Callable[[], float]) -> None:
        self.id = turn_id
        self.usage = Usage()
        self.notes: list[str] = []  #: for the user, at the turn's end
        self.later: deque[Message] = deque()  #: messages that are not this turn's
        self._peer = peer
        self._clock = clock
        self._limit_s = deadline_s
        self._deadline = clock() + deadline_s

    def send(self, message: Message) -> None:
        self._peer.send(message)

    def show(self, text: str) -> None:
        """Give the user a piece of the answer."""
        if text:
            self._peer.send(TurnText(self.id, text))

    def receive(self, within_s: float | None = None) -> Message | None:
        """The next message that may be this turn's; None when nothing came `within_s` seconds.

        Raises:
            Stopped: the user cancelled the turn, or its deadline passed.
        """
        until = self._deadline if within_s is None else min(self._deadline, self._clock() + within_s)
        while True:
            left = until - self._clock()
            if left <= 0 and until == self._deadline:
                raise Stopped(TurnReason.DEADLINE, f"the turn was ended at its deadline of {self._limit_s:.0f} seconds")
            try:
                message = self._peer.receive(max(0.0, left))
            except ReceiveTimeout:
                if until == self._deadline:
                    continue
                return None
            if isinstance(message, (AgentUpdate, TurnStart)):
                self.later.append(message)
            elif not isinstance(message, TurnCancel):
                return message
            elif message.turn_id == self.id:
                raise Stopped(TurnReason.CANCELLED, "cancelled")

    def pause(self, seconds: float) -> None:
        """Wait; the answers of dead requests that come meanwhile are dropped."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            self.receive(left)
