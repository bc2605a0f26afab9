"""Running a table of cases, of whichever of the two forms: single effects (`cases`), or conversations (`flowcases`)."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Final

from localgpt.policy.decide import strictest
from localgpt.policy.errors import BadDeclaration, CasesMalformed
from localgpt.policy.flowcases import decide_case
from localgpt.policy.flowcases import parse_cases as parse_flow_cases
from localgpt.policy.model import Policy, Verdict
from localgpt.policy.review.cases import Expectation, Outcome, case_lines, parse_cases, run_cases

_FLOW_KEYS: Final = ("call", "results", "user")


def run_table(policies: Sequence[Policy], data: bytes) -> tuple[Outcome, ...]:
    """Decide every case of the table under the meet of `policies`.

    Raises:
        CasesMalformed
    """
    return _run_flows(policies, data) if _is_flow_table(data) else run_cases(policies, parse_cases(data))


def _is_flow_table(data: bytes) -> bool:
    try:
        tree = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return False
    cases = tree.get("case")
    return "declare" in tree or (
        isinstance(cases, list) and any(isinstance(case, dict) and set(case) & set(_FLOW_KEYS) for case in cases)
    )


def _run_flows(policies: Sequence[Policy], data: bytes) -> tuple[Outcome, ...]:
    try:
        table = parse_flow_cases(data)
        lines = case_lines(data.decode("utf-8"), len(table.cases))
        return tuple(
            Outcome(
                Expectation(case.name, line, Verdict(case.verdict) if case.verdict else None, case.code),
                strictest(decide_case(policy, table, case) for policy in policies),
            )
            for case, line in zip(table.cases, lines, strict=True)
        )
    except (BadDeclaration, ValueError) as error:
        raise CasesMalformed(str(error), cure="see docs/spec/declarations.md") from error
