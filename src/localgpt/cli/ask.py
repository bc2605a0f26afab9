"""``localgpt ask``: one question, one answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from localgpt.errors import ConfigError, ExitStatus

if TYPE_CHECKING:
    from localgpt.cli.terminal.front import SilentFront
    from localgpt.cli.terminal.screen import Screen
    from localgpt.cli.terminal.session import SessionLike
    from localgpt.cli.terminal.turn import TurnRecord
    from localgpt.monitor.events import SessionStatus, ToolStarted
    from localgpt.wire import Attachment, TurnReason

MAX_INPUT_BYTES: Final = 8 << 20


class NoQuestion(ConfigError):  # noqa: N818 -- named after the condition
    """There is neither an argument nor standard input to ask."""

    code = "ask.no-question"


class InputTooLarge(ConfigError):  # noqa: N818 -- named after the condition
    """Standard input is longer than a question may be."""

    code = "ask.input-too-large"


def ask(
    ctx: typer.Context,
    *,
    question: Annotated[
        list[str] | None, typer.Argument(help="The question; - or nothing takes it from standard input.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Model to ask: PROVIDER/NAME.")] = None,
    continue_: Annotated[
        bool, typer.Option("--continue", "-C", help="Go on with the newest session of this folder.")
    ] = False,
    session: Annotated[str | None, typer.Option("--session", "-s", help="Go on with this session.")] = None,
    add_dir: Annotated[list[Path] | None, typer.Option("--add-dir", help="One more folder to work in.")] = None,
    trust: Annotated[
        bool | None, typer.Option("--trust/--no-trust", help="Whether this folder is yours; unknown ones are not.")
    ] = None,
    tools: Annotated[
        bool | None, typer.Option("--tools/--no-tools", help="Offer tools to the model; the default is the model's.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No panels on standard error.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="No colours and no cursor movement.")] = False,
) -> int:
    """Ask one question and print the answer: text to standard output, tool calls to standard error.

    Standard input beside a question is material, not instruction: it goes along as untrusted. Without a terminal
    nobody can approve anything, so what needs approval is denied.
    """
    from localgpt.cli.chat import newest_session
    from localgpt.cli.start import Options, start
    from localgpt.cli.state import state_of

    text, attachments = gather(question or [], _standard_input())
    state, front = state_of(ctx), open_front(plain=plain)
    with start(state, Options(model, tuple(add_dir or ()), trust), front) as started:
        directory = state.paths.sessions_dir(state.agent)
        chosen = session if session is not None or not continue_ else newest_session(directory, front)
        opened = started.open(chosen)
        try:
            if tools is not None:
                opened.set_tools(tools)
            record = run(opened, front, text, attachments, quiet=quiet or json, stream=not json)
            status = opened.status()
        finally:
            opened.close()
    if json:
        from localgpt.cli.output import say_json

        say_json(as_json(text, record, status))
    return int(exit_status(record))


def gather(arguments: list[str], piped: str | None) -> tuple[str, tuple[Attachment, ...]]:
    """The user's words, and what came beside them.

    Args:
        arguments: the words of the command line.
        piped: all of standard input, None when that is a terminal.

    Raises:
        NoQuestion: there is nothing to ask.
    """
    from localgpt.cli.terminal.pastes import clean
    from localgpt.wire import Attachment, Confidentiality, Integrity, Label

    words = clean(" ".join(arguments)).strip()
    if words in {"", "-"}:
        if not (piped or "").strip():
            raise NoQuestion("there is no question", cure='localgpt ask "QUESTION", or pipe one into localgpt ask -')
        return (piped or "").strip(), ()
    if not piped:
        return words, ()
    label = Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, "standard input")
    return words, (Attachment("standard input", piped, label),)


def run(
    session: SessionLike,
    front: SilentFront,
    text: str,
    attachments: tuple[Attachment, ...],
    *,
    quiet: bool,
    stream: bool,
) -> TurnRecord:
    """Run the one turn, with the answer to standard output (when `stream`) and everything else to standard error."""
    from localgpt.cli.terminal.answer import PlainAnswer
    from localgpt.cli.terminal.front import TerminalFront
    from localgpt.cli.terminal.turn import NoAnswer, TurnView, interrupts

    view = TurnView(front.screen, PlainAnswer(_stdout()) if stream else NoAnswer(), quiet=quiet)
    if isinstance(front, TerminalFront):
        front.approver.before, front.approver.interrupt = view.settle, session.cancel
    with interrupts(session.cancel):
        return view.show(session.turn(text, attachments))


def exit_status(record: TurnRecord) -> ExitStatus:
    """What the command returns for how the turn ended."""
    from localgpt.wire import TurnReason

    statuses: dict[TurnReason, ExitStatus] = {
        TurnReason.DONE: ExitStatus.DONE,
        TurnReason.CANCELLED: ExitStatus.INTERRUPTED,
        TurnReason.DEADLINE: ExitStatus.TIMED_OUT,
        TurnReason.MODEL: ExitStatus.PROVIDER,
    }
    return statuses.get(record.end.reason, ExitStatus.FAILED) if record.end is not None else ExitStatus.FAILED


def as_json(question: str, record: TurnRecord, status: SessionStatus) -> dict[str, object]:
    """The object of ``--json``."""
    usage = record.end.usage if record.end is not None else status.usage
    return {
        "question": question,
        "response": record.text,
        "model": f"{status.provider}/{status.model}",
        "session": status.session_id,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "cost_microusd": usage.cost_microusd,
        },
        "tools": [_tool(record, started) for started in record.started],
        "reason": record.end.reason.value if record.end is not None else "crashed",
        "message": record.end.message if record.end is not None else "",
    }


def _tool(record: TurnRecord, started: ToolStarted) -> dict[str, object]:
    finished = next((event for event in record.finished if event.call_id == started.call_id), None)
    return {
        "tool": started.tool,
        "argv": list(started.argv),
        "verdict": started.verdict.value,
        "code": started.code,
        "outcome": finished.outcome.value if finished is not None else "denied",
        "exit_status": finished.exit_status if finished is not None else None,
        "duration_ms": round(finished.duration_s * 1000) if finished is not None else 0,
    }


def _standard_input() -> str | None:
    if sys.stdin is None or sys.stdin.isatty():
        return None
    data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    if len(data) > MAX_INPUT_BYTES:
        raise InputTooLarge(
            f"standard input is longer than {MAX_INPUT_BYTES >> 20} MiB",
            cure="save it as a file in this folder, and ask about the file",
        )
    return data.decode("utf-8", "replace")


def open_front(*, plain: bool) -> SilentFront:
    """Questions and panels go to standard error; they can be answered only when standard input is a terminal too."""
    import os

    from localgpt.cli.terminal.front import SilentFront, TerminalFront
    from localgpt.cli.terminal.keys import TtyKeyboard
    from localgpt.cli.terminal.screen import Screen, looks_of, size_of

    screen = Screen(sys.stderr, looks_of(sys.stderr, os.environ, plain=plain), lambda: size_of(sys.stderr))
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        return TerminalFront(screen, TtyKeyboard(sys.stdin.fileno()))
    return SilentFront(screen)


def _stdout() -> Screen:
    import os

    from localgpt.cli.terminal.screen import Screen, looks_of, size_of

    return Screen(sys.stdout, looks_of(sys.stdout, os.environ, plain=True), lambda: size_of(sys.stdout))
