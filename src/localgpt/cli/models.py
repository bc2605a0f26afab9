"""``localgpt models``: list, add and test models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import Mark, safe, say, say_json, say_table, sign
from localgpt.cli.state import state_of
from localgpt.errors import ExitStatus

app = new_app(no_args_is_help=True, help="List, add and test models.")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(
    name="list",
    epilog="""
\b
Example:
  localgpt models list --json

\b
✓ can be used now   ⚠ needs something   * the configured default
Choose one for good:  localgpt config set agent.default_model PROVIDER/NAME
Choose one for once:  localgpt chat --model PROVIDER/NAME
""",
)
def list_(ctx: typer.Context, json: _Json = False) -> None:
    """Print every model and provider, and what each needs. Nobody is contacted."""
    from localgpt.cli.catalogue import entries

    found = entries(state_of(ctx))
    if json:
        rows = [{"name": e.name, "ready": e.ready, "default": e.default, "note": e.note} for e in found]
        say_json(rows)
        return
    width = max(len(entry.name) for entry in found)
    for entry in found:
        mark = sign(Mark.OK if entry.ready else Mark.WARN)
        star = "*" if entry.default else " "
        sys.stdout.write(f"{mark}{star}{safe(entry.name.ljust(width))}  {safe(entry.note)}\n")


@app.command(epilog="\b\nExample:\n  localgpt models add ~/Downloads/qwen3-8b.gguf --name qwen3")
def add(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A GGUF file; it stays where it is.")],
    name: Annotated[str | None, typer.Option("--name", help="What to call it; its file's name by default.")] = None,
    json: _Json = False,
) -> None:
    """Let the embedded engine use a model file of yours."""
    from localgpt.config import ensure_directory
    from localgpt.gateway.weights import add_model

    directory = state_of(ctx).paths.models_dir
    ensure_directory(directory)
    model = add_model(directory, path, name=name)
    if json:
        say_json({"name": f"embedded/{model.name}", "path": model.path, "size_bytes": model.size_bytes})
    else:
        say(f"added embedded/{model.name}: {model.path}")
        say(f"next: localgpt models test embedded/{model.name}")


@app.command(
    name="test",
    epilog="""
\b
Exit status: 0 it answered, 4 it did not, 2 there is no such model.
\b
Examples:
  localgpt models test
  localgpt models test ollama/qwen3 --json
""",
)
def ask(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="PROVIDER/NAME; the default model without it.")] = None,
    *,
    json: _Json = False,
) -> int:
    """Ask a model for one word, and print what came back and how long it took."""
    from localgpt.cli.model_test import ask_once

    answer = ask_once(state_of(ctx), name)
    if json:
        say_json(answer)
    else:
        say_table((key.replace("_", " "), str(value)) for key, value in answer.items())
    return ExitStatus.DONE if answer["ok"] else ExitStatus.PROVIDER
