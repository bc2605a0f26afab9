"""The fuzz targets of the filter, some seconds each; `python -m fuzz` and `make nightly` go on for longer."""

import pytest
from fuzz.__main__ import fuzz
from fuzz.injection import TARGETS


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_target(name):
    count, failing = fuzz(name, seconds=4, seed=1)
    assert failing is None, f"seed 1: {failing!r}"
    assert count > 10
