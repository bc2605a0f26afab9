"""Why a request gets its answer: the built-in class of each effect, every rule that speaks of it, and what decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localgpt.policy.commands import Commands, Match, simple_commands
from localgpt.policy.decide import builtin_decision, decide_all, match_rule
from localgpt.policy.model import Decision, Effect, Flow, Policy, Request, Rule, Run, Verdict
from localgpt.policy.sentences import describe


@dataclass(frozen=True, slots=True)
class Spoke:
    """A rule that speaks of the effect. `counts` is False for an allow that a stranger's text has switched off."""

    rule: Rule
    match: Match
    counts: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """One effect. `commands`: the simple commands found in an argv, None when its text was not understood."""

    effect: Effect
    what: str
    builtin: Decision
    rules: tuple[Spoke, ...]
    commands: Commands | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision on the whole request, and for each effect what led to it."""

    decision: Decision
    effects: tuple[Explained, ...]


def explain(policies: Sequence[Policy], flow: Flow, request: Request) -> Explanation:
    """Explain what the meet of `policies` makes of `request`. The decision is `decide_all`'s own."""
    decision = decide_all(policies, flow, request)
    return Explanation(decision, tuple(_explained(policies, flow, request, effect) for effect in request.effects))


def _explained(policies: Sequence[Policy], flow: Flow, request: Request, effect: Effect) -> Explained:
    commands = simple_commands(effect.argv) if isinstance(effect, Run) else None
    spoke = []
    for rule in dict.fromkeys(rule for policy in policies for rule in policy.rules):
        match = match_rule(rule, request, effect, commands)
        if match is not Match.NO:
            counts = rule.verdict is not Verdict.ALLOW or rule.even_when_tainted or not flow.tainted
            spoke.append(Spoke(rule, match, counts))
    builtin = builtin_decision(policies[0], flow, request, effect)
    return Explained(effect, describe(effect), builtin, tuple(spoke), commands)
