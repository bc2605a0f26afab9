"""The decision: a pure, total, deterministic function from policy, flow and request to a verdict with its reason.

Every effect is judged by the built-in table, then by the user's rules. A deny or an ask of the user raises; an allow
lowers a built-in ask and never a built-in deny. The strictest effect decides the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from localgpt.labels import Confidentiality
from localgpt.policy import hosts, paths
from localgpt.policy.authority import Act, FlowRules
from localgpt.policy.commands import Commands, Match, match_any, simple_commands
from localgpt.policy.flow import findings
from localgpt.policy.judging import Finding
from localgpt.policy.model import (
    CallModel,
    Code,
    Connect,
    Decision,
    Effect,
    Flow,
    Policy,
    Reach,
    ReadPath,
    Request,
    Rule,
    Run,
    Scope,
    Subject,
    Table,
    UnknownTool,
    Verdict,
    WritePath,
    strictness,
)
from localgpt.policy.sentences import describe, explain

_BUILTIN: Final = "built-in"
_LOCKED_ALLOWS: Final = frozenset({Code.READ_PLAN, Code.MODEL_LOCAL})


def decide(policy: Policy, flow: Flow, request: Request) -> Decision:
    """Decide one request under one policy."""
    if not request.effects:
        return _builtin(policy, Code.REQUEST_NO_EFFECT, request.tool)
    return strictest(_decide_effect(policy, flow, request, effect) for effect in request.effects)


def decide_all(policies: Iterable[Policy], flow: Flow, request: Request) -> Decision:
    """Decide under the meet of several policies: the strictest of their decisions, the first among equals."""
    return strictest(decide(policy, flow, request) for policy in policies)


def strictest(decisions: Iterable[Decision]) -> Decision:
    """The first decision that no other exceeds in strictness."""
    return max(decisions, key=lambda decision: strictness(decision.verdict))


def _decide_effect(policy: Policy, flow: Flow, request: Request, effect: Effect) -> Decision:
    if isinstance(effect, Act):
        base = _flow_base(policy, flow, effect)
    else:
        base = _builtin(policy, _code(policy, flow, request.scope, effect), describe(effect))
    if base.verdict is Verdict.DENY:
        return base
    commands = simple_commands(effect.argv) if isinstance(effect, Run) else None
    raised = _raised(policy, request, effect, commands)
    if raised is not None and strictness(raised.verdict) >= strictness(base.verdict):
        return raised
    if base.verdict is Verdict.ASK and base.code != Code.REQUEST_NO_EFFECT and not policy.locked:
        return _lowered(policy, flow, request, effect, commands) or base
    return base


def _builtin(policy: Policy, code: Code, what: str) -> Decision:
    verdict = policy.table.verdict(code)
    if policy.locked and code not in _LOCKED_ALLOWS and verdict is not Verdict.DENY:
        return Decision(Verdict.DENY, Code.POLICY_LOCKED, explain(Code.POLICY_LOCKED, what), _BUILTIN)
    return Decision(verdict, code.value, explain(code, what), _BUILTIN)


def _flow_base(policy: Policy, flow: Flow, act: Act) -> Decision:
    """The strictest finding decides; a question is about everything that the findings ask."""
    found = findings(policy.flow, flow, act) or [Finding(Code.FLOW_ACT, act.spec.name)]
    decisions = [_builtin(policy, finding.code, finding.what) for finding in found]
    worst = strictest(decisions)
    if worst.verdict is not Verdict.ASK:
        return worst
    asked = [(f, d) for f, d in zip(found, decisions, strict=True) if d.verdict is Verdict.ASK]
    about = tuple(dict.fromkeys(f.about for f, _ in asked if f.about is not None))
    origins = {each.mark.origin or flow.stranger for each in about} or {flow.stranger}
    if flow.tainted and origins & flow.quarantined:
        return _builtin(policy, Code.FLOW_QUARANTINE, min(origins & flow.quarantined))
    return replace(worst, endorse=about, grants=any(f.code is Code.FLOW_GRANT for f, _ in asked))


# --- the user's rules -------------------------------------------------------------------------------------------


def _raised(policy: Policy, request: Request, effect: Effect, commands: Commands | None) -> Decision | None:
    """What the user's deny and ask rules make of the effect; None when none of them speaks of it."""
    matched = [
        (rule, _match(rule, request, effect, commands)) for rule in policy.rules if rule.verdict is not Verdict.ALLOW
    ]
    for verdict, code in ((Verdict.DENY, Code.RULE_DENY), (Verdict.ASK, Code.RULE_ASK)):
        for rule, match in matched:
            if rule.verdict is verdict and match is Match.YES:
                return _by_rule(rule, code, effect)
    unsure = next((rule for rule, match in matched if match is Match.MAYBE), None)
    if unsure is None:
        return None
    verdict = policy.table.verdict(Code.RUN_NOT_UNDERSTOOD)
    sentence = explain(Code.RUN_NOT_UNDERSTOOD, describe(effect))
    return Decision(verdict, Code.RUN_NOT_UNDERSTOOD, sentence, unsure.name)


