"""``localgpt completion``: complete commands in a shell."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import say
from localgpt.cli.state import State, state_of

app = new_app()


class Shell(StrEnum):
    """Shells that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command(
    epilog="""
\b
Examples:
  eval "$(localgpt completion bash)"       in this shell only
  localgpt completion zsh --install
"""
)
def completion(
    ctx: typer.Context,
    shell: Shell,
    install: Annotated[bool, typer.Option("--install", help="Write it where the shell looks for it.")] = False,
) -> None:
    """Print the completion script of a shell. No start-up file of yours is ever edited."""
    text = script(shell)
    if not install:
        sys.stdout.write(text)
        return
    from localgpt.config.edit import replace_file

    path, needs = place(shell, state_of(ctx))
    replace_file(path, text)
    say(f"wrote {path}")
    if needs:
        say(needs)


def script(shell: Shell) -> str:
    """Give the script that asks this program for completions."""
    from typer._completion_shared import get_completion_script

    return get_completion_script(prog_name="localgpt", complete_var="_LOCALGPT_COMPLETE", shell=shell.value) + "\n"


def place(shell: Shell, state: State) -> tuple[Path, str]:
    """Give where the shell looks for completions, and what else it needs, "" when nothing."""
    home = state.base_paths.home
    if shell is Shell.FISH:
        return home / ".config/fish/completions/localgpt.fish", ""
    if shell is Shell.ZSH:
        needs = "zsh looks there once ~/.zshrc has: fpath+=~/.zfunc; autoload -Uz compinit; compinit"
        return home / ".zfunc/_localgpt", needs
    path = home / ".local/share/bash-completion/completions/localgpt"
    return path, f"new shells with bash-completion find it; without that package, ~/.bashrc needs: source {path}"
