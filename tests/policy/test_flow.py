"""Calls of declared tools: the shipped table of cases, and what no case may break."""

from __future__ import annotations

import pytest

from localgpt.policy import builtin_policy
from localgpt.policy.builtin import shipped
from localgpt.policy.flowcases import decide_case, parse_cases

TABLE = parse_cases(shipped("cases/flow.toml"))


@pytest.mark.parametrize("case", TABLE.cases, ids=lambda case: case.name)
def test_the_table_of_flows(case):
    decision = decide_case(builtin_policy(), TABLE, case)
    assert decision.code == case.code, decision.sentence
    assert decision.sentence
