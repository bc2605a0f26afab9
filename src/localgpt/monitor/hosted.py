"""Tools that somebody else carries out: an MCP server, a plugin, a test bench. Every call is decided and logged."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from localgpt.errors import LocalGptError
from localgpt.monitor.requests import Prepared
from localgpt.monitor.results import Ran
from localgpt.policy.acts import take_apart
from localgpt.policy.authority import Act, Json
from localgpt.policy.declarations import Declarations, Lookup
from localgpt.policy.values import fold
from localgpt.tools import HostedCall, ToolArgumentError
from localgpt.wire import ToolOutcome

_MAX_MEMBERS = 2000
_MEMBER_CHARS = 256


class HostFailed(LocalGptError):  # noqa: N818 -- named after the condition
    """The host of a tool reported an error; its text is foreign."""

    code = "tool.host-failed"


class ToolHost(Protocol):
    """Whoever carries out tools that are not built in."""

    @property
    def names(self) -> frozenset[str]:
        """The tools it has."""
        ...

    @property
    def declarations(self) -> Declarations:
        """What was declared of them; a tool without a declaration counts as a stranger's."""
        ...

    def call(self, name: str, arguments: dict[str, Any]) -> Json:
        """Carry out one call that was allowed.

        Raises:
            HostFailed: the tool failed; its effect may have happened.
        """
        ...


@dataclass(frozen=True, slots=True)
class NoHost:
    """No tools but the built-in ones."""

    names: frozenset[str] = frozenset()
    declarations: Declarations = field(default_factory=lambda: Declarations({}))

    def call(self, name: str, arguments: dict[str, Any]) -> Json:  # noqa: ARG002 -- the protocol
        raise HostFailed(f"there is no tool {name!r}")


def prepare_hosted(host: ToolHost, name: str, arguments_json: str) -> Prepared:
    """Check the form of a call and take it apart.

    Raises:
        ToolArgumentError: the arguments are not one JSON object.
    """
    arguments = parse_object(arguments_json)
    act = take_apart(host.declarations.spec(name), arguments)
    shown = (name, *(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items()))
    content = json.dumps(arguments, sort_keys=True).encode("utf-8", "replace")
    return Prepared(name, HostedCall(name, content.decode()), shown, (), content, (act,), "")


def parse_object(arguments_json: str) -> dict[str, Any]:
    """The arguments as a mapping.

    Raises:
        ToolArgumentError: they are not one JSON object, or name an argument twice.
    """
    try:
        value = json.loads(arguments_json or "{}", object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ToolArgumentError(f"the arguments are not valid JSON: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise ToolArgumentError("the arguments must be one JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an argument is given twice")
    return found


def act_of(prepared: Prepared) -> Act | None:
    """The taken-apart call of a hosted tool."""
    return next((effect for effect in prepared.effects if isinstance(effect, Act)), None)


def carry_out(host: ToolHost, call: HostedCall) -> tuple[Ran, Json]:
    """Let the host do it; its answer as text and as a value."""
    start = time.monotonic()
    try:
        value = host.call(call.tool, json.loads(call.arguments_json))
    except HostFailed as error:
        ran = Ran(ToolOutcome.FAILED, None, time.monotonic() - start, "", "the tool failed", problem=str(error))
        return ran, str(error)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Ran(ToolOutcome.DONE, None, time.monotonic() - start, text, "", output_bytes=len(text)), value


def members(host: ToolHost) -> frozenset[str]:
    """Who belongs to the zone, as the declared look-ups say when the session begins; frozen from then on.

    What is longer than a name, or spans lines, is no name: a channel may be called anything.
    """
    found: dict[str, list[str]] = {}
    for lookup in host.declarations.lookups:
        found[lookup.tool] = [
            name for arguments in _each(lookup, found) for name in _look(host, lookup.tool, arguments)
        ]
    named = {fold(name) for names in found.values() for name in names[:_MAX_MEMBERS]}
    return frozenset(name for name in named if 0 < len(name) <= _MEMBER_CHARS)


def _each(lookup: Lookup, found: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = [{}]
    for argument, other in lookup.each:
        calls = [{**call, argument: name} for call in calls for name in found.get(other, [])]
    return calls[:_MAX_MEMBERS]


def _look(host: ToolHost, name: str, arguments: dict[str, Any]) -> list[str]:
    try:
        value = host.call(name, arguments)
    except HostFailed:
        return []
    items = value if isinstance(value, list) else [value]
    names = [item for item in items if isinstance(item, str)]
    fields = host.declarations.spec(name).source
    ids = (fields.names | fields.ids | {"email", "mail", "address", "handle", "username"}) if fields else frozenset()
    for item in items:
        if isinstance(item, dict):
            names += [text for key, text in item.items() if key in ids and isinstance(text, str)]
    return [text for text in names if "\n" not in text]
