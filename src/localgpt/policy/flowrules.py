"""The words a policy has for flows: zones, limits, standing grants, clearances, regions, leak budgets.

```toml
[zone.own]
domains = ["example.com"]
members = ["Alice"]
clearance = "private"

[limit.pay]
per_call = 50
per_day = 100

[flow]
own = ["me@example.com"]
grants = ["calendar"]
bits_per_task = 16
bits_per_origin_and_day = 64
regions = ["eu"]

[clearance]
"api.example.com" = "public"

[region]
"api.example.com" = "us"
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from localgpt.errors import PolicyError
from localgpt.labels import Confidentiality
from localgpt.policy.authority import FlowRules, Limit, Zone
from localgpt.policy.values import fold

#: Makes the error for a place and a sentence; the caller knows line and column.
Complain = Callable[[str, str], PolicyError]

TABLES: Final = ("zone", "limit", "flow", "clearance", "region")
_ZONE: Final = ("domains", "members", "clearance", "lookup")
_FLOW: Final = ("own", "grants", "bits_per_task", "bits_per_origin_and_day", "regions")
_MAX_NAMES: Final = 10_000


def read_flow_rules(tree: Mapping[str, Any], complain: Complain) -> FlowRules:
    """Read the flow tables of one policy block; other keys of `tree` are not looked at.

    Raises:
        PolicyError: what `complain` makes of an unknown key, a wrong type or a number out of range.
    """
    zones, flow = _table(tree, "zone", complain), _table(tree, "flow", complain)
    _known("zone", zones, ("own",), complain)
    _known("flow", flow, _FLOW, complain)
    return FlowRules(
        zone=read_zone(_table(zones, "own", complain), complain),
        own=frozenset(fold(name) for name in _names("flow.own", flow.get("own", []), complain)),
        grants=frozenset(_names("flow.grants", flow.get("grants", []), complain)),
        limits=_limits(_table(tree, "limit", complain), complain),
        clearances=MappingProxyType(
            {
                name.casefold(): read_clearance(f"clearance.{name}", value, complain)
                for name, value in _table(tree, "clearance", complain).items()
            }
        ),
        regions=MappingProxyType(
            {
                name.casefold(): _name(f"region.{name}", value, complain)
                for name, value in _table(tree, "region", complain).items()
            }
        ),
        allowed_regions=frozenset(_names("flow.regions", flow.get("regions", []), complain)),
        bits_per_task=_number("flow.bits_per_task", flow.get("bits_per_task", 16), complain),
        bits_per_origin_and_day=_number(
            "flow.bits_per_origin_and_day", flow.get("bits_per_origin_and_day", 64), complain
        ),
    )


def merge_flow(base: FlowRules, own: FlowRules) -> FlowRules:
    """Both together: lists grow, and what `own` names goes before what `base` says of the same thing."""
    return FlowRules(
        zone=Zone(
            tuple(dict.fromkeys((*base.zone.domains, *own.zone.domains))),
            base.zone.members | own.zone.members,
            min(base.zone.clearance, own.zone.clearance, key=list(Confidentiality).index),
        ),
        own=base.own | own.own,
        grants=base.grants | own.grants,
        limits={**base.limits, **own.limits},
        clearances={**base.clearances, **own.clearances},
        regions={**base.regions, **own.regions},
        allowed_regions=own.allowed_regions or base.allowed_regions,
        bits_per_task=min(base.bits_per_task, own.bits_per_task),
        bits_per_origin_and_day=min(base.bits_per_origin_and_day, own.bits_per_origin_and_day),
    )


def read_zone(table: Mapping[str, Any], complain: Complain) -> Zone:
    """Read `[zone.own]`."""
    _known("zone.own", table, _ZONE, complain)
    domains = _names("zone.own.domains", table.get("domains", []), complain)
    for domain in domains:
        if "." not in domain.strip(".") or "*" in domain or "@" in domain:
            raise complain("zone.own.domains", f"{domain!r} is not a domain as example.com; a zone is a closed list")
    return Zone(
        tuple(domain.casefold() for domain in domains),
        frozenset(fold(name) for name in _names("zone.own.members", table.get("members", []), complain)),
        read_clearance("zone.own.clearance", table.get("clearance", "private"), complain),
    )


def read_clearance(where: str, value: object, complain: Complain) -> Confidentiality:
    """Read a level of confidentiality."""
    try:
        return Confidentiality(value if isinstance(value, str) else "")
    except ValueError:
        raise complain(where, f"{value!r} is none of {', '.join(Confidentiality)}") from None


def _limits(tables: Mapping[str, Any], complain: Complain) -> Mapping[str, Limit]:
    found = {}
    for name in tables:
        table = _table(tables, name, complain)
        _known(f"limit.{name}", table, ("per_call", "per_day"), complain)
        if len(table) != 2:
            raise complain(f"limit.{name}", "has per_call and per_day")
        found[name] = Limit(
            _number(f"limit.{name}.per_call", table["per_call"], complain),
            _number(f"limit.{name}.per_day", table["per_day"], complain),
        )
    return MappingProxyType(found)


def _table(tree: Mapping[str, Any], key: str, complain: Complain) -> dict[str, Any]:
    table = tree.get(key, {})
    if not isinstance(table, dict):
        raise complain(key, f"is written as a table [{key}]")
    return table


def _known(where: str, table: Mapping[str, Any], keys: tuple[str, ...], complain: Complain) -> None:
    for key in table:
        if key not in keys:
            raise complain(where, f"unknown key {key!r}; there are {', '.join(keys)}")


def _names(where: str, value: object, complain: Complain) -> list[str]:
    if not isinstance(value, list) or len(value) > _MAX_NAMES:
        raise complain(where, f"is a list of at most {_MAX_NAMES} names")
    return [_name(where, item, complain) for item in value]


def _name(where: str, value: object, complain: Complain) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 256 or not value.isprintable():
        raise complain(where, "a name has 1 to 256 printable characters")
    return value


def _number(where: str, value: object, complain: Complain) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e15:
        raise complain(where, "is a number from 0 up")
    return float(value)
