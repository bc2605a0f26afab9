"""Tables of cases: what a policy is meant to decide, checked by the engine itself.

A table is TOML: `version = 1` and `case`, a list of tables. Each case has one subject (`read`, `write`, `run`,
`connect`, `model`, `tool`, or `nothing = true`), the state of the session (`untrusted`, `secret`, `tainted`), and what
is expected: `verdict`, `code`, or both. An optional `[session]` says where home and project are.

Source: docs/spec/policy.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from localgpt.labels import Confidentiality, Integrity
from localgpt.policy.decide import decide_all
from localgpt.policy.errors import CasesMalformed
from localgpt.policy.model import (
    CallModel,
    Code,
    Connect,
    Decision,
    Effect,
    Flow,
    Policy,
    Reach,
    ReadPath,
    Request,
    Run,
    UnknownTool,
    Verdict,
    WritePath,
)
from localgpt.policy.review.witness import HOME, PROJECT, WORKSPACE
from localgpt.policy.scope import Places, make_scope

MAX_TABLE_BYTES: Final = 1024 * 1024
_SUBJECTS: Final = ("read", "write", "run", "connect", "model", "tool", "nothing")
_FLAGS: Final = ("untrusted", "secret", "tainted", "confirmed", "replaces", "nothing")
_TEXTS: Final = ("read", "write", "connect", "model", "tool", "reach", "host", "verdict", "code", "name")
_KEYS: Final = frozenset({*_SUBJECTS, *_FLAGS, *_TEXTS, "port"})
_SESSION: Final = {"home": HOME, "project": PROJECT, "workspace": WORKSPACE}
_HEADER: Final = re.compile(r"\s*\[\[\s*case\s*\]\]")
_INLINE: Final = re.compile(r"\s*(?:case\s*=\s*\[\s*)?\{")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a case expects; None for whatever comes. `line` counts from 1, 0 when it is not known."""

    name: str
    line: int
    verdict: Verdict | None
    code: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """One case about a single effect."""

    expected: Expectation
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case."""

    case: Expectation
    decision: Decision

    @property
    def passed(self) -> bool:
        wanted, got = self.case, self.decision
        return wanted.verdict in {None, got.verdict} and wanted.code in {None, got.code}

    @property
    def sentence(self) -> str:
        """Expected and given."""
        wanted = " ".join(filter(None, (self.case.verdict, self.case.code)))
        got = self.decision
        return f"expected {wanted}, and {got.rule} gives {got.verdict} {got.code}: {got.sentence}"


def parse_cases(data: bytes) -> tuple[Case, ...]:
    """Parse the bytes of a table.

    Raises:
        CasesMalformed
    """
    if len(data) > MAX_TABLE_BYTES:
        raise CasesMalformed(f"the table has {len(data)} bytes; the limit is {MAX_TABLE_BYTES}")
    try:
        text = data.decode("utf-8")
        tree = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise CasesMalformed(f"the table is not TOML: {error}") from error
    if tree.keys() - {"version", "session", "case"} or tree.get("version") != 1:
        raise CasesMalformed("a table has version = 1, [session] and case, and nothing else")
    cases, session = tree.get("case"), _session(tree.get("session", {}))
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise CasesMalformed("case is a list of tables")
    lines = case_lines(text, len(cases))
    return tuple(_case(case, line, session) for case, line in zip(cases, lines, strict=True))


def run_cases(policies: Sequence[Policy], cases: Sequence[Case]) -> tuple[Outcome, ...]:
    """Decide every case under the meet of `policies`."""
    return tuple(Outcome(case.expected, decide_all(policies, case.flow, case.request)) for case in cases)


def case_lines(text: str, count: int) -> list[int]:
    """The lines on which the cases of a table begin, zeros when they are written some other way."""
    numbered = list(enumerate(text.split("\n"), 1))
    for begins in (_HEADER, _INLINE):
        lines = [number for number, line in numbered if begins.match(line)]
        if len(lines) == count:
            return lines
    return [0] * count


def _session(tree: object) -> dict[str, str]:
    if not isinstance(tree, dict) or tree.keys() - _SESSION.keys():
        raise CasesMalformed(f"[session] has {', '.join(_SESSION)}, and nothing else")
    if not all(isinstance(value, str) and value.startswith("/") for value in tree.values()):
        raise CasesMalformed("[session] holds absolute paths")
    return {**_SESSION, **tree}


def _case(tree: dict[str, Any], line: int, session: dict[str, str]) -> Case:
    where = f"case at line {line}" if line else f"case {tree}"[:120]
    if unknown := tree.keys() - _KEYS:
        raise CasesMalformed(f"{where}: unknown key {', '.join(sorted(unknown))}")
    subjects = [key for key in _SUBJECTS if key in tree]
    if len(subjects) != 1:
        raise CasesMalformed(f"{where}: exactly one of {', '.join(_SUBJECTS)} belongs; this has {len(subjects)}")
    if not {"verdict", "code"} & tree.keys():
        raise CasesMalformed(f"{where}: it expects nothing; give verdict, code, or both")
    _check_types(tree, where)
    expected = Expectation(
        name=tree.get("name") or _spelled(tree, subjects[0]),
        line=line,
        verdict=_member(Verdict, tree.get("verdict"), where),
        code=_code(tree.get("code"), where),
    )
    return Case(expected, _request(tree, session, where), _flow(tree))


def _check_types(tree: dict[str, Any], where: str) -> None:
    for key, value in tree.items():
        if key == "run":
            right, wanted = isinstance(value, list) and all(isinstance(word, str) for word in value), "list of strings"
        else:
            kind = bool if key in _FLAGS else str if key in _TEXTS else int
            right, wanted = type(value) is kind, kind.__name__
        if not right:
            raise CasesMalformed(f"{where}: {key} is not a {wanted}")


def _request(tree: dict[str, Any], session: dict[str, str], where: str) -> Request:
    places = Places(
        session["home"],
        session["workspace"],
        private=(f"{session['home']}/data/localgpt.device.key",),
        own=(f"{session['home']}/state", f"{session['home']}/config/config.toml"),
    )
    trusted = not tree.get("untrusted", False)
    scope = make_scope(places, session["project"], trusted=trusted, read_roots=("/usr",), resolve=str)
    tool = tree.get("tool", "shell" if "run" in tree else "example")
    return Request(tool, _effects(tree, where), scope)


def _effects(tree: dict[str, Any], where: str) -> tuple[Effect, ...]:
    if "read" in tree:
        return (ReadPath(tree["read"]),)
    if "write" in tree:
        return (WritePath(tree["write"], tree.get("replaces", False)),)
    if "run" in tree:
        return (Run(tuple(tree["run"])),)
    if "connect" in tree:
        return (Connect(tree["connect"], tree.get("port")),)
    if "model" in tree:
        reach = _member(Reach, tree.get("reach", "hosted"), where) or Reach.HOSTED
        host = tree.get("host", "api.example.com")
        return (CallModel(tree["model"], host, reach, confirmed=tree.get("confirmed", False)),)
    return (UnknownTool(tree["tool"]),) if "tool" in tree else ()


def _flow(tree: dict[str, Any]) -> Flow:
    return Flow(
        Integrity.UNTRUSTED if tree.get("tainted") else Integrity.USER,
        Confidentiality.SECRET if tree.get("secret") else Confidentiality.PUBLIC,
    )


def _member(kind: Any, value: str | None, where: str) -> Any:  # noqa: ANN401 -- an enumeration and its member
    try:
        return None if value is None else kind(value)
    except ValueError as error:
        raise CasesMalformed(f"{where}: {value!r} is not one of {', '.join(kind)}") from error


def _code(value: str | None, where: str) -> str | None:
    _member(Code, value, where)
    return value


def _spelled(tree: dict[str, Any], subject: str) -> str:
    value = tree[subject]
    what = " ".join(value) if isinstance(value, list) else str(value)
    state = [flag for flag in ("untrusted", "secret", "tainted") if tree.get(flag)]
    return f"{subject} {what}" + (f" ({', '.join(state)})" if state else "")
