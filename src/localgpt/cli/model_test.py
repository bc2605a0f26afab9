"""One question to a model, through the same monitor as a conversation, in an empty folder and with tools off."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from localgpt.cli.init import prepare
from localgpt.cli.start import use
from localgpt.cli.state import State
from localgpt.monitor.events import Answer, Choice, Notice, Question, TextDelta, TurnFinished
from localgpt.monitor.project import Project
from localgpt.monitor.runtime import Runtime, Setup
from localgpt.monitor.session import Session
from localgpt.wire import TurnReason

_QUESTION = "Reply with the single word: ready"
_AGENT = "model-test"  # its sessions are kept apart from the user's


class _Nobody:
    """Nobody is there to be asked: everything is denied."""

    def ask(self, question: Question) -> Answer:  # noqa: ARG002 -- the interface
        return Answer(Choice.DENY, "nobody is asked in a test")


def ask_once(state: State, name: str | None) -> dict[str, object]:
    """Ask, and report what came of it.

    Raises:
        UnknownModel, ProviderUnusable, WeightsError: the model cannot be reached at all.
    """
    for _ in prepare(state):
        pass
    with tempfile.TemporaryDirectory(prefix="localgpt-model-test-") as folder:
        project = Project(Path(os.path.realpath(folder)), trusted=False)
        setup = Setup(state.paths, state.config, state.environ, project, _AGENT)
        with Runtime(setup, _Nobody()) as runtime:
            selection = runtime.choose_model(name, None)
            model = use(state, runtime, selection, _progress)
            session = runtime.session(model, find_model=lambda _name: model)
            try:
                found = {"model": str(selection.ref), "at": selection.base_url or "this program"}
                passed_over = {"instead_of": "; ".join(selection.notices)} if selection.notices else {}
                return {**found, **passed_over, **_one_turn(session)}
            finally:
                session.close()


def _one_turn(session: Session) -> dict[str, object]:
    session.set_tools(False)
    started = time.monotonic()
    first: float | None = None
    text, notices = "", []
    end: TurnFinished | None = None
    for event in session.turn(_QUESTION):
        if isinstance(event, TextDelta):
            first = time.monotonic() - started if first is None else first
            text += event.text
        elif isinstance(event, Notice):
            notices.append(event.text)
        elif isinstance(event, TurnFinished):
            end = event
    ok = end is not None and end.reason is TurnReason.DONE and bool(text.strip())
    return {
        "ok": ok,
        "answer": text.strip()[:200],
        "problem": "" if ok else " ".join([*notices, end.message if end else "", "" if text else "no text came back"]),
        "first_text_s": None if first is None else round(first, 2),
        "whole_s": round(time.monotonic() - started, 2),
        "input_tokens": end.usage.input_tokens if end else 0,
        "output_tokens": end.usage.output_tokens if end else 0,
    }


def _progress(done_bytes: int, total_bytes: int) -> None:
    if sys.stderr.isatty() and total_bytes:
        end = "\n" if done_bytes >= total_bytes else ""
        sys.stderr.write(f"\rfetching the model: {done_bytes >> 20} of {total_bytes >> 20} MiB{end}")
