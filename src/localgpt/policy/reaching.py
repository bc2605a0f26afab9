"""Asking the world: an address that is fetched, and a service that reads a question, are told something. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from localgpt.labels import Confidentiality
from localgpt.policy import lexicon as lex
from localgpt.policy.authority import Act, Argument, Authority, FlowRules, Kind, Role, ToolSpec
from localgpt.policy.judging import Finding, Judged, endorsable, enough_dest, judge, service_clearance, shown_argument
from localgpt.policy.model import Code, Flow
from localgpt.policy.provenance import mark_of
from localgpt.policy.values import fold, host_of, keys_of


def fetch(rules: FlowRules, flow: Flow, spec: ToolSpec, each: Judged) -> Iterator[Finding]:
    """A fetched address is told something: that it was chosen, and whatever its text says."""
    if each.argument.role is not Role.DEST or not keys_of(each.argument.value):
        return
    if _free_to_fetch(flow, each):
        return
    if not enough_dest(spec, each):
        ungranted = bool(spec.grant) and spec.grant not in flow.words.grants and not flow.words.delegated
        for finding in judge(flow, each, Code.FLOW_DEST, Code.FLOW_DEST_FOREIGN, enough=False):
            foreign = finding.code is Code.FLOW_DEST and ungranted and flow.words.clear
            yield Finding(Code.FLOW_DEST_FOREIGN, finding.what, finding.about) if foreign else finding
        return
    if each.authority is Authority.USER:
        return
    bits = leak_bits(flow)
    if flow.confidentiality is Confidentiality.SECRET:
        yield Finding(Code.FLOW_LEAK_SECRET, shown_argument(each.argument))
    elif flow.confidentiality is Confidentiality.PRIVATE:
        host = host_of(keys_of(each.argument.value)[0][1])
        over = flow.bits + bits > rules.bits_per_task
        if over or flow.bits_by_origin.get(host, 0.0) + bits > rules.bits_per_origin_and_day:
            yield Finding(Code.FLOW_LEAK, shown_argument(each.argument), endorsable(each))


def _free_to_fetch(flow: Flow, each: Judged) -> bool:
    """Without a hijack the model fetches for the user, with one an empty-handed sub-agent may browse: it has nothing to
    tell. With a secret only what the user or the policy named."""
    if flow.tainted:
        return flow.quarantine and flow.confidentiality is Confidentiality.PUBLIC
    return flow.confidentiality is not Confidentiality.SECRET or each.authority >= Authority.POLICY


def leak_bits(flow: Flow) -> float:
    """What one ordered fetch tells: which of the n addresses that stood verbatim, or none. In bits."""
    known = flow.record.urls | {text for kind, text in flow.words.addresses if kind == "url"}
    return math.log2(len(known) + 1)


def fetch_cost(rules: FlowRules, flow: Flow, act: Act) -> tuple[str, float]:
    """The host that a fetch tells something, and the bits; ("", 0) when it tells nothing that counts."""
    if act.spec.kind is not Kind.FETCH or not flow.tainted or flow.confidentiality is Confidentiality.PUBLIC:
        return "", 0.0
    for argument in act.arguments:
        keys = keys_of(argument.value)
        if (
            argument.role is Role.DEST
            and keys
            and mark_of(flow, rules, Role.DEST, argument.value).authority < Authority.USER
        ):
            return host_of(keys[0][1]), leak_bits(flow)
    return "", 0.0


def query(rules: FlowRules, flow: Flow, act: Act) -> Iterator[Finding]:
    """A search engine or an embedder reads what it is asked: after taint only words of the user's, or of the public."""
    if flow.confidentiality is Confidentiality.PUBLIC:
        return
    texts = [a for a in act.arguments if a.role is not Role.DERIVED and keys_of(a.value)]
    if not all(_is_asked(flow, a) for a in texts):
        yield from service_clearance(rules, flow, act.spec)


def _is_asked(flow: Flow, argument: Argument) -> bool:
    said = flow.words.tokens | flow.words.common
    return all(token in said for part in lex.sentences(fold(str(argument.value))) for token in lex.tokens(part))
