"""What the tables about flows of a new policy may open that those of the old one did not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

from localgpt.labels import Confidentiality
from localgpt.policy.authority import FlowRules

_LEVELS: Final = {level: number for number, level in enumerate(Confidentiality)}
_T = TypeVar("_T")


def opened(old: FlowRules, new: FlowRules) -> Iterator[str]:
    """One sentence for each thing that `new` may let through and `old` does not."""
    yield from _grew("the own zone", (*old.zone.domains, *old.zone.members), (*new.zone.domains, *new.zone.members))
    yield from _grew("the user's own addresses", old.own, new.own)
    yield from _grew("standing grants", old.grants, new.grants)
    if _LEVELS[new.zone.clearance] > _LEVELS[old.zone.clearance]:
        yield f"the own zone's clearance is {new.zone.clearance}, {old.zone.clearance} before"
    yield from _limits(old, new)
    yield from _clearances(old, new)
    yield from _regions(old, new)
    for name, before, after in (
        ("a task", old.bits_per_task, new.bits_per_task),
        ("an origin and day", old.bits_per_origin_and_day, new.bits_per_origin_and_day),
    ):
        if after > before:
            yield f"fetches of {name} may tell {after:g} bits, {before:g} before"


def _grew(what: str, old: Iterable[str], new: Iterable[str]) -> Iterator[str]:
    more = sorted(set(new) - set(old))
    if more:
        yield f"{what} also: {', '.join(more)}"


def _limits(old: FlowRules, new: FlowRules) -> Iterator[str]:
    for name, limit in new.limits.items():
        before = old.limits.get(name)
        if before is None:
            yield f"{name} may move {limit.per_call:g} at once and {limit.per_day:g} a day without your words"
        elif limit.per_call > before.per_call or limit.per_day > before.per_day:
            yield f"the limits of {name} were {before.per_call:g} and {before.per_day:g} a day, and are higher"


def _clearances(old: FlowRules, new: FlowRules) -> Iterator[str]:
    """A name without an entry gets what its kind gets, so an entry that is gone or new may open something."""
    for name in _changed(old.clearances, new.clearances):
        before, after = old.clearances.get(name), new.clearances.get(name)
        if before is None or after is None or _LEVELS[after] > _LEVELS[before]:
            yield f"the clearance of {name} was {before or 'the usual one'}, and is {after or 'the usual one'}"


def _regions(old: FlowRules, new: FlowRules) -> Iterator[str]:
    if old.allowed_regions and not new.allowed_regions:
        yield "any region is allowed"
    elif old.allowed_regions:
        yield from _grew("allowed regions", old.allowed_regions, new.allowed_regions)
    for name in _changed(old.regions, new.regions):
        yield f"{name} is said to be in {new.regions.get(name, 'no known region')}"


def _changed(old: Mapping[str, _T], new: Mapping[str, _T]) -> list[str]:
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
