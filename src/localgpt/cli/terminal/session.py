"""What the terminal needs of the runtime, as Protocols: the real monitor fits them, and so does a scripted session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from localgpt.monitor.events import Event, SessionStatus
from localgpt.wire import Attachment


class SessionLike(Protocol):
    """One conversation. Its iterators block until the next event; `cancel` may be called from a signal handler."""

    def turn(self, text: str, attachments: tuple[Attachment, ...] = ()) -> Iterator[Event]:
        """Hand the user's words to the agent; the last event is `TurnFinished`."""
        ...

    def user_command(self, command: str) -> Iterator[Event]:
        """Run one shell command of the user's, confined and decided like any other."""
        ...

    def cancel(self) -> None:
        """End the running turn or command as soon as possible."""
        ...

    def status(self) -> SessionStatus: ...

    def set_tools(self, on: bool) -> None:
        """Offer tools to the model, or not.

        Raises:
            LocalGptError: when effects are off.
        """
        ...

    def set_model(self, name: str) -> None:
        """Go on with another model.

        Raises:
            LocalGptError: unknown, not reachable, or not allowed by the policy.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """One line of `/sessions`. `title` is its first question, `project` its folder; both may hold anything."""

    session_id: str
    changed: str
    project: str
    title: str


class Sessions(Protocol):
    """Opens conversations; one at a time."""

    def open(self, session_id: str | None = None) -> SessionLike:
        """A new conversation, or the one named.

        Raises:
            LocalGptError: no such session, or it cannot be read.
        """
        ...

    def earlier(self) -> Sequence[SessionSummary]:
        """What can be resumed, newest first."""
        ...

    def models(self) -> Sequence[str]:
        """Names that `set_model` takes."""
        ...
