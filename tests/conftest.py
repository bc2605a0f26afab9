"""How properties are tested: the same examples every time in a check, twenty times as many new ones at night."""

import os

from hypothesis import settings

settings.register_profile("check", derandomize=True, deadline=None, database=None)
settings.register_profile("nightly", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "check"))
