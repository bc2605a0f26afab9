"""The slash commands: a table, and a function for each. They talk to the `Chat` that runs the loop."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from localgpt.cli.terminal.argv import show_argv
from localgpt.cli.terminal.banner import banner_rows, status_text
from localgpt.cli.terminal.escape import escape, escape_line
from localgpt.cli.terminal.layout import wrapped
from localgpt.cli.terminal.screen import Ink, Screen
from localgpt.cli.terminal.session import SessionLike, Sessions
from localgpt.cli.terminal.typed import Reader
from localgpt.monitor.events import ToolStarted


class Next(Enum):
    """What the loop does after a command."""

    GO_ON = "go-on"
    QUIT = "quit"


class Talk(Protocol):
    """What commands may use of the chat."""

    screen: Screen
    sessions: Sessions
    session: SessionLike
    reader: Reader
    last_decision: ToolStarted | None
    version: str

    def switch(self, session_id: str | None) -> None:
        """Close this conversation and open another one (None: a new one)."""
        ...


@dataclass(frozen=True, slots=True)
class Command:
    """One slash command. `usage` shows its argument."""

    name: str
    usage: str
    summary: str
    run: Callable[[Talk, str], Next]


def dispatch(talk: Talk, line: str) -> Next:
    """Run the command in `line`, which begins with a slash."""
    name, _, argument = line[1:].strip().partition(" ")
    command = COMMANDS.get(name.lower())
    if command is not None:
        return command.run(talk, argument.strip())
    near = difflib.get_close_matches(name.lower(), COMMANDS, n=1, cutoff=0.5)
    hint = f"did you mean /{near[0]}?" if near else "/help lists them"
    say(talk, f"there is no command /{escape_line(name, 40)}: {hint}", Ink.WARN)
    return Next.GO_ON


def say(talk: Talk, text: str, ink: Ink = Ink.PLAIN) -> None:
    """Print escaped text in rows of the screen's width."""
    screen = talk.screen
    screen.print(*(screen.ink(row, ink) for row in wrapped(text, screen.size.columns)))


def _help(talk: Talk, _argument: str) -> Next:
    listed = dict.fromkeys(COMMANDS.values())
    width = max(len(command.usage) for command in listed)
    for command in listed:
        say(talk, f"{command.usage:<{width}}  {command.summary}")
    say(talk, f"{'!COMMAND':<{width}}  run a shell command yourself, confined like the agent's")
    say(talk, "Enter sends, Alt-Enter or a trailing backslash begins a new line, Tab completes,", Ink.DIM)
    say(talk, "Ctrl-C stops the turn, Ctrl-D leaves.", Ink.DIM)
    return Next.GO_ON


def _quit(_talk: Talk, _argument: str) -> Next:
    return Next.QUIT


def _new(talk: Talk, _argument: str) -> Next:
    talk.switch(None)
    say(talk, f"new session {escape_line(talk.session.status().session_id)}")
    return Next.GO_ON


def _resume(talk: Talk, argument: str) -> Next:
    matching = [entry.session_id for entry in talk.sessions.earlier() if entry.session_id.startswith(argument)]
    if not argument or not matching:
        say(talk, "which one? /resume ID; /sessions lists them", Ink.WARN)
    elif matching == [talk.session.status().session_id]:
        say(talk, "this is the session you are in")
    elif len(matching) > 1:
        say(talk, f"{len(matching)} sessions begin with {escape_line(argument, 40)}: type more of it", Ink.WARN)
    else:
        talk.switch(matching[0])
        say(talk, f"session {escape_line(matching[0])} goes on")
    return Next.GO_ON


def _sessions(talk: Talk, _argument: str) -> Next:
    entries = list(talk.sessions.earlier())[:20]
    if not entries:
        say(talk, "no earlier sessions")
    for entry in entries:
        title = escape_line(entry.title, 60)
        say(talk, f"{escape_line(entry.session_id)}  {escape_line(entry.changed)}  {title}")
    return Next.GO_ON


def _tools(talk: Talk, argument: str) -> Next:
    if argument.lower() not in {"on", "off"}:
        state = "on" if talk.session.status().tools_on else "off"
        say(talk, f"tools are {state}; /tools on, /tools off")
        return Next.GO_ON
    talk.session.set_tools(argument.lower() == "on")
    status = talk.session.status()
    say(talk, f"tools are {'on' if status.tools_on else 'off'}")
    if status.tools_on and status.effects_off:
        say(talk, f"but effects are off: {escape_line(status.effects_off)}", Ink.WARN)
    return Next.GO_ON


def _model(talk: Talk, argument: str) -> Next:
    if argument:
        talk.session.set_model(argument)
    status = talk.session.status()
    say(talk, f"model: {escape_line(status.model)} ({escape_line(status.provider)})")
    return Next.GO_ON


def _models(talk: Talk, _argument: str) -> Next:
    status = talk.session.status()
    current = {status.model, f"{status.provider}/{status.model}"}
    for name in talk.sessions.models():
        say(talk, f"{'*' if name in current else ' '} {escape_line(name)}")
    return Next.GO_ON


def _status(talk: Talk, _argument: str) -> Next:
    screen = talk.screen
    status = talk.session.status()
    screen.print(*banner_rows(status, talk.version, screen.looks, screen.size.columns))
    say(talk, f"session: {escape_line(status.session_id)}")
    say(talk, status_text(status))
    return Next.GO_ON


def _why(talk: Talk, _argument: str) -> Next:
    last = talk.last_decision
    if last is None:
        say(talk, "nothing has been decided in this session yet")
        return Next.GO_ON
    say(talk, f"{escape_line(last.tool)}: {last.verdict.value} ({escape_line(last.code)})", Ink.STRONG)
    say(talk, escape(last.sentence))
    say(talk, show_argv(last.argv), Ink.DIM)
    return Next.GO_ON


def _clear(talk: Talk, _argument: str) -> Next:
    talk.screen.clear()
    return Next.GO_ON


def _multiline(talk: Talk, _argument: str) -> Next:
    talk.reader.multiline = not talk.reader.multiline
    say(talk, "Alt-Enter sends, Enter begins a new line" if talk.reader.multiline else "Enter sends")
    return Next.GO_ON


_ALL: Final = (
    Command("help", "/help", "this list", _help),
    Command("status", "/status", "model, policy, confinement, project, tokens", _status),
    Command("why", "/why", "the last decision, and the rule behind it", _why),
    Command("tools", "/tools on|off", "offer tools to the model, or not", _tools),
    Command("model", "/model NAME", "go on with another model", _model),
    Command("models", "/models", "models to choose from", _models),
    Command("new", "/new", "begin a new session", _new),
    Command("sessions", "/sessions", "earlier sessions", _sessions),
    Command("resume", "/resume ID", "go on with an earlier session", _resume),
    Command("multiline", "/multiline", "let Enter begin a new line, and Alt-Enter send", _multiline),
    Command("clear", "/clear", "clear the screen", _clear),
    Command("quit", "/quit", "leave (also /exit, Ctrl-D)", _quit),
)
COMMANDS: Final = {command.name: command for command in _ALL} | {"exit": _ALL[-1], "q": _ALL[-1], "?": _ALL[0]}


def offered() -> tuple[tuple[str, str], ...]:
    """Names and summaries, for completion."""
    return tuple((command.name, command.summary) for command in _ALL)
