"""``localgpt paths``: where everything is kept."""

from __future__ import annotations

from typing import Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import say_json, say_table
from localgpt.cli.state import state_of

app = new_app()


@app.command(
    epilog="""
\b
Moved by: LOCALGPT_CONFIG_DIR, LOCALGPT_DATA_DIR, LOCALGPT_STATE_DIR, LOCALGPT_CACHE_DIR,
LOCALGPT_WORKSPACE, LOCALGPT_PROFILE, and the XDG variables; absolute paths only.
\b
Examples:
  localgpt paths
  localgpt paths --json
  localgpt --profile work paths
"""
)
def paths(ctx: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print every directory and file that this program uses. Nothing is created."""
    state = state_of(ctx)
    found = state.paths
    rows = {
        "config": state.config_file,
        "workspace": found.workspace,
        "policy": found.policy_document,
        "device key": found.device_key,
        "models": found.models_dir,
        "data": found.data_dir,
        "state": found.state_dir,
        "audit log": found.audit_dir,
        "sessions": found.sessions_dir(state.agent),
        "cache": found.cache_dir,
        "runtime": found.runtime_dir,
    }
    if json:
        say_json({name.replace(" ", "_"): str(path) for name, path in rows.items()})
    else:
        say_table((name, str(path)) for name, path in rows.items())
