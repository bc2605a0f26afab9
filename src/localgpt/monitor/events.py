"""What a session tells its front (terminal, web page, library user), and what it asks of it. Frozen values only.

Every string that came from a model, a tool or a file is foreign: a front escapes it before it reaches a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from localgpt.policy import Verdict as Verdict  # noqa: PLC0414 -- exported: fronts show it
from localgpt.policy.authority import Endorsable
from localgpt.wire import ToolOutcome, TurnReason, Usage


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the model's answer (Markdown)."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A call was decided. When `verdict` is DENY no `ToolFinished` with an exit status follows.

    `argv` is exactly what will be executed (for file tools: the tool's name and its arguments).
    `diff` is a unified diff for edits, else "".
    """

    call_id: str
    tool: str
    argv: tuple[str, ...]
    verdict: Verdict
    code: str
    sentence: str
    diff: str = ""


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A call ended. `exit_status` is None when nothing ran; `output` is foreign text, at most a few KiB."""

    call_id: str
    outcome: ToolOutcome
    exit_status: int | None
    duration_s: float
    output: str
    notice: str = ""


class Level(StrEnum):
    """How loud a notice is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Notice:
    """The runtime's own words."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """Last event of a turn."""

    reason: TurnReason
    message: str
    usage: Usage


Event: TypeAlias = TextDelta | ToolStarted | ToolFinished | Notice | TurnFinished


class Choice(StrEnum):
    """The user's answer to a question."""

    ONCE = "once"
    SESSION = "session"
    FOREVER = "forever"  #: the grant that the question showed is signed; counts for this call in any case
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Question:
    """One call that the policy wants the user to decide.

    `digest` (hex SHA-256) binds the answer to exactly this tool, argv, working directory, environment, plan and
    content; an answer to another digest is worthless. `expires_s`: no answer within it is a denial. `endorse`: the
    values in question, each with its role and where it stood; an answer for the session confirms these alone.
    `grant`: the one line of the policy that the answer `FOREVER` would add and sign; "" when that is not offered.
    """

    tool: str
    argv: tuple[str, ...]
    cwd: str
    code: str
    sentence: str
    diff: str
    digest: str
    expires_s: float
    endorse: tuple[Endorsable, ...] = ()
    grant: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """`reason` goes to the model when the choice is DENY."""

    choice: Choice
    reason: str = ""


class Approver(Protocol):
    """Whoever can answer a question. Every implementation denies by default: on time-out, end of file and error."""

    def ask(self, question: Question) -> Answer:
        """Show `question` and wait for the answer, `question.expires_s` seconds at most."""
        ...


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """A model that the user has not chosen yet and would be used after one confirmation.

    `origin`: how it was found ("found on 127.0.0.1:11434", "ANTHROPIC_API_KEY is set"); `sends`: what will go there.
    """

    provider: str
    host: str
    model: str
    origin: str
    sends: str


class ModelConfirmer(Protocol):
    """Whoever can confirm the first use of a model. Without a terminal nobody can, and the offer is not taken."""

    def confirm_model(self, offer: ModelOffer) -> bool:
        """Show `offer` and return whether it may be used from now on."""
        ...


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """What a status line shows. `rung`: "A", "B" or "none"; `effects_off` says why effects are off, "" when on."""

    session_id: str
    model: str
    provider: str
    demo_tier: bool
    tools_on: bool
    policy_state: str
    rung: str
    effects_off: str
    project: str
    project_trusted: bool
    usage: Usage
