"""What can be said against a policy before it is signed: rules that do nothing, and rules that do too much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final

from localgpt.policy import paths
from localgpt.policy.check import policy_of
from localgpt.policy.decide import decide
from localgpt.policy.document import Document
from localgpt.policy.model import Flow, Policy, Rule, Subject, Verdict, strictness
from localgpt.policy.review.cover import Budget, covers
from localgpt.policy.review.finding import Finding, Severity
from localgpt.policy.review.findings_flow import review_flow
from localgpt.policy.review.witness import requests_of

#: Every code of this module, with what it means.
CODES: Final = {
    "check.shadowed": "Another rule always decides first, so this one does nothing.",
    "check.unknown-tool": "No tool of that name is known here.",
    "check.unreachable-grant": "What this rule allows is built in as denied, or never asked about.",
    "check.too-wide": "An allow that opens more than a person can oversee.",
    "check.too-many": "There are too many rules to compare each with each.",
    "check.missing-case": "No case of the table shows what this rule does.",
}
#: Path patterns that open a whole disk, home or project.
_WIDE_PATHS: Final = frozenset({"/", "/**", "**", "**/*", "**/**", "~", "~/**", "~/*", "/*", "/home", "/home/**", "*"})


def review(
    document: Document, *, tools: Sequence[str], exercised: frozenset[int] | None = None, base: Policy | None = None
) -> tuple[Finding, ...]:
    """Everything found, by line. `tools`: the names of all known tools; `exercised`: the lines of rules that decide
    some case of a table, None when there is no table."""
    policy, budget = policy_of(document, base), Budget()
    found = [finding for rule in document.rules for finding in _of_rule(rule, policy, budget, document, tools)]
    if budget.left <= 0:
        message = f"{len(document.rules)} rules are too many to compare each with each; some may be shadowed unseen"
        found.append(Finding("check.too-many", Severity.NOTE, message, cure="say it with fewer, wider rules"))
    if document.flow is not None:
        found += list(review_flow(document.flow))
    if exercised is not None:
        found += [_missing_case(rule) for rule in document.rules if rule.line not in exercised]
    return tuple(sorted(found, key=lambda finding: (finding.line, finding.code)))


def _of_rule(rule: Rule, policy: Policy, budget: Budget, document: Document, tools: Sequence[str]) -> Iterator[Finding]:
    left = document.rules if budget.left > 0 else ()
    shadow = next((other for other in left if _shadows(other, rule, budget)), None)
    if shadow is not None:
        message = f"{rule.name} never decides: {shadow.name} covers all of it"
        yield Finding("check.shadowed", Severity.WARNING, message, rule.line, 1, "remove it, or make it say more")
    if rule.subject is Subject.TOOL:
        yield from _unknown_tools(rule, tools)
    if rule.verdict is Verdict.ALLOW:
        if shadow is None:
            yield from _unreachable(rule, policy, tools)
        yield from _too_wide(rule)


def _shadows(other: Rule, rule: Rule, budget: Budget) -> bool:
    """A stricter rule decides first; of two alike, the one that stands first."""
    first = strictness(other.verdict) > strictness(rule.verdict)
    alike = other.verdict is rule.verdict and other.line < rule.line
    return (first or alike) and budget.left > 0 and covers(other, rule, budget)


def _unknown_tools(rule: Rule, tools: Sequence[str]) -> Iterator[Finding]:
    for pattern in rule.patterns:
        if not any(paths.glob_part(pattern, name) for name in tools):
            near = get_close_matches(pattern, tools, n=1)
            cure = f"did you mean {near[0]!r}?" if near else "localgpt policy explain tool NAME"
            yield Finding(
                "check.unknown-tool", Severity.WARNING, f"no tool here is named {pattern!r}", rule.line, 1, cure
            )


def _unreachable(rule: Rule, policy: Policy, tools: Sequence[str]) -> Iterator[Finding]:
    """Ask the engine itself: without this rule, is there anything that would be asked?"""
    bare = Policy(policy.table, (), policy.digest)
    verdicts = {decide(bare, Flow(), request).verdict for request in requests_of(rule, tools=tuple(tools))}
    if Verdict.ASK in verdicts:
        return
    if verdicts == {Verdict.DENY}:
        message, cure = "is built in as denied, and no rule opens it", "remove it"
    elif rule.subject is Subject.ARGV:
        message, cure = "is never asked about: commands run in the sandbox without a question", "remove it"
    else:
        message, cure = "is never asked about in a trusted project", "remove it"
    yield Finding("check.unreachable-grant", Severity.WARNING, f"what {rule.name} allows {message}", rule.line, 1, cure)


def _too_wide(rule: Rule) -> Iterator[Finding]:
    wide = [pattern for pattern in rule.patterns if _is_wide(rule.subject, pattern)]
    exits = rule.even_when_tainted and rule.subject in {Subject.CONNECT, Subject.TOOL, Subject.MODEL}
    severity = Severity.ERROR if exits and wide else Severity.WARNING
    if wide:
        message = f"{rule.name} allows {', '.join(map(repr, wide))}"
        yield Finding(
            "check.too-wide", severity, message, rule.line, 1, "name the places, hosts or tools that you mean"
        )
    elif exits and any(pattern.startswith("*.") for pattern in rule.patterns):
        message = f"{rule.name}: a stranger's text may then send to any host of a domain"
        yield Finding(
            "check.too-wide", severity, message, rule.line, 1, "name the hosts, or leave even_when_tainted out"
        )


def _is_wide(subject: Subject, pattern: str) -> bool:
    if subject in {Subject.READ, Subject.WRITE}:
        return pattern in _WIDE_PATHS
    if subject is Subject.TOOL:
        return not pattern.strip("*?")
    if subject is Subject.ARGV:
        return False
    return pattern == "*" or (pattern.startswith("*.") and "." not in pattern[2:].split(":", maxsplit=1)[0])


def _missing_case(rule: Rule) -> Finding:
    message = f"no case of the table is decided by {rule.name}"
    return Finding(
        "check.missing-case", Severity.NOTE, message, rule.line, 1, "add one; `localgpt policy test` runs it"
    )
