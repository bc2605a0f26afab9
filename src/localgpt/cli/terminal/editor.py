"""The input line on a real terminal. The only module that loads prompt_toolkit (some 100 ms): import it late.

Enter sends; Alt-Enter, or Enter after a trailing backslash, begins a new line (`/multiline` swaps the two). Ctrl-C
empties the line, Ctrl-D on an empty line leaves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.defaults import create_input
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from localgpt.cli.terminal.completion import Offers
from localgpt.cli.terminal.history import prepare_history
from localgpt.cli.terminal.pastes import Pastes, clean
from localgpt.cli.terminal.typed import Typed

_STYLE: Final = Style.from_dict(
    {
        "prompt": "bold",
        "bottom-toolbar": "noreverse",
        "status": "ansibrightblack",
        "status.model": "bold",
        "status.warn": "ansiyellow",
        "status.bad": "ansired bold",
        "status.note": "ansicyan",
    }
)


class _SafeFileHistory(FileHistory):
    """Forgets instead of failing: a full disk must not end the chat."""

    def store_string(self, string: str) -> None:
        try:
            super().store_string(clean(string))
        except OSError:
            return


class _Offered(Completer):
    def __init__(self, offers: Offers) -> None:
        self._offers = offers

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        for offer in self._offers.find(document.text_before_cursor, asked=complete_event.completion_requested):
            yield Completion(offer.text, -offer.replaces, display=offer.text, display_meta=offer.meta)


class Editor:
    """Reads one input after the other. `toolbar` gives the status line's (style class, text) parts, escaped."""

    def __init__(
        self,
        history: Path | None,
        offers: Offers,
        toolbar: Callable[[], list[tuple[str, str]]],
        *,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_ready` is called once, when the first prompt is on the screen."""
        self.multiline = False
        self._pastes = Pastes()
        self._toolbar = toolbar
        self._session: PromptSession[str] = PromptSession(
            history=open_history(history),
            multiline=True,
            key_bindings=self._bindings(),
            completer=_Offered(offers),
            # Room for the menu is kept only where completions come by themselves: in a command.
            complete_while_typing=Condition(lambda: get_app().current_buffer.text.startswith("/")),
            complete_in_thread=False,
            bottom_toolbar=self._bottom,
            prompt_continuation=lambda width, _line, _wrapped: " " * (width - 2) + "· ",
            style=_STYLE,
            reserve_space_for_menu=4,
            input=create_input(sys.stdin),
            output=_Unasking.from_pty(sys.stdout),
        )
        self._on_ready: Callable[[], None] | None = on_ready
        self._session.app.after_render += self._rendered

    def read(self) -> Typed:
        """Read one input.

        Raises:
            EOFError: Ctrl-D on an empty line, or the terminal is gone.
            KeyboardInterrupt: Ctrl-C.
        """
        text = clean(self._session.prompt([("class:prompt", "> ")]))
        return Typed(text, self._pastes.attachments(text))

    def _rendered(self, _app: Application[str]) -> None:
        ready, self._on_ready = self._on_ready, None
        if ready is not None:
            ready()

    def _bottom(self) -> StyleAndTextTuples:
        parts: StyleAndTextTuples = []
        for style, text in self._toolbar():
            parts += [("class:status", " │ ")] if parts else []
            parts.append((style, text))
        return parts

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()

        @bindings.add(Keys.BracketedPaste)
        def _paste(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text(self._pastes.take(event.data))

        @bindings.add(Keys.Enter)
        def _enter(event: KeyPressEvent) -> None:
            self._enter(event.current_buffer)

        @bindings.add(Keys.Escape, Keys.Enter)
        def _alt_enter(event: KeyPressEvent) -> None:
            if self.multiline:
                event.current_buffer.validate_and_handle()
            else:
                event.current_buffer.insert_text("\n")

        return bindings

    def _enter(self, buffer: Buffer) -> None:
        if buffer.document.current_line_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        elif self.multiline and not buffer.text.startswith("/"):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()


class _Unasking(Vt100_Output):
    """A terminal that is never asked where its cursor is: the answer could arrive among the keys of a question."""

    @property
    def responds_to_cpr(self) -> bool:
        return False

    def get_rows_below_cursor_position(self) -> int:
        """At least the row of the cursor; without any figure the status line would not be shown."""
        return 1


def open_history(path: Path | None) -> History:
    """The history in the file, or one that is forgotten at the end."""
    usable = prepare_history(path) if path is not None else None
    return _SafeFileHistory(str(usable)) if usable is not None else InMemoryHistory()
