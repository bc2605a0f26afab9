"""``localgpt init``: make what every other command needs. Can be run again at any time; nothing is overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import say, say_json
from localgpt.cli.state import State, state_of

app = new_app()


@app.command(
    epilog="""
\b
Example:
  localgpt init && localgpt sign
"""
)
def init(ctx: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Make directories (0700), the device key (0600), a starter LocalGPT.md and a commented config.toml.

    What is there already is checked and left as it is.
    """
    state = state_of(ctx)
    made = [(what, path) for what, path, is_new in prepare(state, restore=True) if is_new]
    following = next_command(state)
    if json:
        say_json({"made": [{"what": what, "path": str(path)} for what, path in made], "next": following})
        return
    for what, path in made:
        say(f"made the {what}: {path}")
    if not made:
        say("everything is there already; nothing was changed")
    say(f"next: {following}")


def prepare(state: State, *, restore: bool = False) -> Iterator[tuple[str, Path, bool]]:
    """Make what is missing; give (what, path, whether it was missing) for each piece.

    A policy that was signed and is gone is not replaced by a starter: with `restore` it comes back as it was signed.

    Raises:
        DirectoryUnusable, DirectoryForeign, DeviceKeyError: a piece cannot be made, or is not safe to use as it is.
    """
    from localgpt.cli.trust import open_store
    from localgpt.config import ensure_directory
    from localgpt.config.sample import SAMPLE
    from localgpt.policy.starter import starter_document

    paths = state.paths
    directories = {
        "configuration directory": state.config_file.parent,
        "data directory": paths.data_dir,
        "state directory": paths.state_dir,
        "cache directory": paths.cache_dir,
        "workspace": paths.workspace,
    }
    for what, directory in directories.items():
        yield what, directory, ensure_directory(directory)
    yield "device key", paths.device_key, _ensure_key(paths.device_key)
    signed = open_store(state).last_signed()
    document = paths.policy_document
    if signed is None or restore or document.exists():
        what, data = ("starter policy", starter_document()) if signed is None else ("policy as it was signed", signed)
        yield what, document, _ensure_file(document, data.decode("utf-8"))
    yield "configuration", state.config_file, _ensure_file(state.config_file, SAMPLE)


def _ensure_file(path: Path, text: str) -> bool:
    from localgpt.config.edit import replace_file

    if path.exists():
        return False
    replace_file(path, text)
    return True


def _ensure_key(path: Path) -> bool:
    from localgpt.crypto import KeyMissing, create_device_key, load_device_key

    try:
        load_device_key(path)
    except KeyMissing:
        create_device_key(path)
        return True
    return False


def next_command(state: State) -> str:
    """Give the command that a new user types next."""
    from localgpt.cli.trust import open_store
    from localgpt.policy.check import PolicyState

    valid = open_store(state).load().state is PolicyState.VALID
    return "localgpt chat" if valid else "localgpt sign"
