"""The authority of one argument: the user's words first, then the policy, then the session's record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from localgpt.policy.authority import Authority, FlowRules, Mark, Role
from localgpt.policy.days import names_day
from localgpt.policy.values import Key, Scalar, fold, host_of, keys_of, stands_in
from localgpt.policy.words import made_of_words, says_id, says_name

if TYPE_CHECKING:
    from localgpt.policy.model import Flow

USER: Final = Mark(Authority.USER, "the user's words")
CONFIRMED: Final = Mark(Authority.USER, "the user's answer")
POLICY: Final = Mark(Authority.POLICY, "the signed policy")
ZONE: Final = Mark(Authority.INTERNAL, "the own zone")
_ADDRESSES: Final = frozenset({"mail", "url", "account"})
_TOKEN: Final = re.compile(r"\w+")


def mark_of(flow: Flow, rules: FlowRules, role: Role, value: Scalar) -> Mark:
    """Where the value of one argument comes from. Empty and Boolean values steer nothing and count as the user's."""
    keys = keys_of(value)
    if not keys:
        if not isinstance(value, str) or not value.strip():
            return USER
        return Mark(Authority.NONE) if role is Role.CONTENT else _long_text(flow, value)
    if (role, keys[0]) in flow.endorsed:
        return CONFIRMED
    if _is_said(flow, role, keys):
        return USER
    ours = _ours(flow, rules, keys)
    found = _recorded(flow, role, keys)
    return max(ours, found, key=lambda mark: mark.authority)


def _is_said(flow: Flow, role: Role, keys: tuple[Key, ...]) -> bool:
    kind, text = keys[0]
    folded = keys[-1][1]
    if kind in _ADDRESSES:
        return keys[0] in flow.words.addresses or (kind == "url" and says_name(flow.words, folded))
    if role is Role.REF:
        return says_id(flow.words, folded)
    if kind == "number":
        return text in flow.words.numbers if role is Role.VALUE else says_id(flow.words, folded)
    if kind == "day":
        return names_day(flow.words, text, flow.record.today) and _is_clock_said(flow, keys)
    return says_name(flow.words, folded)


def _is_clock_said(flow: Flow, keys: tuple[Key, ...]) -> bool:
    clocks = [moment[-5:] for kind, moment in keys if kind == "moment"]
    return all(clock == "00:00" or clock in flow.words.clocks for clock in clocks)


def _ours(flow: Flow, rules: FlowRules, keys: tuple[Key, ...]) -> Mark:
    if keys[-1][1] in rules.own:
        return POLICY
    return ZONE if is_inside(flow, rules, keys) else Mark(Authority.NONE)


def is_inside(flow: Flow, rules: FlowRules, keys: tuple[Key, ...]) -> bool:
    """Whether a value is a member of the own zone, or an address in one of its domains."""
    kind, text = keys[0]
    folded = keys[-1][1]
    if folded in rules.zone.members or folded in flow.zone.members:
        return True
    domain = text.rpartition("@")[2] if kind == "mail" else host_of(text) if kind == "url" else ""
    return bool(domain) and (domain in rules.zone.domains or domain in flow.zone.domains)


def _recorded(flow: Flow, role: Role, keys: tuple[Key, ...]) -> Mark:
    marks = flow.record.marks
    best = max((marks[key] for key in _wanted(role, keys) if key in marks), key=_rank, default=Mark(Authority.NONE))
    if best.authority >= Authority.POINTED:
        return best
    folded = keys[-1][1]
    pointed = [] if _is_figure(keys) else [o for text, o in flow.record.pointed if stands_in(folded, text)]
    if pointed:
        return Mark(Authority.POINTED, min(pointed))
    if best.authority is Authority.NONE and _is_heard(flow, folded):
        return Mark(Authority.UNTRUSTED)
    return best


def _rank(mark: Mark) -> tuple[int, str]:
    return mark.authority, mark.origin


def _wanted(role: Role, keys: tuple[Key, ...]) -> Iterator[Key]:
    """The keys that count for a role: an id is no size, and a size no id."""
    figure = _is_figure(keys)
    if role is Role.REF:
        yield ("id", keys[-1][1])
    for key in keys:
        if not (figure and (role is Role.REF or (key[0] == "number" and role is not Role.VALUE))):
            yield key
    if keys[0][0] == "day" and role is Role.VALUE:
        yield ("date", keys[0][1][5:])


def _is_figure(keys: tuple[Key, ...]) -> bool:
    return keys[0][0] == "number"


def _is_heard(flow: Flow, folded: str) -> bool:
    """Whether every word of a value stands in some stranger's text: then a stranger may have put it together."""
    words = _TOKEN.findall(folded)
    return bool(words) and all(word in flow.record.vocabulary for word in words)


def _long_text(flow: Flow, value: str) -> Mark:
    return Mark(Authority.UNTRUSTED) if _is_heard(flow, fold(value)) else Mark(Authority.NONE)


# --- what is made of known parts --------------------------------------------------------------------------------


def is_covered(flow: Flow, text: str) -> bool:
    """Whether a text has only the user's words and whole values of at least attested authority ("Dinner at {name}")."""
    rest = fold(text)
    if not rest:
        return True
    for part in _values_in(flow, rest):
        rest = rest.replace(part, "\n")
    return all(_is_said_or_plain(flow, piece) for piece in re.split(r"[\n,;:()\"]+", rest))


def _is_said_or_plain(flow: Flow, piece: str) -> bool:
    words = _TOKEN.findall(piece)
    return not words or all(word in flow.words.tokens or word in flow.words.common for word in words)


def _values_in(flow: Flow, text: str) -> list[str]:
    """The attested values that stand in a folded text, the longest first: runs of its words that are marked."""
    words = [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]
    found = []
    for first in range(len(words)):
        for last in range(min(len(words), first + 10), first, -1):
            part = text[words[first][0] : words[last - 1][1]].strip(".,;:!?()\"'")
            mark = flow.record.marks.get(("text", part))
            if len(part) > 3 and mark is not None and mark.authority in _COVERING:
                found.append(part)
                break
    return sorted(found, key=len, reverse=True)


_COVERING: Final = frozenset({Authority.ATTESTED, Authority.SELECTED, Authority.DIRECTORY})


def key_authority(flow: Flow, rules: FlowRules, value: Scalar) -> Authority | None:
    """The authority of a value that something is looked up with; None when it is empty and looks nothing up."""
    if not keys_of(value) and not (isinstance(value, str) and value.strip()):
        return None
    mark = max((mark_of(flow, rules, role, value) for role in (Role.DEST, Role.VALUE)), key=_rank)
    if isinstance(value, str) and made_of_words(flow.words, fold(value)):
        return Authority.USER
    return mark.authority
