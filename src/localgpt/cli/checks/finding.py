"""The outcome of one check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from localgpt.cli.output import Mark
from localgpt.errors import LocalGptError


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report. `check` is stable; `cure` is "" when there is nothing to mend."""

    check: str
    mark: Mark
    text: str
    cure: str = ""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, Mark.OK, text)


def warn(check: str, text: str, cure: str = "") -> Finding:
    """It works, but something is worth knowing."""
    return Finding(check, Mark.WARN, text, cure)


def fail(check: str, text: str, cure: str) -> Finding:
    """It does not work, or is not safe."""
    return Finding(check, Mark.FAIL, text, cure)


def of_error(check: str, error: LocalGptError, mark: Mark = Mark.FAIL) -> Finding:
    """Take text and cure of an error."""
    return Finding(check, mark, error.message, error.cure or "localgpt --debug doctor")


def worst(findings: Iterable[Finding]) -> Mark:
    """Give the worst mark."""
    marks = {finding.mark for finding in findings}
    return Mark.FAIL if Mark.FAIL in marks else Mark.WARN if Mark.WARN in marks else Mark.OK
