"""What is demanded of each attempt's outcome."""

from __future__ import annotations

import pytest

from localgpt.sandbox.probes import catalogue
from localgpt.sandbox.probes.catalogue import Attempt
from localgpt.sandbox.probes.suite import ALLOWED, Outcome
from localgpt.sandbox.proof import Rung
from tests.sandbox.probing import Row, Rows

# Attempts that get through and must not: each is a hole with its reason. When one is mended, its test says so.
HOLES: dict[tuple[str, Rung], str] = {}


def check_confined(request: pytest.FixtureRequest, rows: Rows, attempt: Attempt, rung: Rung) -> None:
    """Inside the sandbox the catalogue's verdict holds; what rung B is known not to hold gets through."""
    if (attempt.name, rung) in HOLES:
        request.applymarker(pytest.mark.xfail(strict=True, reason=HOLES[attempt.name, rung]))
    row = rows.of(f"rung {rung}", attempt)
    if attempt.name in catalogue.names_not_held(rung):
        assert row.outcome == Outcome.REACHED or attempt.because, f"{attempt.name} is held after all: strike it out"
        return
    assert Outcome(row.outcome) in ALLOWED[attempt.item.verdict], f"{row.outcome}: {row.detail}"
    assert row.expected


def check_bare(row: Row, attempt: Attempt) -> None:
    """Without the sandbox it gets through, or the host lacks what it says it must have."""
    if row.outcome == Outcome.REFUSED and attempt.because:
        pytest.skip(f"this host lacks {attempt.because}: {row.detail}")
    assert row.outcome == Outcome.REACHED, f"{row.outcome}: {row.detail}"
