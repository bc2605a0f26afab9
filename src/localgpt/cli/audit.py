"""``localgpt audit``: show and verify the log of every decision."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import safe, say, say_json, say_json_line, say_table
from localgpt.cli.replay import replay
from localgpt.cli.state import state_of
from localgpt.errors import AuditError, ExitStatus

if TYPE_CHECKING:
    from localgpt.audit.entry import Entry
    from localgpt.audit.report import Report

app = new_app(no_args_is_help=True, help="Show and verify the log of every decision.")

app.command(
    epilog="""
\b
Examples:
  localgpt audit replay NEW.md
  localgpt audit replay NEW.md --all --json
\b
Exit status: 0 nothing would have been allowed that was not, 1 something would, 3 the document is no policy.
"""
)(replay)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(
    epilog="""
\b
Examples:
  localgpt audit show
  localgpt audit show --kind decision --kind outcome --limit 50
  localgpt audit show --session 2026 --json      one JSON object a line
\b
Exit status: 0, or 3 when an entry cannot be what was written (entries before it are shown).
"""
)
def show(
    ctx: typer.Context,
    *,
    session: Annotated[str, typer.Option("--session", help="Only sessions whose id begins so.")] = "",
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; may be repeated.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="The last N entries; 0: all.")] = 20,
    json: _Json = False,
) -> None:
    """Print entries, oldest first. They are chained and checked as they are read; `audit verify` checks the end too."""
    from localgpt.audit.kinds import KINDS
    from localgpt.audit.query import Query, read_entries

    if unknown := set(kind or ()) - KINDS.keys():
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: no such kind; kinds are {', '.join(KINDS)}")
    query = Query(kinds=frozenset(kind or ()), session=session)
    entries, fault = _last(read_entries(state_of(ctx).base_paths.audit_dir, query), limit)
    if json:
        for entry in entries:
            say_json_line(_as_object(entry))
    else:
        say_table(_row(entry) for entry in entries)
    if fault is not None:
        raise fault


@app.command(
    epilog="""
\b
Exit status: 0 intact or nothing logged yet, 1 no log where there was one, 3 tampered or cut off (the first bad entry
is named) or the device key cannot be used.
\b
Examples:
  localgpt audit verify
  localgpt audit verify --json
  localgpt audit verify --new          only what was appended since the last time
"""
)
def verify(
    ctx: typer.Context,
    *,
    new: Annotated[bool, typer.Option("--new", help="Begin where the last verification ended.")] = False,
    json: _Json = False,
) -> int:
    """Check every entry, who wrote it, the tree and its checkpoints, and that no acknowledged entry is missing."""
    from localgpt.cli.audit_verify import verified

    state = state_of(ctx)
    directory = state.base_paths.audit_dir
    report = verified(state, new=new)
    if json:
        say_json({**_as_json(report), "directory": str(directory)})
    else:
        _print(report)
        if report.is_tampered:
            say(f"cure: keep a copy of {directory}, find out who could write there, then: localgpt recover")
    if report.is_tampered:
        return ExitStatus.REFUSED
    return ExitStatus.FAILED if "audit.emptied" in {finding.code for finding in report.findings} else ExitStatus.DONE


@app.command(
    epilog="""
\b
Examples:
  localgpt audit head
  localgpt audit head > /media/usb/localgpt.head
"""
)
def head(ctx: typer.Context, json: _Json = False) -> int:
    """Print what to write down: the log's identity and its last checkpoint."""
    from localgpt.cli.audit_verify import last_head

    found = last_head(state_of(ctx))
    if json:
        say_json(found)
    else:
        sys.stdout.write("".join(f"{safe(str(found[name]))}\n" for name in ("identity", "checkpoint") if found[name]))
    return ExitStatus.DONE


def _as_json(report: Report) -> dict[str, object]:
    return {
        "verdict": report.verdict.value,
        "completeness": report.completeness.value,
        "freshness": report.freshness.value,
        "entries": report.entries,
        "sealed": report.sealed,
        "pinned": report.pinned,
        "first_bad": report.first_bad,
        "findings": [{"code": f.code, "seq": f.seq, "detail": f.detail} for f in report.findings],
        "pins": [{"tier": p.tier.value, "where": p.where, "problem": p.problem} for p in report.pins],
        "origin": report.origin,
        "identity": report.identity,
    }


def _print(report: Report) -> None:
    sealed = f", {report.sealed} of them sealed" if report.sealed else ""
    say(f"Audit log: {report.verdict.value.upper()}, {report.entries} entries{sealed}")
    say(f"completeness: {report.completeness.value}{_of_pins(report)}")
    say(f"freshness: {report.freshness.value}{_of_freshness(report)}")
    if report.first_bad is not None:
        say(f"first bad entry: {report.first_bad}")
    for finding in report.findings:
        where = "" if finding.seq is None else f"entry {finding.seq}: "
        say(f"{finding.code}: {where}{finding.detail}")


def _of_pins(report: Report) -> str:
    tiers = [f"{pin.tier.value} ({pin.where})" for pin in report.pins if not pin.problem]
    return f"; compared with: {', '.join(['the head beside the log', *tiers])}"


def _of_freshness(report: Report) -> str:
    if not report.pinned:
        return "; no pin is beyond the reach of this user's other programs: see localgpt audit head"
    return f"; {report.pinned} of {report.entries} entries are pinned beyond this user's reach"


def _last(entries: Iterator[Entry], limit: int) -> tuple[Sequence[Entry], AuditError | None]:
    """Keep the last `limit` (0: all). A bad entry ends the reading; what was read before it is still given."""
    kept: deque[Entry] = deque(maxlen=limit or None)
    try:
        kept.extend(entries)
    except AuditError as error:
        return kept, error
    return kept, None


def _as_object(entry: Entry) -> dict[str, object]:
    return {"time": _time(entry.ts_us), **entry.to_json()}


def _row(entry: Entry) -> tuple[str, ...]:
    fields = " ".join(f"{name}={_value(value)}" for name, value in entry.fields.items())
    return (str(entry.seq), _time(entry.ts_us)[:19], entry.session[:12] or "-", entry.kind, fields)


def _value(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{text[:16]}…" if len(text) > 40 and text.isalnum() else text


def _time(ts_us: int) -> str:
    return datetime.fromtimestamp(ts_us / 1e6, tz=UTC).isoformat(timespec="microseconds")
