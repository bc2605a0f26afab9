"""The shipped rules: found in the installed package or the source tree, checked, and never silently incomplete."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from localgpt.crypto import sha256_hex
from localgpt.policy.authority import FlowRules
from localgpt.policy.flowrules import read_flow_rules
from localgpt.policy.model import Code, Policy, Table, Verdict
from localgpt.policy.shipped import broken
from localgpt.policy.shipped import shipped as shipped  # noqa: PLC0414 -- exported

#: Codes that no line of the built-in table decides: a user's rule does, or the loss of the signed policy.
_NOT_IN_TABLE: Final = frozenset({Code.RULE_ALLOW, Code.RULE_ASK, Code.RULE_DENY, Code.POLICY_LOCKED})

#: Whatever the shipped file says, these are denied: a damaged table must not open them.
FLOOR: Final = frozenset({
    Code.READ_SECRET, Code.WRITE_SECRET, Code.WRITE_PROTECTED, Code.WRITE_UNTRUSTED_PROJECT, Code.RUN_EMPTY,
    Code.CONNECT_METADATA, Code.CONNECT_BAD_HOST, Code.CONNECT_CLEARANCE, Code.MODEL_CLEARANCE, Code.PATH_UNRESOLVED,
    Code.FLOW_SECRET, Code.FLOW_LEAK_SECRET, Code.FLOW_QUARANTINE, Code.FLOW_DEST_FOREIGN, Code.FLOW_REF_FOREIGN,
    Code.FLOW_VALUE_FOREIGN, Code.FLOW_LINK_FOREIGN, Code.FLOW_LIMIT_FOREIGN,
})  # fmt: skip

_LISTS: Final = {
    "names": ("persona", "instructions", "workspace_protected", "protected", "secret", "not_secret"),
    "project": ("protected",),
    "home": ("secret", "protected"),
}


@cache
def builtin_policy() -> Policy:
    """The built-in rules without any user's document."""
    data = shipped("builtin.toml")
    flow, assistant = shipped_flow("assistant")
    digest = sha256_hex(b"localgpt builtin policy v2\x00" + data + b"\x00" + assistant)
    return Policy(parse_table(data), (), digest, flow=flow)


def shipped_flow(name: str) -> tuple[FlowRules, bytes]:
    """What the shipped policy `name` says of flows, and its file.

    Raises:
        BuiltinBroken: it is missing or damaged.
    """
    data = shipped(f"{name}.toml")
    try:
        tree = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise broken(f"{name}.toml: {error}") from error
    return read_flow_rules(tree, lambda place, what: broken(f"{name}.toml: {place}: {what}")), data


def parse_table(data: bytes) -> Table:
    """Parse and check a built-in table.

    Raises:
        BuiltinBroken: an unknown or missing key or code, a wrong type, or a floor code that is not denied.
    """
    try:
        tree = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise broken(f"not TOML: {error}") from error
    if tree.keys() != {"version", "verdicts", *_LISTS} or tree["version"] != 1:
        raise broken("its keys or its version are not those of version 1")
    return _table(_verdicts(tree["verdicts"]), {name: _lists(name, tree[name]) for name in _LISTS})


def _table(verdicts: tuple[tuple[Code, Verdict], ...], lists: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Table:
    names, home = lists["names"], lists["home"]
    return Table(
        verdicts=verdicts,
        persona=names["persona"],
        instructions=names["instructions"],
        workspace_protected=names["workspace_protected"],
        protected_names=names["protected"],
        secret_names=names["secret"],
        not_secret_names=names["not_secret"],
        project_protected=lists["project"]["protected"],
        home_secret=home["secret"],
        home_protected=home["protected"],
    )


def _verdicts(section: object) -> tuple[tuple[Code, Verdict], ...]:
    if not isinstance(section, dict) or section.keys() != {code.value for code in Code if code not in _NOT_IN_TABLE}:
        raise broken("[verdicts] does not name every code exactly once")
    try:
        verdicts = tuple((Code(code), Verdict(verdict)) for code, verdict in section.items())
    except ValueError as error:
        raise broken(f"[verdicts]: {error}") from error
    loose = sorted(code for code, verdict in verdicts if code in FLOOR and verdict is not Verdict.DENY)
    if loose:
        raise broken(f"[verdicts] must deny {', '.join(loose)}")
    return verdicts


def _lists(name: str, section: Any) -> dict[str, tuple[str, ...]]:  # noqa: ANN401 -- whatever TOML held
    if not isinstance(section, dict) or section.keys() != set(_LISTS[name]):
        raise broken(f"[{name}] does not have exactly the keys {', '.join(_LISTS[name])}")
    for key, value in section.items():
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise broken(f"[{name}] {key} is not a list of names")
    return {key: tuple(cast("list[str]", value)) for key, value in section.items()}
