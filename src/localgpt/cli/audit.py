"""``localgpt audit``: show and verify the log of every decision."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from localgpt.cli.audit_change import add_changes
from localgpt.cli.audit_check import add_checks
from localgpt.cli.lazy import new_app
from localgpt.cli.output import say, say_json, say_json_line, say_table
from localgpt.cli.replay import replay
from localgpt.cli.state import state_of
from localgpt.errors import AuditError

if TYPE_CHECKING:
    from localgpt.audit.entry import Entry

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

add_checks(app)
add_changes(app)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Since = Annotated[str, typer.Option("--since", help="Only since then: 90s, 15m, 2h, 3d, or 2026-11-28[T12:30].")]


@app.command(
    epilog="""
\b
Examples:
  localgpt audit show
  localgpt audit show --kind decision --kind outcome --limit 50
  localgpt audit show --session 2026 --json      one JSON object a line
  localgpt audit show --since 2d --verdict deny --tool shell
  localgpt audit show --session 2026 --timeline  what was read, asked, refused and done
\b
Exit status: 0, or 3 when an entry cannot be what was written (entries before it are shown).
"""
)
def show(
    ctx: typer.Context,
    *,
    session: Annotated[str, typer.Option("--session", help="Only sessions whose id begins so.")] = "",
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; may be repeated.")] = None,
    tool: Annotated[str, typer.Option("--tool", help="Only this tool.")] = "",
    verdict: Annotated[str, typer.Option("--verdict", help="Only decisions that were allow, ask or deny.")] = "",
    path: Annotated[str, typer.Option("--path", help="Only this path, or what is in it.")] = "",
    since: _Since = "",
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Tell it as a story: read, asked, refused, done.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="The last N entries; 0: all.")] = 20,
    json: _Json = False,
) -> None:
    """Print entries, oldest first. They are chained and checked as they are read; `audit verify` checks the end too."""
    from localgpt.audit.kinds import KINDS
    from localgpt.audit.query import Query, read_entries
    from localgpt.cli.audit_told import moment, told

    if unknown := set(kind or ()) - KINDS.keys():
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: no such kind; kinds are {', '.join(KINDS)}")
    query = Query(
        kinds=frozenset(kind or ()), session=session, tool=tool, verdict=verdict, path=path, since_us=moment(since)
    )
    entries, fault = _last(read_entries(state_of(ctx).base_paths.audit_dir, query), limit)
    if json:
        for entry in entries:
            say_json_line(_as_object(entry))
    elif timeline:
        for entry in entries:
            if line := told(entry):
                say(f"{_time(entry.ts_us)[11:19]}  {line}")
    else:
        say_table(_row(entry) for entry in entries)
    if fault is not None:
        raise fault


@app.command(
    epilog="""
\b
Examples:
  localgpt audit tail
  localgpt audit tail --json | jq .kind
"""
)
def tail(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", min=0, help="The last N entries first.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", "-f", help="Go on as entries are written.")] = True,
    json: _Json = False,
) -> None:
    """Print the last entries and then each new one as it is written, until interrupted."""
    from localgpt.cli.audit_told import following

    directory = state_of(ctx).base_paths.audit_dir
    for entry in following(directory, limit, follow=follow):
        if json:
            say_json_line(_as_object(entry))
        else:
            say("  ".join(_row(entry)))
        sys.stdout.flush()


@app.command(
    epilog="""
\b
Examples:
  localgpt audit stats
  localgpt audit stats --since 7d --json
"""
)
def stats(ctx: typer.Context, since: _Since = "", json: _Json = False) -> None:
    """Count entries by kind, decisions by tool, tokens and cost."""
    from localgpt.audit.query import Query, read_entries
    from localgpt.audit.summary import summarise
    from localgpt.cli.audit_told import as_counts, moment

    query = Query(since_us=moment(since))
    counts = as_counts(summarise(read_entries(state_of(ctx).base_paths.audit_dir, query)))
    if json:
        say_json(counts)
        return
    for title, value in counts.items():
        if isinstance(value, dict):
            say(f"{title}:")
            say_table([(str(number), name) for name, number in value.items()], indent="  ")
        else:
            say(f"{title}: {value}")


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
