"""Declarations of tools and sources: TOML in, checked values out.

Source: docs/spec/declarations.md. A stranger can write one for a tool this project has never heard of; what is not
declared is an external sink and a stranger's words.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

from localgpt.labels import Confidentiality, Integrity
from localgpt.policy.authority import NO_ZONE, Kind, Role, Source, ToolSpec, Zone, unknown_tool
from localgpt.policy.errors import BadDeclaration
from localgpt.policy.flowrules import read_clearance, read_zone
from localgpt.policy.lexicon import Pattern, own_grants

_Member = TypeVar("_Member", bound=StrEnum)

MAX_BYTES: Final = 256 * 1024
_TOP: Final = ("version", "tool", "source", "zone", "grant")
_ROLES: Final = tuple(role.value for role in Role)
_TOOL_KEYS: Final = ("effect", "grant", "service", "clearance", *_ROLES)
_LISTS: Final = ("attested", "secret", "public", "keys", "ids", "names", "senders", "readers")
_SOURCE_KEYS: Final = ("label", "clock", *_LISTS)


@dataclass(frozen=True, slots=True)
class Lookup:
    """A call that the monitor makes when a session begins, to learn who belongs to the zone.

    `each` maps an argument to another look-up's tool, whose every result is tried.
    """

    tool: str
    each: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Declarations:
    """What is known of a set of tools. `words`: patterns of grants that the lexicons do not have, by language."""

    tools: Mapping[str, ToolSpec]
    zone: Zone = NO_ZONE
    lookups: tuple[Lookup, ...] = ()
    words: Mapping[str, Mapping[str, tuple[Pattern, ...]]] = field(default_factory=dict)

    def spec(self, name: str) -> ToolSpec:
        """The tool of that name; one that nobody declared is an external sink and an untrusted source."""
        return self.tools.get(name) or unknown_tool(name)


def parse_declarations(data: bytes) -> Declarations:
    """Read one file of declarations.

    Raises:
        BadDeclaration: it is not TOML, has an unknown key or a wrong type; the text names the table and the cure.
    """
    if len(data) > MAX_BYTES:
        raise _bad("the file", f"has {len(data)} bytes; the limit is {MAX_BYTES}")
    try:
        tree = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _bad("the file", f"is not TOML: {error}") from error
    return declarations_of(tree)


def declarations_of(tree: Mapping[str, Any]) -> Declarations:
    """Read declarations from parsed TOML.

    Raises:
        BadDeclaration: an unknown key or a wrong type.
    """
    _known("the file", tree, _TOP)
    if tree.get("version") != 1:
        raise _bad("version", "must be 1")
    sources = {name: _source(f"source.{name}", table) for name, table in _tables(tree, "source").items()}
    tools = {name: _tool(f"tool.{name}", name, table, sources) for name, table in _tables(tree, "tool").items()}
    reads = {name: ToolSpec(name, Kind.READ, source=source) for name, source in sources.items() if name not in tools}
    zone = _tables(tree, "zone").get("own", {})
    _known("zone", _tables(tree, "zone"), ("own",))
    return Declarations(
        MappingProxyType(reads | tools),
        read_zone(zone, _bad),
        _lookups(zone.get("lookup", [])),
        own_grants(_grant_words(_tables(tree, "grant"))),
    )


def merge(first: Declarations, second: Declarations) -> Declarations:
    """Both together; a tool that both declare keeps its first declaration."""
    zone = Zone(
        tuple(dict.fromkeys((*first.zone.domains, *second.zone.domains))),
        first.zone.members | second.zone.members,
        min(first.zone.clearance, second.zone.clearance, key=list(Confidentiality).index),
    )
    words = {
        language: {**second.words.get(language, {}), **first.words.get(language, {})}
        for language in {*first.words, *second.words}
    }
    return Declarations(
        MappingProxyType({**second.tools, **first.tools}), zone, (*first.lookups, *second.lookups), words
    )


def _tables(tree: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    table = tree.get(key, {})
    if not isinstance(table, dict) or not all(isinstance(each, dict) for each in table.values()):
        raise _bad(key, f"is written as tables [{key}.NAME]")
    return table


def _source(where: str, table: Mapping[str, Any]) -> Source:
    _known(where, table, _SOURCE_KEYS)
    label = table.get("label", {})
    if not isinstance(label, dict):
        raise _bad(where, 'label is written as { integrity = "…", confidentiality = "…" }')
    _known(f"{where}.label", label, ("integrity", "confidentiality"))
    source = Source(
        integrity=_one(where, Integrity, label.get("integrity", "untrusted")),
        confidentiality=_one(where, Confidentiality, label.get("confidentiality", "private")),
        clock=_flag(where, "clock", table.get("clock", False)),
    )
    if source.integrity in {Integrity.USER, Integrity.POLICY}:
        raise _bad(where, "no tool speaks with the authority of the user or of the policy")
    lists: dict[str, Any] = {key: frozenset(_names(where, key, table[key])) for key in _LISTS if key in table}
    return replace(source, **lists)


def _tool(where: str, name: str, table: Mapping[str, Any], sources: Mapping[str, Source]) -> ToolSpec:
    _known(where, table, _TOOL_KEYS)
    if "effect" not in table:
        raise _bad(where, f"effect is missing: one of {', '.join(Kind)}")
    kind = _one(where, Kind, table["effect"])
    roles: dict[str, Role] = {}
    for role in Role:
        for path in _names(where, role.value, table.get(role.value, [])):
            if path in roles:
                raise _bad(where, f"the argument {path!r} has two roles")
            roles[path] = role
    asking = kind in {Kind.READ, Kind.QUERY, Kind.FETCH}
    return ToolSpec(
        name,
        kind,
        _text(where, "grant", table.get("grant", "")),
        MappingProxyType(roles),
        sources.get(name, Source() if asking else None),
        _text(where, "service", table.get("service", "")),
        read_clearance(where, table.get("clearance", "public"), _bad),
    )


def _lookups(tables: object) -> tuple[Lookup, ...]:
    if not isinstance(tables, list):
        raise _bad("zone.own", "lookup is written as tables [[zone.own.lookup]]")
    found = []
    for table in tables:
        _known("zone.own.lookup", table, ("tool", "each"))
        each = table.get("each", {})
        if not isinstance(table.get("tool"), str) or not isinstance(each, dict):
            raise _bad("zone.own.lookup", 'has tool = "NAME" and perhaps each = { argument = "OTHER TOOL" }')
        found.append(Lookup(table["tool"], tuple(each.items())))
    return tuple(found)


def _grant_words(tables: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    for name, languages in tables.items():
        for language, lines in languages.items():
            _names(f"grant.{name}", language, lines)
    return tables


def _known(where: str, table: object, keys: tuple[str, ...]) -> None:
    if not isinstance(table, dict):
        raise _bad(where, "is a table")
    for key in table:
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            raise _bad(where, f"unknown key {key!r}{f'; did you mean {near[0]!r}?' if near else ''}")


def _names(where: str, key: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise _bad(where, f"{key} is a list of names")
    return value


def _text(where: str, key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > 200 or not (value.isprintable() or not value):
        raise _bad(where, f"{key} is one short line of text")
    return value


def _flag(where: str, key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _bad(where, f"{key} is true or false")
    return value


def _one(where: str, kind: type[_Member], value: object) -> _Member:
    try:
        return kind(str(value))
    except ValueError:
        raise _bad(where, f"{value!r} is none of {', '.join(kind)}") from None


def _bad(where: str, what: str) -> BadDeclaration:
    return BadDeclaration(f"{where}: {what}", cure="see docs/spec/declarations.md")
