"""A command group that imports a command's module only when that command is named."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar, Final, NamedTuple, cast

import typer
from typer._click import Command, Context, HelpFormatter
from typer._click.shell_completion import CompletionItem
from typer.core import TyperGroup
from typer.main import get_command


class Entry(NamedTuple):
    """One command: where it lives (``module:attribute``, a Typer or a function), and its line in the overview.

    `section` groups the overview; "" hides the command from it.
    """

    target: str
    section: str
    summary: str


class LazyGroup(TyperGroup):
    """The outermost group. Its overview is printed from `entries`, without importing any of them."""

    entries: ClassVar[dict[str, Entry]] = {}

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002 -- the interface of the base class
        return [name for name, entry in self.entries.items() if entry.section]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002 -- as above
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = load(cmd_name, entry)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Find the command; on a misspelling the suggestion comes from the overview."""
        if args and args[0] not in self.entries and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002 -- as above
        sections = dict.fromkeys(entry.section for entry in self.entries.values() if entry.section)
        for section in sections:
            rows = [(name, entry.summary) for name, entry in self.entries.items() if entry.section == section]
            with formatter.section(section):
                formatter.write_dl(rows, col_max=14)

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names from the overview; options as every command does."""
        names = [
            CompletionItem(name, help=entry.summary)
            for name, entry in self.entries.items()
            if entry.section and name.startswith(incomplete)
        ]
        return names + Command.shell_complete(self, ctx, incomplete)


def load(name: str, entry: Entry) -> Command:
    """Import the entry's module and make its command."""
    module, _, attribute = entry.target.partition(":")
    target: Any = getattr(import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        target = plain_app(cast("Callable[..., Any]", target))
    command = get_command(target)
    command.name = name
    return command


def new_app(**settings: Any) -> typer.Typer:  # noqa: ANN401 -- Typer's own keyword arguments
    """Make a Typer as every command group here uses it: plain help, no completion options, errors handled by us."""
    return typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        **settings,
    )


_EXAMPLES: Final = {
    "chat": """
\b
Examples:
  localgpt chat
  localgpt chat --continue
  localgpt chat --model ollama/qwen3 --add-dir ../library
""",
    "ask": """
\b
Examples:
  localgpt ask "What does this project do?"
  git diff | localgpt ask "What is wrong here?"
  localgpt ask --json --tools "List the Python files" < /dev/null
""",
}


def plain_app(function: Callable[..., Any]) -> typer.Typer:
    """Wrap one function as a command of its own."""
    app = new_app()
    app.command(epilog=_EXAMPLES.get(function.__name__))(function)
    return app
