"""``localgpt session``: list and show past sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import say, say_json, say_json_line, say_table
from localgpt.cli.state import state_of

if TYPE_CHECKING:
    from localgpt.agent.entries import Entry

app = new_app(no_args_is_help=True, help="List and show past sessions.")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(
    name="list",
    epilog="\b\nExample:\n  localgpt session list --json\n\n"
    "\b\nGo on with one:  localgpt chat --session ID\nWith the last:   localgpt chat --continue",
)
def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=0, help="The newest N; 0: all.")] = 20,
    *,
    json: _Json = False,
) -> None:
    """Print past sessions, newest first."""
    from localgpt.cli.past import list_sessions

    state = state_of(ctx)
    found = list_sessions(state.base_paths.sessions_dir(state.agent))
    found = found[:limit] if limit else found
    if json:
        say_json(
            [
                {
                    "session_id": p.session_id,
                    "changed": p.changed,
                    "turns": p.turns,
                    "title": p.title,
                    "size_bytes": p.size_bytes,
                    "fault": p.fault,
                }
                for p in found
            ]
        )
    elif not found:
        say("no sessions yet")
    else:
        say_table((p.session_id, p.changed[:16].replace("T", " "), f"{p.turns:>3}", p.fault or p.title) for p in found)


@app.command(epilog="\b\nExample:\n  localgpt session show 20261121 --json")
def show(
    ctx: typer.Context,
    session: Annotated[str, typer.Argument(help="Its id, or enough of its beginning.")],
    json: _Json = False,
) -> None:
    """Print what was said and done in a session. Everything is escaped for the terminal."""
    from localgpt.cli.past import find_session, read_session

    state = state_of(ctx)
    file = find_session(state.base_paths.sessions_dir(state.agent), session)
    for entry in read_session(file):
        if json:
            say_json_line(_as_object(entry))
        else:
            _print(entry)


def _as_object(entry: Entry) -> dict[str, object]:
    return {
        "role": entry.role.value,
        "text": entry.text,
        "ts_ms": entry.ts_ms,
        "tool_calls": [{"name": call.name, "arguments": call.arguments_json} for call in entry.tool_calls],
        "name": entry.name,
        "outcome": None if entry.outcome is None else entry.outcome.value,
        "integrity": None if entry.label is None else entry.label.integrity.value,
        "notice": entry.notice,
        "model": entry.model,
    }


def _print(entry: Entry) -> None:
    who = entry.name or entry.model or ("runtime" if entry.by_runtime else "")
    say(f"--- {entry.role.value}{f' ({who})' if who else ''}")
    if entry.text:
        say(entry.text)
    for call in entry.tool_calls:
        say(f"  calls {call.name} {call.arguments_json}")
    if entry.notice:
        say(f"  [{entry.notice}]")
