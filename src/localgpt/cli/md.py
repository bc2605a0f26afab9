"""``localgpt md``: the names that the Rust LocalGPT gave to `sign` and `verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.sign import sign
from localgpt.cli.state import state_of
from localgpt.cli.verify import verify, verify_policy

app = new_app(no_args_is_help=True, help="Aliases of sign and verify.")
app.command(name="sign")(sign)
app.command(name="verify")(verify)


@app.command()
def status(ctx: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print what verify prints, with exit status 0 whatever it is."""
    verify_policy(state_of(ctx), json=json)
