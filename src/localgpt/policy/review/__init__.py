"""Looking at a policy before it is signed: findings, comparisons, tables of cases, explanations. Pure."""

from localgpt.policy.review.cases import Case, Outcome, parse_cases, run_cases
from localgpt.policy.review.compare import Change, Comparison, compare
from localgpt.policy.review.explain import Explanation, explain
from localgpt.policy.review.finding import Finding, Severity
from localgpt.policy.review.findings import CODES, review
from localgpt.policy.review.tables import run_table

__all__ = [
    "CODES",
    "Case",
    "Change",
    "Comparison",
    "Explanation",
    "Finding",
    "Outcome",
    "Severity",
    "compare",
    "explain",
    "parse_cases",
    "review",
    "run_cases",
    "run_table",
]
