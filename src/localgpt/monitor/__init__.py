"""The monitor: the user's authority. Every effect is decided, logged and carried out here."""

from localgpt.monitor.events import (
    Answer,
    Approver,
    Choice,
    Event,
    Level,
    ModelConfirmer,
    ModelOffer,
    Notice,
    Question,
    SessionStatus,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)

__all__ = [
    "Answer",
    "Approver",
    "Choice",
    "Event",
    "Level",
    "ModelConfirmer",
    "ModelOffer",
    "Notice",
    "Question",
    "SessionStatus",
    "TextDelta",
    "ToolFinished",
    "ToolStarted",
    "TurnFinished",
]
