"""The answer "for ever": the one rule that would have answered a question, found and checked before it is offered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from localgpt.errors import PolicyError
from localgpt.policy import (
    CallModel,
    Code,
    Connect,
    Decision,
    Effect,
    Flow,
    Policy,
    ReadPath,
    Request,
    Rule,
    Subject,
    Verdict,
    WritePath,
    decide_all,
)
from localgpt.policy.emit import emit_grant

#: Questions of the built-in table about a place, a host or a provider. What shapes later sessions, and what a user's
#: own rule asks, is answered each time.
_GRANTABLE: Final = frozenset({Code.READ_OUTSIDE, Code.WRITE_OUTSIDE, Code.CONNECT_HOST, Code.MODEL_HOSTED})


def grant_for(policies: Sequence[Policy], flow: Flow, request: Request, decision: Decision) -> Rule | None:
    """The allow rule for exactly what is asked; None when no single grant would answer this question.

    After a stranger's text the grant counts in such conversations too, or it would not answer: its line says so.
    """
    if decision.verdict is not Verdict.ASK or decision.code not in _GRANTABLE:
        return None
    for effect in request.effects:
        rule = _rule(effect, tainted=flow.tainted)
        if rule is not None and _answers(rule, policies, flow, request):
            return rule
    return None


def _answers(rule: Rule, policies: Sequence[Policy], flow: Flow, request: Request) -> bool:
    """Ask the engine itself, and the spelling."""
    try:
        emit_grant(rule)
    except PolicyError:
        return False
    with_rule = [replace(policy, rules=(*policy.rules, rule)) for policy in policies]
    return decide_all(with_rule, flow, request).verdict is Verdict.ALLOW


def _rule(effect: Effect, *, tainted: bool) -> Rule | None:
    match effect:
        case ReadPath(path):
            found = (Subject.READ, path)
        case WritePath(path):
            found = (Subject.WRITE, path)
        case Connect(host, None):
            found = (Subject.CONNECT, host)
        case Connect(host, port):
            found = (Subject.CONNECT, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        case CallModel(_, host, _, _):
            found = (Subject.MODEL, host)
        case _:
            return None
    return Rule(Verdict.ALLOW, found[0], (found[1],), even_when_tainted=tainted)
