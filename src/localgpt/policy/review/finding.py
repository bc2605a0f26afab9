"""One finding about a policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding weighs; the names are those of SARIF."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `code` is stable; `line` and `column` count from 1, 0 when the whole document is meant."""

    code: str
    severity: Severity
    message: str
    line: int = 0
    column: int = 0
    cure: str = ""
