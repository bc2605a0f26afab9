"""Every fuzz target holds on its corpus and some hundred mutations of it; `python -m fuzz` goes on for longer."""

import pytest
from fuzz.__main__ import TARGETS, fuzz
from fuzz.mutate import mutations


@pytest.mark.parametrize("name", TARGETS)
def test_the_target_holds(name):
    most = 12 if name == "policy.backup" else 400
    count, failing = fuzz(name, seconds=30, seed=1, most=most)
    assert failing is None, (name, failing)
    assert count > 5


def test_a_seed_gives_the_same_inputs_everywhere():
    first, second = mutations([b"a", b"bc"], 7), mutations([b"a", b"bc"], 7)
    assert [next(first) for _ in range(50)] == [next(second) for _ in range(50)]


def test_a_target_that_fails_is_noticed(monkeypatch):
    def broken(data):
        if len(data) > 3:
            raise ValueError

    monkeypatch.setitem(TARGETS, "broken", (broken, lambda: [b"abc"]))
    assert fuzz("broken", seconds=5, seed=1)[1] is not None
