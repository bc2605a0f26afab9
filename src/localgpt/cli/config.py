"""``localgpt config``: show and change the configuration. Secrets are never printed."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import safe, say, say_json
from localgpt.cli.state import State, state_of
from localgpt.config.schema import defaults
from localgpt.config.secret import Secret

app = new_app(no_args_is_help=True, help="Show and change the configuration. Secrets are never printed.")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(
    epilog="""
\b
Examples:
  localgpt config show
  localgpt config show --set
  localgpt config show --defaults
  localgpt config show --json
"""
)
def show(
    ctx: typer.Context,
    json: _Json = False,
    only_set: Annotated[bool, typer.Option("--set", help="Only what the file sets, without defaults.")] = False,
    only_defaults: Annotated[
        bool, typer.Option("--defaults", help="Every key with its default; the file is not read, so it may be broken.")
    ] = False,
    format_: Annotated[str, typer.Option("--format", hidden=True, help="json: the same as --json.")] = "toml",
) -> None:
    """Print what applies: the file's keys, and the default of every other key."""
    state = state_of(ctx)
    if only_set and only_defaults:
        raise typer.BadParameter("--set and --defaults exclude each other")
    entries = default_entries() if only_defaults else shown(state, with_defaults=not only_set)
    if json or format_ == "json":
        say_json(nested(entries))
        return
    if only_defaults:
        sys.stdout.write(safe(toml(entries, set(entries))))
        return
    origin = state.config_file if state.loaded.exists else f"{state.config_file} (not there: all defaults)"
    sys.stdout.write(f"# {safe(str(origin))}\n{safe(toml(entries, set(state.config.given)))}")


@app.command(epilog="\b\nExample:\n  localgpt config get agent.default_model")
def get(ctx: typer.Context, key: str, json: _Json = False) -> int:
    """Print one key's value; nothing and status 1 when it is neither set nor has a default."""
    from localgpt.config.edit import known_key

    known_key(key)
    value = shown(state_of(ctx), with_defaults=True).get(key)
    if json:
        say_json(value)
    elif value is not None:
        say(value if isinstance(value, str) else scalar(value))
    return 0 if value is not None else 1


@app.command(
    name="set",
    epilog="""
\b
Examples:
  localgpt config set agent.default_model ollama/qwen3
  localgpt config set providers.anthropic.api_key '${ANTHROPIC_API_KEY}'
""",
)
def set_(ctx: typer.Context, key: str, value: str, json: _Json = False) -> None:
    """Set one key. Comments stay; secrets are given as '${VARIABLE}', never as they are."""
    from localgpt.cli.state import warn
    from localgpt.config import load
    from localgpt.config.edit import set_value

    state = state_of(ctx)
    written = set_value(state.config_file, key, value, state.environ)
    warn(tuple(text for text in load(state.config_file, state.environ).warnings if key in text))
    if json:
        say_json({"key": key, "value": written.shown if isinstance(written, Secret) else written})
    else:
        say(f"{key} = {scalar(written)}")


@app.command(epilog='\b\nExample:\n  $EDITOR "$(localgpt config path)"')
def path(ctx: typer.Context, json: _Json = False) -> None:
    """Print where the configuration file is, or would be."""
    state = state_of(ctx)
    if json:
        say_json({"path": str(state.config_file), "exists": state.config_file.exists()})
    else:
        say(str(state.config_file))


@app.command(epilog='\b\nExample:\n  localgpt config init && $EDITOR "$(localgpt config path)"')
def init(ctx: typer.Context, json: _Json = False) -> None:
    """Write a commented configuration file, unless there is one."""
    from localgpt.config.edit import replace_file
    from localgpt.config.sample import SAMPLE

    file = state_of(ctx).config_file
    is_new = not file.exists()
    if is_new:
        replace_file(file, SAMPLE)
    if json:
        say_json({"path": str(file), "made": is_new})
    else:
        say(f"wrote {file}" if is_new else f"{file} is there already; nothing was changed")


def shown(state: State, *, with_defaults: bool) -> dict[str, Any]:
    """Give every key with its value as the user would write it; secrets as ``${VARIABLE}`` or "(hidden)"."""
    entries = default_entries() if with_defaults else {}
    entries.update((k, v.shown if isinstance(v, Secret) else v) for k, v in state.config.given.items())
    return entries


def default_entries() -> dict[str, Any]:
    """Give every key that has a default, as the user would write it."""
    from localgpt.config.keys import Kind, key_at

    entries: dict[str, Any] = {}
    for name, value in defaults().items():
        key = key_at(name)
        if value is not None and key is not None and name.rpartition(".")[0] in _ROOMS:
            entries[name] = duration(value) if key.kind is Kind.DURATION and isinstance(value, int) else value
    return entries


#: Tables whose defaults are worth printing: those of rooms that exist. What the file sets is always printed.
_ROOMS = frozenset({"agent", "embedded", "sandbox", "sandbox.allow_paths", "sandbox.network", "security", "tools"})


def duration(seconds: int) -> str:
    """Spell seconds as the configuration does."""
    parts = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
    text = ""
    for size, unit in parts:
        count, seconds = divmod(seconds, size)
        text += f"{count}{unit}" if count else ""
    return text


def toml(entries: dict[str, Any], given: set[str]) -> str:
    """Write dotted keys as TOML; what is a default is marked."""
    tables: dict[str, list[str]] = {}
    for name, value in entries.items():
        table, _, key = name.rpartition(".")
        line = f"{key} = {scalar(value)}"
        tables.setdefault(table, []).append(line if name in given else f"{line}  # default")
    blocks = [f"[{table}]\n" + "\n".join(lines) + "\n" for table, lines in sorted(tables.items())]
    return "\n".join(blocks)


def scalar(value: object) -> str:
    """Write one value as TOML. JSON's spelling of a string is also TOML's."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(scalar(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {scalar(item)}" for key, item in value.items()) + " }"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    return str(value)


def nested(entries: dict[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into nested objects."""
    out: dict[str, Any] = {}
    for name, value in entries.items():
        *tables, key = name.split(".")
        place = out
        for table in tables:
            place = place.setdefault(table, {})
        place[key] = list(value) if isinstance(value, tuple) else value
    return out
