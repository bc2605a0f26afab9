"""The information-flow half of the decision: what a call of a declared tool may do once strangers were heard.

While nothing untrusted is in the context, the model acts with the user's authority inside the request's grants.
Afterwards every destination, object and value needs authority of its own. What a question could not responsibly settle
is denied: asking the user about a stranger's value is itself an attack.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

from localgpt.labels import Confidentiality
from localgpt.policy import lexicon as lex
from localgpt.policy.authority import Act, Authority, Endorsable, FlowRules, Kind, Limit, Role, ToolSpec
from localgpt.policy.days import names_day
from localgpt.policy.judging import (
    SHOWN_CHARS,
    Finding,
    Judged,
    endorsable,
    enough_dest,
    judge,
    may_see,
    service_clearance,
    shown_argument,
)
from localgpt.policy.model import Code, Flow
from localgpt.policy.provenance import ZONE, is_covered, is_inside, mark_of
from localgpt.policy.reaching import fetch, query
from localgpt.policy.values import Key, addresses, fold, keys_of, number

DELEGATED: Final = ("grant", "what the text says")  #: granted when the user confirmed a request to do what a text says


def findings(rules: FlowRules, flow: Flow, act: Act) -> list[Finding]:
    """Everything to be said of one call; an empty list means that it is allowed as `flow.act`."""
    if act.spec.kind is Kind.READ:
        return [Finding(Code.FLOW_READ, act.spec.name)]
    if act.spec.kind is Kind.QUERY:
        return list(query(rules, flow, act))
    judged = [Judged(a, mark_of(flow, rules, a.role, a.value)) for a in act.arguments if a.role is not Role.DERIVED]
    if act.spec.kind is Kind.FETCH:
        return [finding for each in judged for finding in fetch(rules, flow, act.spec, each)]
    found = [*_grant(rules, flow, act.spec, judged), *_limits(rules, flow, act, judged)]
    if flow.tainted:
        for each in judged:
            found.extend(_role(rules, flow, act.spec, each))
            found.extend(_links(rules, flow, act.spec, each))
    found.extend(_clearance(rules, flow, act.spec, judged))
    return found


# --- grants -----------------------------------------------------------------------------------------------------


def _grant(rules: FlowRules, flow: Flow, spec: ToolSpec, judged: list[Judged]) -> Iterator[Finding]:
    """The request must ask for this kind of effect.

    What the user did not ask for is denied once a stranger was heard, unless it might be meant: unknown language, a
    request to do what some text says, or only values that the user typed.
    """
    grant = spec.grant
    if not spec.declared:
        yield Finding(Code.FLOW_UNDECLARED, spec.name)
        return
    if grant and (grant in flow.words.grants or grant in rules.grants or ("grant", grant) in flow.granted):
        return
    if ("grant", grant or spec.name) in flow.granted or (flow.words.delegated and DELEGATED in flow.granted):
        return
    steering = [each for each in judged if each.argument.role in {Role.DEST, Role.REF}]
    typed = bool(steering) and all(each.authority >= Authority.POLICY for each in steering)
    clear = flow.words.clear and grant in lex.known_grants()
    asked = not flow.tainted or not clear or flow.words.delegated or typed
    yield Finding(Code.FLOW_GRANT if asked else Code.FLOW_GRANT_MISSING, grant or spec.name)


# --- destinations, objects, values ------------------------------------------------------------------------------


def _role(rules: FlowRules, flow: Flow, spec: ToolSpec, each: Judged) -> Iterator[Finding]:
    role = each.argument.role
    if role is Role.DEST:
        enough = enough_dest(spec, each)
        yield from judge(flow, each, Code.FLOW_DEST, Code.FLOW_DEST_FOREIGN, enough=enough)
    elif role is Role.REF:
        enough = each.authority >= Authority.SELECTED
        yield from judge(flow, each, Code.FLOW_REF, Code.FLOW_REF_FOREIGN, enough=enough)
    elif role is Role.VALUE:
        enough = _enough_value(rules, flow, spec, each)
        yield from judge(flow, each, Code.FLOW_VALUE, Code.FLOW_VALUE_FOREIGN, enough=enough)


def _enough_value(rules: FlowRules, flow: Flow, spec: ToolSpec, each: Judged) -> bool:
    value = each.argument.value
    if each.authority >= Authority.SELECTED:
        return True
    if _amount(value) is not None and _limit(rules, spec) is not None:
        return True  # the limits decide
    if spec.kind is not Kind.LOCAL:
        return False
    if each.authority in {Authority.ATTESTED, Authority.INTERNAL}:
        return True
    typed = any(kind in {"day", "number"} for kind, _ in keys_of(value))
    if typed:  # a single typed value may be raised where little is at stake
        return each.authority is Authority.POINTED or _names_its_day(flow, value)
    return isinstance(value, str) and is_covered(flow, value)


def _names_its_day(flow: Flow, value: object) -> bool:
    days = [text for kind, text in keys_of(value) if kind == "day"]  # type: ignore[arg-type]
    return any(names_day(flow.words, day, flow.record.today) for day in days)


def _links(rules: FlowRules, flow: Flow, spec: ToolSpec, each: Judged) -> Iterator[Finding]:
    """Addresses inside a text that leaves need authority of their own: a message must not carry a stranger's link."""
    value = each.argument.value
    if each.argument.role is not Role.CONTENT or not isinstance(value, str) or spec.kind is not Kind.EXTERNAL:
        return
    for key in addresses(value):
        mark = mark_of(flow, rules, Role.DEST, key[1])
        if mark.authority >= Authority.INTERNAL or (Role.CONTENT, key) in flow.endorsed:
            continue
        about = Endorsable(Role.CONTENT, each.argument.path, key[1], mark)
        pointed = mark.authority is Authority.POINTED and flow.words.links
        asked = pointed or mark.authority is Authority.ATTESTED
        yield Finding(Code.FLOW_LINK if asked else Code.FLOW_LINK_FOREIGN, key[1][:SHOWN_CHARS], about)


