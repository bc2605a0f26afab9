"""Concrete requests that a rule speaks of, for showing what it does: a session that nobody has, and things in it."""

from __future__ import annotations

from itertools import product
from typing import Final

from localgpt.labels import Confidentiality, Integrity
from localgpt.policy import hosts
from localgpt.policy.model import (
    CallModel,
    Connect,
    Effect,
    Flow,
    Reach,
    ReadPath,
    Request,
    Rule,
    Run,
    Scope,
    Subject,
    UnknownTool,
    WritePath,
)
from localgpt.policy.scope import Places, make_scope

HOME: Final = "/home/user"
PROJECT: Final = f"{HOME}/project"
WORKSPACE: Final = f"{HOME}/.local/share/localgpt/workspace"
_OWN: Final = (f"{HOME}/.local/state/localgpt", f"{HOME}/.config/localgpt")
_MAX_EXAMPLES: Final = 60
#: Confidentiality is left at its lowest: what a secret context denies, no rule lowers.
FLOWS: Final = (Flow(), Flow(integrity=Integrity.UNTRUSTED), Flow(confidentiality=Confidentiality.SECRET))


def example_scope(*, trusted: bool = True, project: str = PROJECT) -> Scope:
    """A session in a project of a user's home."""
    places = Places(HOME, WORKSPACE, private=(f"{HOME}/.local/share/localgpt/localgpt.device.key",), own=_OWN)
    return make_scope(places, project, trusted=trusted, read_roots=("/usr",), resolve=str)


def requests_of(rule: Rule, *, tools: tuple[str, ...] = ("shell",)) -> tuple[Request, ...]:
    """Requests that `rule` matches, in a trusted and in an untrusted project."""
    names = _tool_names(rule.patterns, tools) if rule.subject is Subject.TOOL else ("example",)
    pairs = product(names, (True, False), effects_of(rule))
    return tuple(Request(name, (effect,), example_scope(trusted=trusted)) for name, trusted, effect in pairs)


def effects_of(rule: Rule) -> tuple[Effect, ...]:
    """Effects that `rule` matches; for a rule on tools one of each kind."""
    if rule.subject is Subject.ARGV:
        return (Run(tuple(word.replace("*", "x") for word in rule.patterns)),)
    if rule.subject is Subject.TOOL:
        return _EACH
    found = [effect for pattern in rule.patterns for effect in _effects(rule.subject, pattern)]
    return tuple(dict.fromkeys(found))[:_MAX_EXAMPLES]


_EACH: Final[tuple[Effect, ...]] = (
    ReadPath(f"{PROJECT}/a.txt"),
    ReadPath("/srv/a.txt"),
    WritePath(f"{PROJECT}/a.txt"),
    WritePath("/srv/a.txt"),
    Run(("make",)),
    Connect("example.com", 443),
    UnknownTool("example"),
)


def _effects(subject: Subject, pattern: str) -> list[Effect]:
    if subject is Subject.READ:
        return [ReadPath(path) for path in paths_of(pattern)]
    if subject is Subject.WRITE:
        return [WritePath(path) for path in paths_of(pattern)]
    host, port = hosts.split_port(pattern)
    names = ["example.com"] if host == "*" else [host.replace("*", "sub", 1)]
    if subject is Subject.CONNECT:
        return [Connect(name, port or 443) for name in names]
    if "." in host or ":" in host:
        return [CallModel("example", names[0], Reach.HOSTED, confirmed=known) for known in (False, True)]
    provider = "example" if host == "*" else host
    return [CallModel(provider, "api.example.com", Reach.HOSTED, confirmed=known) for known in (False, True)]


def paths_of(pattern: str) -> list[str]:
    """Absolute paths that a path pattern matches."""
    root, rest = PROJECT, pattern
    if pattern == "~" or pattern.startswith("~/"):
        root, rest = HOME, pattern[2:]
    elif pattern.startswith("/"):
        root, rest = "", pattern[1:]
    elif pattern.startswith("**/"):
        return [f"{place}/{tail}".rstrip("/") for place in (PROJECT, HOME, "/srv") for tail in _tails(pattern[3:])]
    return [f"{root}/{tail}".rstrip("/") or "/" for tail in _tails(rest)]


def _tails(pattern: str) -> list[str]:
    """Each `**` stands for nothing, for one name and for two."""
    tails = [""]
    for part in pattern.split("/"):
        choices = ("x", "", "x/y") if part == "**" else (part.replace("*", "x").replace("?", "x"),)
        tails = ["/".join(filter(None, (tail, choice))) for tail in tails for choice in choices][:_MAX_EXAMPLES]
    return tails


def _tool_names(patterns: tuple[str, ...], tools: tuple[str, ...]) -> tuple[str, ...]:
    from_pattern = tuple(pattern.replace("*", "x").replace("?", "x") for pattern in patterns if pattern != "*")
    return from_pattern or tools
