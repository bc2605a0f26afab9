"""What a new policy allows that the old one did not. Sound: what is not listed was not loosened.

A rule that raised and is gone, an allow that is new, and a built-in line that became weaker are listed, unless another
rule provably does the same. Where a concrete request shows the difference it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Final

from localgpt.policy.decide import decide
from localgpt.policy.model import Flow, Policy, Request, Rule, Table, Verdict, strictness
from localgpt.policy.review.compare_flow import opened
from localgpt.policy.review.cover import Budget, covers
from localgpt.policy.review.witness import FLOWS, requests_of
from localgpt.policy.sentences import describe

_MANY_RULES: Final = 1000  #: beyond, no examples are looked for: each decides under both policies
#: Lists of the built-in table of which more entries mean less strictness; more of the others mean more.
_OPENING_LISTS: Final = frozenset({"not_secret_names"})


@dataclass(frozen=True, slots=True)
class _Words:
    """How a difference is told, looking forward or backward."""

    gone: str
    added: str
    lock: str
    verdict: str
    protects: str
    flow: str


_FORWARD: Final = _Words(
    "is gone",
    "is new",
    "everything but reading was refused, and is not any more",
    "{code} was {strict}, and is {loose}",
    "no longer protects",
    "flows: ",
)
_BACKWARD: Final = _Words(
    "is new",
    "is gone",
    "everything but reading is refused now",
    "{code} was {loose}, and is {strict}",
    "now protects",
    "flows, before: ",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `what`: a sentence. `line`: in the new document, or for a rule that is gone in the old one.

    `example`: a request with the old verdict and the new one, "" when none was found among the tried ones.
    """

    what: str
    line: int = 0
    example: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`looser`: what may be allowed now and was not; `stricter`: the reverse."""

    looser: tuple[Change, ...]
    stricter: tuple[Change, ...]


def compare(old: Policy, new: Policy) -> Comparison:
    """Compare two policies, whatever the sessions and contexts in which they will decide."""
    return Comparison(tuple(_loosened(old, new)), tuple(_loosened(new, old, _BACKWARD)))


def _loosened(old: Policy, new: Policy, words: _Words = _FORWARD) -> Iterator[Change]:
    """What `new` may allow that `old` does not."""
    if old.locked and not new.locked:
        yield Change(words.lock)
    budget, same = Budget(), {_meaning(rule) for rule in old.rules} & {_meaning(rule) for rule in new.rules}
    for rule in old.rules:
        if rule.verdict is not Verdict.ALLOW and _meaning(rule) not in same and not _kept(rule, new, budget):
            yield Change(f"{_spelled(rule)} {words.gone}", rule.line, _example(rule, old, new))
    for rule in new.rules:
        if rule.verdict is Verdict.ALLOW and _meaning(rule) not in same and not _kept(rule, old, budget):
            yield Change(f"{_spelled(rule)} {words.added}", rule.line, _example(rule, old, new))
    yield from _weaker_table(old.table, new.table, words)
    yield from (Change(f"{words.flow}{sentence}") for sentence in opened(old.flow, new.flow))


def _meaning(rule: Rule) -> Rule:
    """The rule without what changes nothing."""
    return replace(rule, line=0, reason="")


def _kept(rule: Rule, policy: Policy, budget: Budget) -> bool:
    """Whether `policy` has a rule that does at least what `rule` does: for an allow another allow that is as wide."""
    for other in policy.rules:
        alike = (other.verdict is Verdict.ALLOW) is (rule.verdict is Verdict.ALLOW)
        if budget.left <= 0:
            return False
        if alike and strictness(other.verdict) >= strictness(rule.verdict) and covers(other, rule, budget):
            return True
    return False


def _weaker_table(old: Table, new: Table, words: _Words) -> Iterator[Change]:
    for code, before in old.verdicts:
        after = new.verdict(code)
        if strictness(after) < strictness(before):
            yield Change(f"built in: {words.verdict.format(code=code.value, strict=before, loose=after)}")
    for name in (field.name for field in fields(Table) if field.name != "verdicts"):
        before_names, after_names = set(getattr(old, name)), set(getattr(new, name))
        lost = after_names - before_names if name in _OPENING_LISTS else before_names - after_names
        if lost:
            yield Change(f"built in: {name.replace('_', ' ')} {words.protects} {', '.join(sorted(lost))}")


def _example(rule: Rule, old: Policy, new: Policy) -> str:
    if len(old.rules) + len(new.rules) > _MANY_RULES:
        return ""
    for flow in FLOWS:
        for request in requests_of(rule):
            before, after = decide(old, flow, request), decide(new, flow, request)
            if strictness(after.verdict) < strictness(before.verdict):
                return (
                    f"{_shown(request, flow)}: {before.verdict} ({before.code}) becomes {after.verdict} ({after.code})"
                )
    return ""


def _shown(request: Request, flow: Flow) -> str:
    what = " and ".join(describe(effect) for effect in request.effects)
    kind = type(request.effects[0]).__name__.removesuffix("Path").lower() if request.effects else "call"
    return f"{kind} {what}{' after a stranger’s text' if flow.tainted else ''}"


def _spelled(rule: Rule) -> str:
    tainted = " (also after a stranger's text)" if rule.even_when_tainted else ""
    return f"{rule.verdict} {rule.subject} {', '.join(map(repr, rule.patterns))}{tainted}"
