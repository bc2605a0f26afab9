"""``localgpt today``: what was done, asked, refused, spent and changed since midnight."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import say, say_json, say_table
from localgpt.cli.state import state_of

app = new_app()
_MOST = 12


@app.command(
    epilog="""
\b
Examples:
  localgpt today
  localgpt today --since 7d
  localgpt today --json
"""
)
def today(
    ctx: typer.Context,
    since: Annotated[str, typer.Option("--since", help="From then on: 2h, 3d, or a date.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what was done, asked, refused, spent and changed today, from the log."""
    from localgpt.audit.index import entries_since
    from localgpt.audit.summary import summarise
    from localgpt.cli.audit_told import as_counts, moment

    begin = moment(since)
    if begin is None:
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        begin = int(midnight.timestamp() * 1e6)
    state = state_of(ctx)
    summary = summarise(entries_since(state.base_paths.audit_dir, state.base_paths.cache_dir, begin))
    if json:
        say_json({**as_counts(summary), "paths": summary.changed})
        return
    for title, counted in (("done", summary.done), ("asked", summary.asked), ("refused", summary.refused)):
        say(f"{title}: {counted.total()}")
        say_table([(str(number), name) for name, number in counted.most_common(_MOST)], indent="  ")
    spent = f"{summary.input_tokens} tokens in, {summary.output_tokens} out, ${summary.spent_microusd / 1e6:.4f}"
    say(f"spent: {spent}")
    say(f"changed: {len(summary.changed)}")
    for path, action in list(summary.changed.items())[-_MOST:]:
        say(f"  {action} {path}")
