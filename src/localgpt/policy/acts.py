"""From the arguments of a call to its scalars with their roles, and from its result to the next flow. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from localgpt.labels import Confidentiality, Integrity
from localgpt.policy import record as rec
from localgpt.policy.authority import ASKING, Act, Argument, Authority, FlowRules, Json, Kind, Role, Source, ToolSpec
from localgpt.policy.flow import DELEGATED, call_key, endorsed_keys, limit_name, spending
from localgpt.policy.model import Decision, Flow
from localgpt.policy.provenance import key_authority
from localgpt.policy.reaching import fetch_cost
from localgpt.policy.values import fold

_DEPTH: Final = 12
_LEVELS: Final = list(Confidentiality)
_TRUST: Final = list(Integrity)
_QUARANTINE_AFTER: Final = 2
_ECHO: Final = Source()


def take_apart(spec: ToolSpec, arguments: Mapping[str, Any]) -> Act:
    """Every scalar of a call with the role that its path was declared to have.

    An argument that the declaration does not name is a value that needs authority; inside an object of which some field
    has a role, other fields are content. Of an undeclared tool every scalar is a destination and leaves.
    """
    return Act(spec, tuple(a for name, value in arguments.items() for a in _scalars(spec, name, value)))


def _scalars(spec: ToolSpec, path: str, value: Any, depth: int = 0) -> Iterator[Argument]:  # noqa: ANN401 -- JSON
    if isinstance(value, dict) and depth < _DEPTH:
        for key, item in value.items():
            yield from _scalars(spec, f"{path}.{key}", item, depth + 1)
    elif isinstance(value, (list, tuple)) and depth < _DEPTH:
        for item in value:
            yield from _scalars(spec, path, item, depth + 1)
    else:
        scalar = value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
        yield Argument(path, _role(spec, path), scalar)


def _role(spec: ToolSpec, path: str) -> Role:
    if not spec.declared:
        return Role.DEST
    here = path
    while here:
        if here in spec.roles:
            return spec.roles[here]
        here = here.rpartition(".")[0]
    root = path.partition(".")[0]
    if any(name.startswith(f"{root}.") for name in spec.roles):
        return Role.CONTENT
    return Role.VALUE


def origin_of(act: Act) -> str:
    """A short name of where a result came from: the tool and what it was asked for."""
    words = [str(a.value) for a in act.arguments if a.value not in (None, "", True, False)]
    text = " ".join((act.spec.name, *words))[:100]
    return "".join(c if c.isprintable() else "?" for c in text)


def heard(flow: Flow, integrity: Integrity, confidentiality: Confidentiality, origin: str = "") -> Flow:
    """The flow after something of this label came into the context: the lower integrity, the higher confidentiality."""
    return replace(
        flow,
        integrity=max(flow.integrity, integrity, key=_TRUST.index),
        confidentiality=max(flow.confidentiality, confidentiality, key=_LEVELS.index),
        stranger=origin if integrity is Integrity.UNTRUSTED else flow.stranger,
    )


def returned(rules: FlowRules, flow: Flow, act: Act, value: Json) -> Flow:
    """The flow after a call that was carried out returned `value`."""
    origin = origin_of(act)
    after = _made(rules, flow, act)
    if act.spec.source is not None and (act.spec.kind in ASKING or not act.spec.declared):
        return _looked_up(rules, after, act, act.spec.source, value)
    source = act.spec.source or _ECHO
    after = replace(after, record=rec.enter_made(after.record, source, value, origin))
    integrity = rec.integrity(source, value) if act.spec.source is not None else _echo(act, value)
    return heard(
        after, integrity, rec.confidentiality(source, value) if act.spec.source else flow.confidentiality, origin
    )


def _looked_up(rules: FlowRules, flow: Flow, act: Act, source: Source, value: Json) -> Flow:
    origin = origin_of(act)
    keyed, keys = _keyed(rules, flow, act, source)
    members = rules.zone.members | flow.zone.members
    domains = (*rules.zone.domains, *flow.zone.domains)
    result = rec.Result(source, value, origin, keyed, keys, members, domains)
    level = rec.confidentiality(source, value)
    unasked = flow.tainted and keyed < Authority.INTERNAL
    after = heard(flow, rec.integrity(source, value), level, origin)
    readers = after.readers
    if source.readers is not None:
        named = frozenset(fold(reader) for reader in source.readers)
        readers = named if readers is None else readers & named
    return replace(
        after,
        record=rec.enter(flow.record, flow.words, result),
        unasked=max(flow.unasked, level, key=_LEVELS.index) if unasked else flow.unasked,
        readers=readers,
    )


def _keyed(rules: FlowRules, flow: Flow, act: Act, source: Source) -> tuple[Authority, frozenset[str]]:
    """The lowest authority among what a result was looked up with, and these texts."""
    keys = [a for a in act.arguments if source.keys is None or a.path.partition(".")[0] in source.keys]
    levels = [level for a in keys if (level := key_authority(flow, rules, a.value)) is not None]
    texts = frozenset(fold(a.value) for a in keys if isinstance(a.value, str))
    return min(levels, default=Authority.NONE), texts


def _made(rules: FlowRules, flow: Flow, act: Act) -> Flow:
    """What carrying out a call used up."""
    if act.spec.kind is Kind.FETCH:
        host, bits = fetch_cost(rules, flow, act)
        by_origin = (
            {**flow.bits_by_origin, host: flow.bits_by_origin.get(host, 0.0) + bits} if bits else flow.bits_by_origin
        )
        return replace(flow, bits=flow.bits + bits, bits_by_origin=by_origin)
    if act.spec.kind in ASKING:
        return flow
    name, amount = limit_name(rules, act.spec), spending(rules, flow, act)
    spent = {**flow.spent, name: flow.spent.get(name, 0.0) + amount} if amount else flow.spent
    return replace(flow, spent=spent, done=flow.done | {call_key(act)})


def _echo(act: Act, value: Json) -> Integrity:
    """The result of an effect that repeats its arguments, ids, figures and days says nothing new; other text may."""
    given = {fold(str(a.value)) for a in act.arguments if isinstance(a.value, str)}
    for leaf in rec.leaves(value):
        if isinstance(leaf.value, str) and leaf.value.strip():
            plain = fold(leaf.value) in given or (leaf.path and leaf.path[-1] in _ECHO.ids) or rec.is_figure(leaf.value)
            if not plain:
                return Integrity.UNTRUSTED
    return Integrity.ATTESTED


# --- answers of the user ----------------------------------------------------------------------------------------


def endorsed(flow: Flow, act: Act, decision: Decision) -> Flow:
    """The flow after the user approved a call for the session: exactly its asked values, for their roles."""
    grant = DELEGATED if flow.words.delegated else ("grant", act.spec.grant or act.spec.name)
    return replace(
        flow,
        endorsed=flow.endorsed | endorsed_keys(act, decision.endorse),
        granted=flow.granted | ({grant} if decision.grants else frozenset()),
    )


def refused(flow: Flow, decision: Decision, counts: Mapping[str, int]) -> tuple[Flow, dict[str, int]]:
    """The flow after the user refused: a source that was refused twice is quarantined. `counts`: refusals so far."""
    origins = {each.mark.origin for each in decision.endorse if each.mark.origin} or {flow.stranger}
    after = {**counts, **{origin: counts.get(origin, 0) + 1 for origin in origins if origin}}
    shut = frozenset(origin for origin, times in after.items() if times >= _QUARANTINE_AFTER)
    return replace(flow, quarantined=flow.quarantined | shut), after
