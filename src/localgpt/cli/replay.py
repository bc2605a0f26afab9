"""``localgpt audit replay``: decide the log again under another policy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from localgpt.cli.reports import Format, Report, Result, print_report
from localgpt.cli.state import state_of
from localgpt.errors import ExitStatus


def replay(
    ctx: typer.Context,
    document: Annotated[Path, typer.Argument(help="The policy to decide under, signed or not.")],
    *,
    session: Annotated[str, typer.Option("--session", help="Only sessions whose id begins so.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Also what would be decided as it was.")] = False,
    output: Annotated[Format, typer.Option("--output", "-o", help="text, json, sarif (2.1.0) or junit.")] = Format.TEXT,
    json: Annotated[bool, typer.Option("--json", help="The same as --output json.")] = False,
) -> int:
    """Say which recorded decisions another policy would make otherwise; what cannot be rebuilt counts as unknown."""
    from localgpt.audit.query import Query, read_entries
    from localgpt.cli.policy import policy_in
    from localgpt.monitor.replay import KINDS, Replayed, Replayer

    state = state_of(ctx)
    replayer = Replayer(policy_in(document), state.paths, state.config, state.agent)
    entries = read_entries(state.paths.audit_dir, Query(kinds=KINDS, session=session))
    found: list[Replayed] = list(replayer.replay(entries))
    counted = Counter(each.result.value for each in found)
    shown = tuple(_result(each) for each in found if all_ or each.result.value in {"looser", "stricter"})
    summary = ", ".join(f"{counted[kind]} {kind}" for kind in ("same", "looser", "stricter", "unknown"))
    codes = {
        "replay.looser": "More would have been allowed.",
        "replay.stricter": "Less would have been allowed.",
        "replay.same": "Decided as it was.",
        "replay.unknown": "Not enough of it was recorded to decide it again.",
    }
    report = Report("audit replay", shown, codes, summary, {"counts": dict(counted)}, show_passed=all_)
    print_report(report, Format.JSON if json else output)
    return ExitStatus.FAILED if counted["looser"] else ExitStatus.DONE


_LEVELS = {"looser": "warning", "stricter": "note", "same": "none", "unknown": "note"}


def _result(each: object) -> Result:
    from localgpt.monitor.replay import Replayed

    assert isinstance(each, Replayed)
    what = f"entry {each.seq}: {each.tool} {each.what}".rstrip()
    if each.decision is None:
        message = f"{what} was {each.verdict} ({each.code}); unknown, because {each.note}"
    else:
        now = each.decision
        message = f"{what} was {each.verdict} ({each.code}), would be {now.verdict} ({now.code}, {now.rule})"
    return Result(f"replay.{each.result.value}", _LEVELS[each.result.value], message, name=what)
