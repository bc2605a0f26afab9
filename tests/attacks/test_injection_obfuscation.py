"""Every row of the obfuscation catalogue is flagged, and its benign twin is not."""

from __future__ import annotations

import pytest
from bench._obfuscation import MORE, ROWS, Row

from localgpt.injection import scan

#: In front of it, an attack must be found in the middle of a longer text too.
BEFORE = "Thank you for your order. The parcel left our warehouse this morning and arrives on Thursday.\n\n"

ALL = [*ROWS, *MORE]


def test_the_catalogue_is_complete():
    assert len(ROWS) == 41
    assert len({row.name for row in ALL}) == len(ALL)


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_the_attack_is_flagged(row: Row):
    assert scan(row.attack).flagged


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_the_attack_is_flagged_inside_a_text(row: Row):
    report = scan(BEFORE + row.attack)
    assert report.flagged
    worst = max(report.findings, key=lambda each: each.milli)
    assert worst.end > len(BEFORE)


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_the_benign_twin_is_not(row: Row):
    assert not scan(row.twin).flagged
    assert not scan(BEFORE + row.twin).flagged