def _lowered(
    policy: Policy, flow: Flow, request: Request, effect: Effect, commands: Commands | None
) -> Decision | None:
    for rule in policy.rules:
        counts = rule.verdict is Verdict.ALLOW and (rule.even_when_tainted or not flow.tainted)
        if counts and _match(rule, request, effect, commands) is Match.YES:
            return _by_rule(rule, Code.RULE_ALLOW, effect)
    return None


def _by_rule(rule: Rule, code: Code, effect: Effect) -> Decision:
    return Decision(rule.verdict, code.value, explain(code, describe(effect), rule.reason), rule.name)


def _match(rule: Rule, request: Request, effect: Effect, commands: Commands | None) -> Match:
    if rule.subject is Subject.ARGV:
        return match_any(rule.patterns, commands) if isinstance(effect, Run) else Match.NO
    if rule.subject is Subject.TOOL:
        names = {request.tool, effect.name} if isinstance(effect, UnknownTool) else {request.tool}
        return _yes(paths.glob_part(pattern, name) for pattern in rule.patterns for name in names)
    return _MATCHERS[rule.subject](rule, request.scope, effect)


def _match_read(rule: Rule, scope: Scope, effect: Effect) -> Match:
    return _match_path(rule, scope, effect.path) if isinstance(effect, ReadPath) else Match.NO


def _match_write(rule: Rule, scope: Scope, effect: Effect) -> Match:
    return _match_path(rule, scope, effect.path) if isinstance(effect, WritePath) else Match.NO


def _match_connect(rule: Rule, _scope: Scope, effect: Effect) -> Match:
    if not isinstance(effect, Connect):
        return Match.NO
    return _yes(hosts.matches(pattern, effect.host, effect.port) for pattern in rule.patterns)


def _match_model(rule: Rule, _scope: Scope, effect: Effect) -> Match:
    if not isinstance(effect, CallModel):
        return Match.NO
    return _yes(
        pattern in {"*", effect.provider} or hosts.matches(pattern, effect.host, None) for pattern in rule.patterns
    )


_MATCHERS: Final[dict[Subject, Callable[[Rule, Scope, Any], Match]]] = {
    Subject.READ: _match_read,
    Subject.WRITE: _match_write,
    Subject.CONNECT: _match_connect,
    Subject.MODEL: _match_model,
}


def _match_path(rule: Rule, scope: Scope, path: str) -> Match:
    """Rules that raise compare without regard to case; a rule that lowers compares exactly."""
    patterns = (_absolute(pattern, scope) for pattern in rule.patterns)
    if rule.verdict is Verdict.ALLOW:
        return _yes(paths.glob_path(pattern, path) for pattern in patterns)
    folded = paths.fold(path)
    return _yes(paths.glob_path(paths.fold(pattern), folded) for pattern in patterns)


def denied_patterns(policies: Iterable[Policy], subject: Subject, scope: Scope) -> tuple[str, ...]:
    """The absolute patterns that any deny rule on paths has for `subject`: what a search must leave out."""
    rules = (rule for policy in policies for rule in policy.rules)
    denied = (rule for rule in rules if rule.verdict is Verdict.DENY and rule.subject is subject)
    return tuple(dict.fromkeys(_absolute(pattern, scope) for rule in denied for pattern in rule.patterns))


def _absolute(pattern: str, scope: Scope) -> str:
    if pattern.startswith("/"):
        return pattern
    if pattern == "~" or pattern.startswith("~/"):
        return (scope.home.rstrip("/") + pattern[1:]) or "/"
    if pattern.startswith("**/"):
        return "/" + pattern
    return f"{scope.project.rstrip('/')}/{pattern}"


def _yes(found: Iterable[bool]) -> Match:
    return Match.YES if any(found) else Match.NO


# --- the built-in classes ---------------------------------------------------------------------------------------


def _code(policy: Policy, flow: Flow, scope: Scope, effect: Effect) -> Code:  # noqa: PLR0911 -- one line an effect
    """Sort one effect into its built-in class."""
    table = policy.table
    if isinstance(effect, ReadPath):
        return _read_code(table, scope, effect.path)
    if isinstance(effect, WritePath):
        code = _write_code(table, scope, effect.path)
        return Code.WRITE_TAINTED if code is Code.WRITE_PROJECT and effect.replaces and flow.tainted else code
    if isinstance(effect, Run):
        if not effect.argv or not effect.argv[0]:
            return Code.RUN_EMPTY
        return Code.RUN_CONFINED if scope.project_trusted else Code.RUN_READ_ONLY
    if isinstance(effect, Connect):
        return _connect_code(flow, effect)
    if isinstance(effect, CallModel):
        return _model_code(policy.flow, flow, effect)
    return Code.TOOL_UNKNOWN


