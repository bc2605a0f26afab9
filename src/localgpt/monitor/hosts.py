"""Hosts as effects of a call: parsed, turned into patterns of a plan, and called by their name as sinks. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from localgpt.policy import Connect, Decision, Effect
from localgpt.sandbox.hosts import is_shared, normalise_pattern, shown

DEFAULT_PORT: Final = 443


def parse_host(text: str) -> Connect | None:
    """The effect that ``HOST`` or ``HOST:PORT`` names; without a port HTTPS is meant. None when it is neither."""
    pattern = normalise_pattern(text)
    if pattern is None or "*" in pattern:
        return None
    host, colon, port = pattern.rpartition(":")
    if not colon or (pattern.startswith("[") and pattern.endswith("]")) or ("]" not in pattern and ":" in host):
        return Connect(pattern.strip("[]"), DEFAULT_PORT)
    return Connect(host.strip("[]"), int(port))


def hosts_of(effects: Iterable[Effect]) -> tuple[str, ...]:
    """What a plan needs for these effects, as its patterns."""
    return tuple(dict.fromkeys(shown(each.host, each.port) for each in effects if isinstance(each, Connect)))


def with_sinks(decision: Decision, effects: Iterable[Effect]) -> Decision:
    """The decision, saying whom a command would reach, and which of those hosts anybody can rent a corner of."""
    hosts = [each for each in effects if isinstance(each, Connect)]
    if not hosts:
        return decision
    places = ", ".join(shown(each.host, each.port) for each in hosts)
    shared = ", ".join(dict.fromkeys(each.host for each in hosts if is_shared(each.host)))
    said = f"{decision.sentence} It could send everything that it can read to {places}."
    if shared:
        said += f" Many share {shared}: whoever steers the command can send it to an account of their own there."
    return replace(decision, sentence=said)
