"""From a block's TOML tables to rules: every key known, every type right, every pattern able to match something."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, Final

from localgpt.policy import hosts
from localgpt.policy.authority import FlowRules
from localgpt.policy.errors import BadPattern, FlowTable, Position, RuleShape, UnknownKey, WrongType
from localgpt.policy.flowrules import TABLES as FLOW_TABLES
from localgpt.policy.flowrules import read_flow_rules
from localgpt.policy.model import Rule, Subject, Verdict

MAX_RULES: Final = 500
MAX_PATTERNS: Final = 100
_MAX_PATTERN_CHARS: Final = 512
_SUBJECTS: Final = tuple(subject.value for subject in Subject)
_OPTIONS: Final = ("reason", "even_when_tainted")
_KEY: Final = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*[.=]")
_HEADER: Final = re.compile(r"\s*\[\[?\s*[\"']?([^\]\"']*?)[\"']?\s*\]")


class Locator:
    """Finds where a key of the n-th table of a name stands, for error messages. One pass over the block's text."""

    def __init__(self, text: str, first_line: int) -> None:
        self.start = Position(first_line, 1)
        self._top: dict[str, Position] = {}
        self._tables: dict[tuple[str, int], Position] = {}
        self._keys: dict[tuple[str, int, str], Position] = {}
        seen: dict[str, int] = {}
        here = ("", -1)
        for number, line in enumerate(text.split("\n"), first_line):
            position = Position(number, len(line) - len(line.lstrip()) + 1)
            if header := _HEADER.match(line):
                name = header[1]
                seen[name] = seen.get(name, -1) + 1
                here = (name, seen[name])
                self._tables[here] = position
                self._top.setdefault(name, position)
            elif key := _KEY.match(line):
                self._keys.setdefault((*here, key[1]), position)
                self._top.setdefault(key[1], position)

    def table(self, name: str, index: int) -> Position:
        """The header of the `index`-th `[[name]]`, or the block's first line when it is written another way."""
        return self._tables.get((name, index), self.start)

    def key(self, name: str, index: int, key: str) -> Position:
        """The line of `key` in that table."""
        return self._keys.get((name, index, key)) or self.table(name, index)

    def top(self, key: str) -> Position:
        """The first line that begins with `key`, as a key or as a header."""
        return self._top.get(key, self.start)


def read_rules(tree: dict[str, Any], where: Locator) -> tuple[Rule, ...]:
    """Read the tables `[[deny]]`, `[[ask]]` and `[[allow]]` of one block.

    Raises:
        UnknownKey, WrongType, RuleShape, BadPattern
    """
    rules: list[Rule] = []
    for name, tables in tree.items():
        if name in FLOW_TABLES:
            continue  # `read_flow` reads them
        if name not in set(Verdict):
            raise UnknownKey(f"unknown key {name!r}{_near(name, (*Verdict, *FLOW_TABLES))}", where.top(name))
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise WrongType(f"write each rule as a table [[{name}]]", where.top(name))
        rules.extend(_rule(Verdict(name), index, table, where) for index, table in enumerate(tables))
    if len(rules) > MAX_RULES:
        raise RuleShape(f"{len(rules)} rules in one block; the limit is {MAX_RULES}", where.start)
    return tuple(sorted(rules, key=lambda rule: rule.line))


def read_flow(tree: dict[str, Any], where: Locator) -> FlowRules | None:
    """Read the flow tables of one block; None when it has none of them.

    Raises:
        FlowTable: an unknown key, a wrong type, or a number out of range.
    """
    if not any(name in tree for name in FLOW_TABLES):
        return None

    def complain(place: str, what: str) -> FlowTable:
        table, _, key = place.rpartition(".")
        return FlowTable(f"{place}: {what}", where.key(table, 0, key) if table else where.top(place))

    return read_flow_rules(tree, complain)


def _rule(verdict: Verdict, index: int, table: dict[str, Any], where: Locator) -> Rule:
    for key in table:
        if key not in (*_SUBJECTS, *_OPTIONS):
            near = _near(key, (*_SUBJECTS, *_OPTIONS))
            raise UnknownKey(f"unknown key {key!r} in [[{verdict}]]{near}", where.key(verdict, index, key))
    subjects = [Subject(key) for key in table if key in _SUBJECTS]
    if len(subjects) != 1:
        wanted = ", ".join(_SUBJECTS)
        raise RuleShape(f"a rule has exactly one of {wanted}; this has {len(subjects)}", where.table(verdict, index))
    if "even_when_tainted" in table and verdict is not Verdict.ALLOW:
        position = where.key(verdict, index, "even_when_tainted")
        raise RuleShape("even_when_tainted belongs to [[allow]]: a deny or ask always counts", position)
    (subject,) = subjects
    return Rule(
        verdict=verdict,
        subject=subject,
        patterns=_patterns(subject, table[subject], where.key(verdict, index, subject)),
        reason=_reason(table.get("reason", ""), where.key(verdict, index, "reason")),
        line=where.table(verdict, index).line,
        even_when_tainted=_flag(table.get("even_when_tainted", False), where.key(verdict, index, "even_when_tainted")),
    )


def _patterns(subject: Subject, value: object, position: Position) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise WrongType(f'{subject} is a list of strings, as {subject} = ["…"]', position)
    if not 0 < len(value) <= MAX_PATTERNS:
        raise WrongType(f"{subject} has {len(value)} entries; 1 to {MAX_PATTERNS} belong", position)
    for pattern in value:
        problem = _problem(subject, pattern)
        if problem:
            raise BadPattern(f"{pattern!r}: {problem}", position)
    return tuple(value)


def _problem(subject: Subject, pattern: str) -> str:
    if not pattern or len(pattern) > _MAX_PATTERN_CHARS or not pattern.isprintable():
        return f"a pattern has 1 to {_MAX_PATTERN_CHARS} printable characters"
    if subject in {Subject.READ, Subject.WRITE}:
        return _path_problem(pattern)
    if subject is Subject.CONNECT and not hosts.is_host_pattern(pattern):
        return "not a host, host:port, *.domain or *"
    if subject is Subject.MODEL and not hosts.is_host_pattern(pattern):
        return "not a provider's name, a host, *.domain or *"
    if subject is Subject.TOOL and not re.fullmatch(r"[A-Za-z0-9_.:/*?-]+", pattern):
        return "not a tool's name"
    return ""


def _path_problem(pattern: str) -> str:
    if set(pattern) & set("[]{}\\"):
        return "only *, ** and ? are special in a path pattern; brackets, braces and backslashes are not used"
    parts = pattern.split("/")
    if pattern.startswith("~") and parts[0] != "~":
        return "only ~/ names a home directory"
    if {".", ".."} & set(parts) or "" in parts[1:]:
        return "a path pattern has no empty, '.' or '..' part"
    if any("**" in part and part != "**" for part in parts):
        return "** stands alone between slashes"
    return ""


def _reason(value: object, position: Position) -> str:
    if not isinstance(value, str) or len(value) > 200 or not (value.isprintable() or not value):
        raise WrongType("reason is one line of at most 200 characters", position)
    return value


def _flag(value: object, position: Position) -> bool:
    if not isinstance(value, bool):
        raise WrongType("even_when_tainted is true or false", position)
    return value


def _near(key: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
