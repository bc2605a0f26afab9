"""The shipped rules: found in the installed package or the source tree, checked, and never silently incomplete."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from localgpt.crypto import sha256_hex
from localgpt.policy.errors import BuiltinBroken
from localgpt.policy.model import Code, Policy, Table, Verdict

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_REINSTALL: Final = "install the program again"

#: Codes that no line of the built-in table decides: a user's rule does, or the loss of the signed policy.
_NOT_IN_TABLE: Final = frozenset({Code.RULE_ALLOW, Code.RULE_ASK, Code.RULE_DENY, Code.POLICY_LOCKED})

#: Whatever the shipped file says, these are denied: a damaged table must not open them.
FLOOR: Final = frozenset({
    Code.READ_SECRET, Code.WRITE_SECRET, Code.WRITE_PROTECTED, Code.WRITE_UNTRUSTED_PROJECT, Code.RUN_EMPTY,
    Code.CONNECT_METADATA, Code.CONNECT_BAD_HOST, Code.CONNECT_CLEARANCE, Code.MODEL_CLEARANCE, Code.PATH_UNRESOLVED,
})  # fmt: skip

_LISTS: Final = {
    "names": ("persona", "instructions", "workspace_protected", "protected", "secret", "not_secret"),
    "project": ("protected",),
    "home": ("secret", "protected"),
}


def shipped(name: str) -> bytes:
    """Read one shipped policy file, as `builtin.toml`.

    Raises:
        BuiltinBroken: it is not there.
    """
    for directory in (_PACKAGE / "data" / "policies", _PACKAGE.parent.parent / "policies"):
        try:
            return (directory / name).read_bytes()
        except OSError:
            continue
    raise BuiltinBroken(f"the shipped policy file {name} is missing", cure=_REINSTALL)


@cache
def builtin_policy() -> Policy:
    """The built-in rules without any user's document."""
    data = shipped("builtin.toml")
    return Policy(parse_table(data), (), sha256_hex(b"localgpt builtin policy v1\x00" + data))


def parse_table(data: bytes) -> Table:
    """Parse and check a built-in table.

    Raises:
        BuiltinBroken: an unknown or missing key or code, a wrong type, or a floor code that is not denied.
    """
    try:
        tree = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _broken(f"not TOML: {error}") from error
    if tree.keys() != {"version", "verdicts", *_LISTS} or tree["version"] != 1:
        raise _broken("its keys or its version are not those of version 1")
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
        raise _broken("[verdicts] does not name every code exactly once")
    try:
        verdicts = tuple((Code(code), Verdict(verdict)) for code, verdict in section.items())
    except ValueError as error:
        raise _broken(f"[verdicts]: {error}") from error
    loose = sorted(code for code, verdict in verdicts if code in FLOOR and verdict is not Verdict.DENY)
    if loose:
        raise _broken(f"[verdicts] must deny {', '.join(loose)}")
    return verdicts


def _lists(name: str, section: Any) -> dict[str, tuple[str, ...]]:  # noqa: ANN401 -- whatever TOML held
    if not isinstance(section, dict) or section.keys() != set(_LISTS[name]):
        raise _broken(f"[{name}] does not have exactly the keys {', '.join(_LISTS[name])}")
    for key, value in section.items():
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise _broken(f"[{name}] {key} is not a list of names")
    return {key: tuple(cast("list[str]", value)) for key, value in section.items()}


def _broken(what: str) -> BuiltinBroken:
    return BuiltinBroken(f"the shipped rules are damaged: {what}", cure=_REINSTALL)