# --- clearance --------------------------------------------------------------------------------------------------


def _clearance(rules: FlowRules, flow: Flow, spec: ToolSpec, judged: list[Judged]) -> Iterator[Finding]:
    """What the context holds may go only to who may see it.

    Without a hijack the user's request decides for private data; secrets and a result's readers are looked at always.
    """
    dests = [each for each in judged if each.argument.role is Role.DEST and keys_of(each.argument.value)]
    if spec.kind is not Kind.EXTERNAL and not dests:
        return
    if flow.confidentiality is Confidentiality.PUBLIC or _only_users_words(flow, judged):
        return
    if not dests:
        yield from service_clearance(rules, flow, spec)
        return
    for each in dests:
        yield from _dest_clearance(rules, flow, each)


def _dest_clearance(rules: FlowRules, flow: Flow, each: Judged) -> Iterator[Finding]:
    known = each.authority >= Authority.INTERNAL
    about = endorsable(each)
    if flow.readers is not None and _is_reader(flow, each):
        return
    if flow.confidentiality is Confidentiality.SECRET or (flow.readers is not None):
        yield Finding(Code.FLOW_SECRET_NAMED if known else Code.FLOW_SECRET, shown_argument(each.argument), about)
    elif (flow.tainted and not known) or (
        each.mark == ZONE and not may_see(rules.zone.clearance, flow.confidentiality)
    ):
        yield Finding(Code.FLOW_CLEARANCE, shown_argument(each.argument), about)
    elif flow.tainted and flow.unasked is not Confidentiality.PUBLIC and not _is_ours(rules, flow, each):
        yield Finding(Code.FLOW_UNASKED, shown_argument(each.argument), about)


def _is_ours(rules: FlowRules, flow: Flow, each: Judged) -> bool:
    """Whether a destination is the user or inside the zone, whatever else gives it authority."""
    keys = keys_of(each.argument.value)
    return keys[-1][1] in rules.own or is_inside(flow, rules, keys)


def _is_reader(flow: Flow, each: Judged) -> bool:
    return flow.readers is not None and fold(str(each.argument.value)) in flow.readers


def _only_users_words(flow: Flow, judged: list[Judged]) -> bool:
    """Whether nothing goes out but what the user typed: that tells nobody anything of the context."""
    return all(
        each.authority is Authority.USER or (isinstance(each.argument.value, str) and _is_typed(flow, each))
        for each in judged
    )


def _is_typed(flow: Flow, each: Judged) -> bool:
    text = fold(str(each.argument.value))
    return each.argument.role is Role.CONTENT and (text in flow.words.quoted or f" {text} " in f" {flow.words.text} ")


# --- limits -----------------------------------------------------------------------------------------------------


def _limits(rules: FlowRules, flow: Flow, act: Act, judged: list[Judged]) -> Iterator[Finding]:
    """Amounts that the user did not type are bounded, one by one and in sum; the same effect twice is asked about."""
    limit = _limit(rules, act.spec)
    if limit is None:
        return
    name = limit_name(rules, act.spec)
    free = [each for each in judged if each.argument.role is Role.VALUE and each.authority < Authority.USER]
    for each in free:
        amount = _amount(each.argument.value)
        if amount is None:
            continue
        if amount > limit.per_call or flow.spent.get(name, 0.0) + amount > limit.per_day:
            strange = each.authority is Authority.UNTRUSTED
            code = Code.FLOW_LIMIT_FOREIGN if strange and flow.tainted else Code.FLOW_LIMIT
            yield Finding(code, shown_argument(each.argument), endorsable(each))
    if call_key(act) in flow.done:
        yield Finding(Code.FLOW_REPEAT, act.spec.name)


def _limit(rules: FlowRules, spec: ToolSpec) -> Limit | None:
    return rules.limits.get(spec.name) or rules.limits.get(spec.grant)


def limit_name(rules: FlowRules, spec: ToolSpec) -> str:
    """The name under which a tool's amounts are summed."""
    return spec.name if spec.name in rules.limits else spec.grant


def _amount(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        canonical = number(value.strip())
        return None if canonical is None else abs(float(canonical))
    return abs(float(value)) if isinstance(value, (int, float)) and math.isfinite(value) else None


def spending(rules: FlowRules, flow: Flow, act: Act) -> float:
    """What a call moves that the user did not type: to be added to `spent` once it was made."""
    if _limit(rules, act.spec) is None:
        return 0.0
    values = [a for a in act.arguments if a.role is Role.VALUE]
    untyped = [a for a in values if mark_of(flow, rules, a.role, a.value).authority < Authority.USER]
    return sum(_amount(a.value) or 0.0 for a in untyped)


def call_key(act: Act) -> str:
    """What makes two effects the same: tool, destinations, objects and values."""
    parts = [(a.path, keys_of(a.value)[:1]) for a in act.arguments if a.role in {Role.DEST, Role.REF, Role.VALUE}]
    return f"{act.spec.name} {parts}"


# --- answers ----------------------------------------------------------------------------------------------------


def endorsed_keys(act: Act, about: Iterable[Endorsable]) -> frozenset[tuple[Role, Key]]:
    """What an approval endorses: exactly the values that the question was about, for their roles."""
    paths = {(each.role, each.path) for each in about}
    values = {(a.role, keys_of(a.value)[0]) for a in act.arguments if (a.role, a.path) in paths and keys_of(a.value)}
    links = {(Role.CONTENT, key) for each in about if each.role is Role.CONTENT for key in addresses(each.value)}
    return frozenset(values | links)
