"""What is said of one argument: the finding, the value with its authority, and whether that is enough. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from localgpt.labels import Confidentiality
from localgpt.policy.authority import Argument, Authority, Endorsable, FlowRules, Kind, Mark, Role, ToolSpec
from localgpt.policy.model import Code, Flow
from localgpt.policy.provenance import ZONE
from localgpt.policy.values import keys_of

LEVELS: Final = list(Confidentiality)
SHOWN_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that speaks for or against a call. `about`: what the user would confirm; `what`: for the sentence."""

    code: Code
    what: str
    about: Endorsable | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """An argument with the authority of its value."""

    argument: Argument
    mark: Mark

    @property
    def authority(self) -> Authority:
        return self.mark.authority


def judge(flow: Flow, each: Judged, ask: Code, deny: Code, *, enough: bool) -> Iterator[Finding]:
    """Ask about what the user's words lead to, deny what only strangers said."""
    if enough:
        return
    about = endorsable(each)
    foreign = each.authority is Authority.UNTRUSTED or (
        each.authority is Authority.POINTED and each.argument.role is Role.DEST and named_another(flow, each)
    )
    yield Finding(deny if foreign else ask, shown_argument(each.argument), about)


def named_another(flow: Flow, each: Judged) -> bool:
    """Whether the user typed an address of this type: then that list is complete, and a text cannot add to it."""
    return any(kind in flow.words.kinds for kind, _ in keys_of(each.argument.value))


def enough_dest(spec: ToolSpec, each: Judged) -> bool:
    """Whether a receiver has enough authority for this kind of effect."""
    if each.authority is Authority.INTERNAL and is_link(each) and each.mark != ZONE:
        return spec.kind is Kind.FETCH  # a colleague's link may be opened, not written to
    return each.authority >= Authority.INTERNAL


def is_link(each: Judged) -> bool:
    """Whether the value is a URL."""
    return any(kind == "url" for kind, _ in keys_of(each.argument.value))


def may_see(clearance: Confidentiality, level: Confidentiality) -> bool:
    """Whether a receiver of this clearance may see data of this level."""
    return LEVELS.index(clearance) >= LEVELS.index(level)


def service_clearance(rules: FlowRules, flow: Flow, spec: ToolSpec) -> Iterator[Finding]:
    """Whether a tool without a destination tells a service more than it may see."""
    name = spec.service or spec.name
    clearance = rules.clearances.get(name.casefold(), spec.clearance)
    if may_see(clearance, flow.confidentiality) or ("service", name) in flow.granted:
        return
    if flow.confidentiality is Confidentiality.SECRET:
        yield Finding(Code.FLOW_SECRET, name)
    elif flow.tainted:
        yield Finding(Code.FLOW_CLEARANCE, name)


def endorsable(each: Judged) -> Endorsable:
    """What a question about this argument would confirm."""
    return Endorsable(each.argument.role, each.argument.path, str(each.argument.value)[:SHOWN_CHARS], each.mark)


def shown_argument(argument: Argument) -> str:
    """The argument as a person reads it."""
    return f"{argument.path} = {str(argument.value)[:SHOWN_CHARS]!r}"
