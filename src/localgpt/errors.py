"""The error tree. One root, one branch a room, one leaf a condition or attack.

Every class has a stable ``code`` that tests, logs and ``--json`` output may rely on, and an ``exit_status`` that the
command line returns. The message says what was wrong, where, and the command that mends it. Leaves live beside the
code that raises them; the branches live here so that a caller can catch a whole room.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitStatus(IntEnum):
    """What the ``localgpt`` command returns."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    PROVIDER = 4
    TIMED_OUT = 124
    INTERRUPTED = 130


class LocalGptError(Exception):
    """Root of every error that this program raises on purpose."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[ExitStatus] = ExitStatus.FAILED

    def __init__(self, message: str, *, cure: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return self.message if self.cure is None else f"{self.message}\n  cure: {self.cure}"


class ConfigError(LocalGptError):
    """The configuration, a path or an option cannot be used as it stands."""

    code = "config"
    exit_status = ExitStatus.USAGE


class PolicyError(LocalGptError):
    """The policy document, its manifest or its key is not what it must be."""

    code = "policy"
    exit_status = ExitStatus.REFUSED


class SandboxError(LocalGptError):
    """A command could not be confined, or confinement could not be proven."""

    code = "sandbox"
    exit_status = ExitStatus.REFUSED


class AuditError(LocalGptError):
    """The audit log cannot be written, or is not what was written."""

    code = "audit"


class ModelError(LocalGptError):
    """A model provider failed, refused or answered nonsense."""

    code = "model"
    exit_status = ExitStatus.PROVIDER


class MemoryIndexError(LocalGptError):
    """The memory index cannot be read or rebuilt."""

    code = "memory"


class ChannelError(LocalGptError):
    """A channel between processes, or to a messenger, broke or carried nonsense."""

    code = "channel"
