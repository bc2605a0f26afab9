"""The same attempts as an ordinary user, when the tests themselves are run by root."""

from __future__ import annotations

import os
import sys

import pytest
from tests.sandbox.probing import BARE, ORDINARY, Rows, run_suite
from tests.sandbox.verdicts import check_bare, check_confined

from localgpt.sandbox.probes import catalogue
from localgpt.sandbox.probes.catalogue import Attempt
from localgpt.sandbox.proof import Rung

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root becomes somebody else; on Linux"
)

ATTEMPTS = catalogue.attempts()


@pytest.fixture(scope="module")
def rows() -> Rows:
    return run_suite(ORDINARY)


@pytest.mark.parametrize("rung", list(Rung), ids=lambda rung: f"rung{rung}")
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_refused(request: pytest.FixtureRequest, rows: Rows, attempt: Attempt, rung: Rung) -> None:
    check_confined(request, rows, attempt, rung)


@pytest.mark.parametrize(
    "attempt", [each for each in ATTEMPTS if each.succeeds_bare(ORDINARY)], ids=lambda attempt: attempt.name
)
def test_succeeds_without_the_sandbox(rows: Rows, attempt: Attempt) -> None:
    check_bare(rows.of(BARE, attempt), attempt)
