"""``localgpt verify``: is the policy as it was signed?"""

from __future__ import annotations

from typing import Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import say, say_json
from localgpt.cli.state import State, state_of

app = new_app()


@app.command(
    epilog="""
\b
Exit status: 0 valid; 1 there is no LocalGPT.md; 3 unsigned, tampered, or its manifest is corrupted,
and when the device key cannot be used.
\b
Examples:
  localgpt verify
  localgpt verify --json
"""
)
def verify(ctx: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """Check LocalGPT.md against its signature. Whatever the answer, the policy signed last still applies."""
    return verify_policy(state_of(ctx), json=json)


def verify_policy(state: State, *, json: bool) -> int:
    """Check, print, and give the exit status."""
    from localgpt.cli.trust import CURES, STATUS_OF, open_store

    store = open_store(state)
    applies = store.load()
    status = applies.status
    if json:
        say_json(
            {
                "state": status.state.value,
                "document": str(store.document_path),
                "sha256": status.digest,
                "detail": status.detail,
                "code": None if status.problem is None else status.problem.code,
                "notes": list(applies.notes),
            }
        )
    else:
        say(f"Policy: {status.state.value.upper().replace('-', ' ')}")
        say(f"{store.document_path}: {status.detail}")
        for note in applies.notes:
            say(f"note: {note}")
        if CURES[status.state]:
            say(f"cure: {CURES[status.state]}")
    return STATUS_OF.get(status.state, 3)
