"""What a session tells its front (terminal, web page, library user), and what it asks of it. Frozen values only.

Every string that came from a model, a tool or a file is foreign: a front escapes it before it reaches a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from localgpt.wire import ToolOutcome, TurnReason, Usage


class Verdict(StrEnum):
    """How a call was decided, as shown to the user."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


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
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Question:
    """One call that the policy wants the user to decide.

    `digest` (hex SHA-256) binds the answer to exactly this tool, argv, working directory, environment, plan and
    content; an answer to another digest is worthless. `expires_s`: no answer within it is a denial.
    """

    tool: str
    argv: tuple[str, ...]
    cwd: str
    code: str
    sentence: str
    diff: str
    digest: str
    expires_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """`reason` goes to the model when the choice is DENY."""

    choice: Choice
    reason: str = ""


class Approver(Protocol):
    """Whoever can answer a question. Denying is the default of every implementation: on time-out, on end of file, on error."""

    def ask(self, question: Question) -> Answer:
        """Show `question` and wait for the answer, `question.expires_s` seconds at most."""
        ...


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """What a status line shows. `rung`: "A", "B" or "none"; `effects_off` says why effects are off, "" when they are on."""

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
