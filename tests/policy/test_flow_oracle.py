"""The decision agrees with the naive one, and keeps its promises, on generated cases."""

from __future__ import annotations

import os
import random

import pytest

from localgpt.policy import Request, Scope, decide
from tests.policy.flow_cases import case
from tests.policy.flow_oracle import flow_oracle

SCOPE = Scope("/p", True, ("/p",), (), "/w", (), (), "/h")
CASES = 1500  #: for each seed; the nightly run decides a million
MILLION = int(os.environ.get("LOCALGPT_FLOW_CASES", "1000000"))


def agree(seed: int, cases: int) -> None:
    rng = random.Random(seed)
    for index in range(cases):
        policy, flow, act = case(rng)
        decision = decide(policy, flow, Request("tool", (act,), SCOPE))
        expected = flow_oracle(policy, flow, act)
        assert decision.verdict == expected, f"seed {seed}, case {index}: {decision} is not {expected}\n{act}\n{flow}"


@pytest.mark.parametrize("seed", range(4))
def test_decide_agrees_with_the_oracle(seed):
    agree(seed, CASES)


@pytest.mark.nightly
def test_decide_agrees_with_the_oracle_on_a_million_cases():
    agree(4711, MILLION)