def _read_code(table: Table, scope: Scope, path: str) -> Code:
    if not paths.is_resolved(path):
        return Code.PATH_UNRESOLVED
    if _is_secret(table, scope, path):
        return Code.READ_SECRET
    inside = paths.inside_any(path, (scope.project, scope.workspace, *scope.read_roots, *scope.write_roots))
    return Code.READ_PLAN if inside else Code.READ_OUTSIDE


def _write_code(table: Table, scope: Scope, path: str) -> Code:  # noqa: PLR0911 -- one line a class, strictest first
    if not paths.is_resolved(path):
        return Code.PATH_UNRESOLVED
    if _is_secret(table, scope, path):
        return Code.WRITE_SECRET
    if _is_protected(table, scope, path):
        return Code.WRITE_PROTECTED
    if paths.shadowed_by_any(path, (scope.workspace,)):
        return (
            Code.WRITE_PERSONA
            if paths.has_name(_beneath(path, scope.workspace), table.persona)
            else Code.WRITE_WORKSPACE
        )
    if not scope.project_trusted and paths.inside(path, scope.project):
        return Code.WRITE_UNTRUSTED_PROJECT
    if paths.has_name(_beneath(path, scope.project), table.instructions):
        return Code.WRITE_INSTRUCTIONS
    return Code.WRITE_PROJECT if paths.inside_any(path, scope.write_roots) else Code.WRITE_OUTSIDE


def _is_secret(table: Table, scope: Scope, path: str) -> bool:
    return paths.shadowed_by_any(path, scope.secrets) or paths.has_name(
        _beneath(path, scope.project), table.secret_names, but_not=table.not_secret_names
    )


def _is_protected(table: Table, scope: Scope, path: str) -> bool:
    if paths.shadowed_by_any(path, scope.protected) or paths.has_name(
        _beneath(path, scope.project), table.protected_names
    ):
        return True
    return paths.shadowed_by_any(path, tuple(f"{scope.workspace}/{name}" for name in table.workspace_protected))


def _beneath(path: str, root: str) -> str:
    """The part of `path` beneath `root`, so that a root's own name (`~/.env/project`) condemns nothing in it."""
    return path[len(root) :] if root != "/" and paths.inside(path, root) else path


def _connect_code(flow: Flow, effect: Connect) -> Code:
    kind = hosts.classify(effect.host)
    if kind is hosts.HostKind.BAD or (effect.port is not None and not 0 < effect.port < 65536):
        return Code.CONNECT_BAD_HOST
    if kind is hosts.HostKind.METADATA:
        return Code.CONNECT_METADATA
    if flow.secret:
        return Code.CONNECT_CLEARANCE
    return Code.CONNECT_LOCAL if kind is hosts.HostKind.LOCAL else Code.CONNECT_HOST


def _model_code(rules: FlowRules, flow: Flow, effect: CallModel) -> Code:
    if effect.reach is not Reach.HOSTED:
        return Code.MODEL_LOCAL
    if flow.secret or not _cleared(rules, flow, effect):
        return Code.MODEL_CLEARANCE
    return Code.MODEL_HOSTED_CONFIRMED if effect.confirmed else Code.MODEL_HOSTED


def _cleared(rules: FlowRules, flow: Flow, effect: CallModel) -> bool:
    """Whether a hosted provider may see the context: by its clearance and its region, named by provider or host."""
    names = (effect.provider.casefold(), effect.host.casefold())
    levels = list(Confidentiality)
    clearances = [rules.clearances[name] for name in names if name in rules.clearances]
    if any(levels.index(clearance) < levels.index(flow.confidentiality) for clearance in clearances):
        return False
    regions = {rules.regions[name] for name in names if name in rules.regions}
    return not rules.allowed_regions or (bool(regions) and regions <= rules.allowed_regions)


# --- for explanations -------------------------------------------------------------------------------------------


def match_rule(rule: Rule, request: Request, effect: Effect, commands: Commands | None) -> Match:
    """Whether `rule` speaks of `effect`. `commands`: of a `Run`, see `simple_commands`."""
    return _match(rule, request, effect, commands)


def builtin_decision(policy: Policy, flow: Flow, request: Request, effect: Effect) -> Decision:
    """What the built-in table alone gives."""
    return _builtin(policy, _code(policy, flow, request.scope, effect), describe(effect))
