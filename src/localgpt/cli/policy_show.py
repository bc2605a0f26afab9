"""``localgpt policy show`` and ``explain``: what applies, and why something gets the answer it gets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localgpt.cli.output import say, say_json, say_table
from localgpt.cli.state import State, state_of
from localgpt.errors import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localgpt.policy import Effect, Policy, Request, Rule
    from localgpt.policy.review import Explanation

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_KINDS = ("read", "write", "run", "connect", "model", "tool")


def show(
    ctx: typer.Context,
    builtin: Annotated[bool, typer.Option("--builtin", help="The built-in table as well.")] = False,
    json: _Json = False,
) -> None:
    """Print what applies now: state, rules in the order in which they decide, and what is built in."""
    from localgpt.cli.trust import open_store
    from localgpt.policy.emit import emit_flow

    store = open_store(state_of(ctx))
    applies = store.load()
    rules = list(dict.fromkeys(rule for policy in applies.policies for rule in policy.rules))
    table = {code.value: verdict.value for code, verdict in applies.policies[0].table.verdicts}
    if json:
        say_json(
            {
                "state": applies.state.value,
                "document": str(store.document_path),
                "digest": applies.digest,
                "locked": any(policy.locked for policy in applies.policies),
                "prose": applies.prose,
                "rules": [_as_object(rule) for rule in rules],
                "flow": emit_flow(applies.policies[-1].flow),
                **({"builtin": table} if builtin else {}),
            }
        )
        return
    say(f"Policy: {applies.state.value.upper().replace('-', ' ')} ({applies.status.detail})")
    for note in applies.notes:
        say(f"note: {note}")
    if any(policy.locked for policy in applies.policies):
        say("locked: only reading and local models, until LocalGPT.md is signed again")
    from localgpt.policy.model import strictness

    ordered = sorted(rules, key=lambda rule: -strictness(rule.verdict))
    say_table(_row(rule) for rule in ordered)
    say(f"{len(rules)} rules; {len(applies.prose)} characters of prose go to the model")
    if builtin:
        say("\nabout flows:\n" + "\n".join(emit_flow(applies.policies[-1].flow)))
        say("built in:")
        say_table((code, verdict) for code, verdict in table.items())


def _row(rule: Rule) -> tuple[str, ...]:
    more = "even when tainted" if rule.even_when_tainted else ""
    return (f"{rule.verdict}", f"{rule.subject}", ", ".join(rule.patterns), more, rule.reason)


def _as_object(rule: Rule) -> dict[str, object]:
    return {
        "verdict": rule.verdict.value,
        "subject": rule.subject.value,
        "patterns": list(rule.patterns),
        "reason": rule.reason,
        "line": rule.line,
        "even_when_tainted": rule.even_when_tainted,
    }


def explain(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(help="read, write, run, connect, model, tool, or a decision's code.")],
    what: Annotated[list[str] | None, typer.Argument(help="A path, a host, a name; for run the words.")] = None,
    *,
    document: Annotated[Path | None, typer.Option("--policy", help="Another document than the signed one.")] = None,
    tainted: Annotated[bool, typer.Option("--tainted", help="As if a stranger's text were in the context.")] = False,
    secret: Annotated[bool, typer.Option("--secret", help="As if something secret were in the context.")] = False,
    untrusted: Annotated[bool, typer.Option("--untrusted", help="As if this folder were not trusted.")] = False,
    json: _Json = False,
) -> int:
    """Say what would be decided here, by which rule, and what else speaks of it. Nothing is done."""
    if kind not in _KINDS:
        return _explain_code(kind, what or [], json=json)
    if not what or (len(what) > 1 and kind != "run"):
        raise typer.BadParameter(
            f"{kind} takes {'a command: run -- ARGV...' if kind == 'run' else 'exactly one value'}"
        )
    from localgpt.labels import Confidentiality, Integrity
    from localgpt.policy import Flow
    from localgpt.policy.review import explain as explain_request

    state = state_of(ctx)
    request = _request(state, kind, what, trusted=not untrusted)
    flow = Flow(
        Integrity.UNTRUSTED if tainted else Integrity.USER, Confidentiality.SECRET if secret else Confidentiality.PUBLIC
    )
    told = explain_request(_policies(state, document), flow, request)
    if json:
        say_json(_told(told))
    else:
        _print(told)
    return ExitStatus.DONE


def _explain_code(code: str, rest: list[str], *, json: bool) -> int:
    from localgpt.policy import Code, builtin_policy
    from localgpt.policy.sentences import explain as sentence

    known = [each.value for each in Code]
    if rest or code not in known:
        from difflib import get_close_matches

        near = get_close_matches(code, [*_KINDS, *known], n=1)
        raise typer.BadParameter(
            f"{code!r} is neither one of {', '.join(_KINDS)} nor a code" + (f"; {near[0]}?" if near else "")
        )
    verdict = dict(builtin_policy().table.verdicts).get(Code(code))
    text = sentence(Code(code), "…")
    if json:
        say_json({"code": code, "verdict": verdict and verdict.value, "sentence": text})
    else:
        say(f"{code}: {verdict or 'decided by your rules or by the state of the policy'}")
        say(text)
    return ExitStatus.DONE


def _policies(state: State, document: Path | None) -> Sequence[Policy]:
    from localgpt.cli.trust import open_store

    if document is None:
        return open_store(state).load().policies
    from localgpt.cli.policy import policy_in

    return [policy_in(document)]


def _request(state: State, kind: str, what: list[str], *, trusted: bool) -> Request:
    """What would be asked in this folder."""
    import os

    from localgpt.monitor.places import session_scope
    from localgpt.monitor.project import Project
    from localgpt.policy import Request

    scope = session_scope(Project(Path(os.path.realpath(Path.cwd())), trusted), state.config.sandbox, state.paths)
    tool = {"run": "shell", "read": "read_file", "write": "write_file"}.get(kind, what[0])
    return Request(tool, (_effect(kind, what),), scope)


def _effect(kind: str, what: list[str]) -> Effect:
    import os

    from localgpt.policy import CallModel, Connect, Reach, ReadPath, Run, UnknownTool, WritePath
    from localgpt.policy.hosts import split_port

    if kind in {"read", "write"}:
        path = os.path.realpath(Path(what[0]).expanduser())
        return ReadPath(path) if kind == "read" else WritePath(path)
    if kind == "run":
        return Run(tuple(what))
    if kind == "connect":
        return Connect(*split_port(what[0]))
    if kind == "model":
        return CallModel(what[0], what[0], Reach.HOSTED, confirmed=False)
    return UnknownTool(what[0])


def _told(told: Explanation) -> dict[str, object]:
    return {
        "verdict": told.decision.verdict.value,
        "code": told.decision.code,
        "rule": told.decision.rule,
        "sentence": told.decision.sentence,
        "effects": [
            {
                "what": effect.what,
                "builtin": {"verdict": effect.builtin.verdict.value, "code": effect.builtin.code},
                "commands": None if effect.commands is None else [list(command) for command in effect.commands],
                "rules": [
                    {**_as_object(spoke.rule), "match": spoke.match.value, "counts": spoke.counts}
                    for spoke in effect.rules
                ],
            }
            for effect in told.effects
        ],
    }


def _print(told: Explanation) -> None:
    decision = told.decision
    say(f"{decision.verdict.upper()}  {decision.code}  by {decision.rule}")
    say(decision.sentence)
    for effect in told.effects:
        say(f"built in: {effect.builtin.verdict} ({effect.builtin.code})")
        for command in effect.commands or ():
            say(f"  runs: {' '.join('?' if word is None else word for word in command)}")
        for spoke in effect.rules:
            rule = spoke.rule
            unless = "" if spoke.counts else "; not counted, because a stranger's text is in the context"
            maybe = "; only maybe: a word is known when it runs" if spoke.match.value == "maybe" else ""
            say(f"  line {rule.line}: {rule.verdict} {rule.subject} {', '.join(rule.patterns)}{maybe}{unless}")
