"""Deciding a recorded log again under another policy: what would have been answered differently.

The log holds digests, not contents. A flow is found again by trying the few there are; a request is rebuilt from the
entry's fields and, for commands, from the session's own file, and counts only when its digest is the recorded one. What
cannot be rebuilt is said to be unknown, and is never guessed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Final

from localgpt.agent.entries import read_entry, read_line
from localgpt.audit.entry import Entry
from localgpt.config import Config, Paths
from localgpt.labels import Confidentiality, Integrity
from localgpt.monitor.journal import flow_digest, request_digest, token
from localgpt.monitor.places import session_scope
from localgpt.monitor.project import Project
from localgpt.policy import (
    CallModel,
    Code,
    Decision,
    Effect,
    Flow,
    Policy,
    Reach,
    ReadPath,
    Request,
    Run,
    Scope,
    UnknownTool,
    Verdict,
    WritePath,
    decide,
)
from localgpt.policy.decide import builtin_decision
from localgpt.policy.model import strictness

KINDS: Final = frozenset({"session.start", "decision"})
_FLOWS: Final = {flow_digest(Flow(i, c)): Flow(i, c) for i, c in product(Integrity, Confidentiality)}
_CODES: Final = frozenset(code.value for code in Code)
_BUILTIN: Final = "built-in"


class Result(StrEnum):
    """What became of one decision."""

    SAME = "same"
    LOOSER = "looser"
    STRICTER = "stricter"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision. `what`: the subject as far as it is known (foreign text). `decision` is None when the result is
    UNKNOWN, and `note` says why."""

    seq: int
    session: str
    tool: str
    what: str
    verdict: str
    code: str
    result: Result = Result.UNKNOWN
    decision: Decision | None = None
    note: str = ""


@dataclass(slots=True)
class _Session:
    """What the log says of a session, and what its file says of its commands, by the call's id."""

    scope: Scope | None = None
    commands: Mapping[str, str] = field(default_factory=dict)


class Replayer:
    """Decides entries again, in the order of the log."""

    def __init__(self, policy: Policy, paths: Paths, config: Config, agent: str) -> None:
        self._policy = policy
        self._paths = paths
        self._config = config
        self._sessions_dir = paths.sessions_dir(agent)
        self._sessions: dict[str, _Session] = {}

    def replay(self, entries: Iterable[Entry]) -> Iterator[Replayed]:
        """Give one result for each decision."""
        for entry in entries:
            if entry.kind == "session.start":
                self._sessions[entry.session] = self._begin(entry)
            elif entry.kind == "decision":
                yield self._decision(entry, self._sessions.get(entry.session) or _Session())

    def _begin(self, entry: Entry) -> _Session:
        project = Project(Path(str(entry.fields["project"])), trusted=entry.fields["project_trusted"] is True)
        scope = session_scope(project, self._config.sandbox, self._paths)
        return _Session(scope, commands_of(self._sessions_dir / f"{entry.session}.jsonl"))

    def _decision(self, entry: Entry, session: _Session) -> Replayed:
        fields = entry.fields
        known = Replayed(
            entry.seq,
            entry.session,
            str(fields["tool"]),
            str(fields.get("path") or fields.get("host") or fields.get("argv0") or ""),
            str(fields["verdict"]),
            str(fields["code"]),
        )
        flow = _FLOWS.get(str(fields["flow"])) if "flow" in fields else Flow()
        if known.code not in _CODES:
            return replace(known, note="it was not the policy that decided")
        if flow is None:
            return replace(known, note="the labels of its context are of another version")
        if session.scope is None:
            return replace(known, note="the log does not hold the beginning of its session")
        effects = effects_of(entry, session.commands.get(str(fields["call"]), ""))
        if effects is None:
            return replace(known, note="what it would have done is neither in the log nor in its session's file")
        request = Request(known.tool, effects, _as_then(session.scope, effects, known.code))
        if fields.get("rule") == _BUILTIN and known.code not in _builtin_codes(self._policy, flow, request):
            return replace(known, note="its folders or the built-in rules have changed since")
        return _compared(known, decide(self._policy, flow, request))


def _compared(known: Replayed, decision: Decision) -> Replayed:
    before, after = strictness(Verdict(known.verdict)), strictness(decision.verdict)
    result = Result.SAME if before == after else Result.LOOSER if after < before else Result.STRICTER
    return replace(known, result=result, decision=decision)


def _as_then(scope: Scope, effects: tuple[Effect, ...], code: str) -> Scope:
    """A path that the plan of then could read is readable: the plan itself is not in the log."""
    if code != Code.READ_PLAN:
        return scope
    paths = (effect.path for effect in effects if isinstance(effect, ReadPath))
    return replace(scope, read_roots=(*scope.read_roots, *paths))


def _builtin_codes(policy: Policy, flow: Flow, request: Request) -> set[str]:
    found = {builtin_decision(policy, flow, request, effect).code for effect in request.effects}
    return found or {Code.REQUEST_NO_EFFECT.value}


def effects_of(entry: Entry, command: str) -> tuple[Effect, ...] | None:
    """The effects of a decision, None when the entry and the command do not tell.

    What has a recorded digest counts only when the rebuilt request has the same.
    """
    fields = entry.fields
    tool, kinds, path = str(fields["tool"]), fields.get("effects"), str(fields.get("path", ""))
    if tool == "model":
        return (_model(fields),)
    if not isinstance(kinds, list):
        return (UnknownTool(tool),) if fields["code"] == Code.TOOL_UNKNOWN else None
    made: list[Effect] = []
    for kind in kinds:
        if kind == "run":
            made.append(Run((str(fields.get("argv0", "")), "-c", command)))
        elif kind in {"read", "write"} and path:
            made.append(ReadPath(path) if kind == "read" else WritePath(path))
        else:
            return None
    return tuple(made) if request_digest(tool, tuple(made)) == fields.get("request") else None


def _model(fields: Mapping[str, object]) -> CallModel:
    """A model call: its reach and whether it was confirmed are in the code; the provider is known by its host."""
    code, host = str(fields["code"]), str(fields.get("host", ""))
    reach = Reach.LOOPBACK if code == Code.MODEL_LOCAL else Reach.HOSTED
    return CallModel(host, host, reach, confirmed=code != Code.MODEL_HOSTED)


def commands_of(file: Path) -> dict[str, str]:
    """The shell commands in a session's file, by the id that the log has for the call."""
    found: dict[str, str] = {}
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return found
    for line in lines:
        value = read_line(line)
        entry = None if value is None else read_entry(value)
        for call in () if entry is None else entry.tool_calls:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                found[token(call.id)] = str(json.loads(call.arguments_json)["command"])
    return found
