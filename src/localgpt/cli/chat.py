"""``localgpt chat``: talk to the agent in this folder."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from localgpt.cli.start import Started
    from localgpt.cli.state import State
    from localgpt.cli.terminal.answer import Answer, Renderer
    from localgpt.cli.terminal.front import SilentFront
    from localgpt.cli.terminal.loop import Chat
    from localgpt.cli.terminal.screen import Looks, Screen
    from localgpt.cli.terminal.session import SessionLike, SessionSummary
    from localgpt.cli.terminal.typed import Reader


def chat(
    ctx: typer.Context,
    *,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Model to talk to: PROVIDER/NAME.")] = None,
    continue_: Annotated[
        bool, typer.Option("--continue", "-C", help="Go on with the newest session of this folder.")
    ] = False,
    session: Annotated[str | None, typer.Option("--session", "-s", help="Go on with this session.")] = None,
    add_dir: Annotated[list[Path] | None, typer.Option("--add-dir", help="One more folder to work in.")] = None,
    trust: Annotated[
        bool | None, typer.Option("--trust/--no-trust", help="Whether this folder is yours; else you are asked once.")
    ] = None,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Lines of text only: no colours, no cursor movement (screen readers, scripts)."),
    ] = False,
) -> int:
    """Talk to the agent. It works in this folder; every command it runs is confined, decided and logged.

    Ctrl-C stops a turn, Ctrl-D leaves, /help lists the commands inside.
    """
    from localgpt.cli.start import Options, start
    from localgpt.cli.state import state_of
    from localgpt.cli.terminal.screen import Screen, looks_of, size_of

    looks = looks_of(sys.stdout, os.environ, plain=plain)
    screen = Screen(sys.stdout, looks, lambda: size_of(sys.stdout))
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if at_terminal and looks.moves:
        _import_in_background("localgpt.cli.terminal.editor")
    state, front = state_of(ctx), _front(screen, at_terminal=at_terminal)
    options = Options(model, tuple(add_dir or ()), trust)
    with _orderly_end(), start(state, options, front) as started:
        sessions = _Sessions(started, state)
        running = _chat(screen, sessions, sessions.open(sessions.pick(continue_, session, front)), front, state)
        running.banner()
        return int(running.run())


class _Sessions:
    """Conversations in this folder, on the runtime that was started."""

    def __init__(self, started: Started, state: State) -> None:
        self._started = started
        self._directory = state.paths.sessions_dir(state.agent)

    def open(self, session_id: str | None = None) -> SessionLike:
        return self._started.open(session_id)

    def earlier(self) -> Sequence[SessionSummary]:
        from localgpt.cli.terminal.earlier import earlier_sessions

        return earlier_sessions(self._directory)

    def models(self) -> Sequence[str]:
        return self._started.models()

    def pick(self, newest: bool, session_id: str | None, front: SilentFront) -> str | None:
        """The session that the options name; None for a new one."""
        if session_id is not None or not newest:
            return session_id
        return newest_session(self._directory, front)


def newest_session(directory: Path, front: SilentFront) -> str | None:
    """The newest session of this folder; without one the user is told, and a new one begins."""
    from localgpt.cli.terminal.earlier import earlier_sessions
    from localgpt.monitor.events import Level

    here = earlier_sessions(directory, Path.cwd().resolve())
    if not here:
        front.tell(Level.INFO, "there is no earlier session of this folder: a new one begins")
    return here[0].session_id if here else None


def _chat(screen: Screen, sessions: _Sessions, session: SessionLike, front: SilentFront, state: State) -> Chat:
    from localgpt import __version__
    from localgpt.cli.terminal.front import TerminalFront
    from localgpt.cli.terminal.keys import quiet
    from localgpt.cli.terminal.loop import Chat
    from localgpt.cli.terminal.turn import TurnView

    at_terminal = isinstance(front, TerminalFront)
    view = TurnView(screen, _answer(screen))
    running = Chat(
        screen=screen,
        sessions=sessions,
        session=session,
        reader=lambda chat: _reader(chat, state, at_terminal=at_terminal),
        view=view,
        version=__version__,
        quiet=(lambda: quiet(sys.stdin.fileno())) if at_terminal else contextlib.nullcontext,
    )
    if isinstance(front, TerminalFront):
        front.approver.before, front.approver.interrupt = view.settle, running.cancel
    return running


def _front(screen: Screen, *, at_terminal: bool) -> SilentFront:
    from localgpt.cli.terminal.front import SilentFront, TerminalFront
    from localgpt.cli.terminal.keys import TtyKeyboard

    return TerminalFront(screen, TtyKeyboard(sys.stdin.fileno())) if at_terminal else SilentFront(screen)


def _answer(screen: Screen) -> Answer:
    from localgpt.cli.terminal.answer import MarkdownAnswer, PlainAnswer

    if not screen.looks.moves:
        return PlainAnswer(screen)
    return MarkdownAnswer(screen, lambda: _markdown(screen.looks))


def _markdown(looks: Looks) -> Renderer:
    from localgpt.cli.terminal.markdown import MarkdownRenderer

    return MarkdownRenderer(looks)


def _reader(chat: Chat, state: State, *, at_terminal: bool) -> Reader:
    """The line editor on a terminal that can show one; lines of standard input otherwise."""
    from localgpt.cli.terminal.banner import status_parts
    from localgpt.cli.terminal.typed import PlainReader

    if not (at_terminal and chat.screen.looks.moves):
        return PlainReader(sys.stdin, chat.screen)
    from localgpt.cli.terminal.completion import Offers
    from localgpt.cli.terminal.editor import Editor
    from localgpt.cli.terminal.slash import offered

    return Editor(
        state.paths.state_dir / "chat-history",
        Offers(Path.cwd(), offered(), chat.sessions.models),
        lambda: status_parts(chat.session.status()),
        on_ready=lambda: _import_in_background("localgpt.cli.terminal.markdown"),  # while the user types
    )


def _import_in_background(module: str) -> None:
    import threading
    from importlib import import_module

    threading.Thread(target=import_module, args=(module,), daemon=True, name=f"import-{module}").start()


@contextlib.contextmanager
def _orderly_end() -> Iterator[None]:
    """A request to end (SIGTERM, SIGHUP) closes the session and restores the terminal first."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
