"""How properties are tested, and what waits for the night.

A check uses the same examples every time; `make nightly` twenty times as many new ones, and runs what is marked so.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("check", derandomize=True, deadline=None, database=None)
settings.register_profile("nightly", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "check"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("HYPOTHESIS_PROFILE") != "nightly":
        for item in items:
            if item.get_closest_marker("nightly"):
                item.add_marker(pytest.mark.skip(reason="too long for every change: make nightly"))
