"""The chat loop over a scripted session: what is handed over, what is shown, and what survives an error."""

import contextlib
import signal
from collections.abc import Iterator

import pytest

from localgpt.cli.terminal.answer import MarkdownAnswer, PlainAnswer
from localgpt.cli.terminal.loop import Chat
from localgpt.cli.terminal.markdown import MarkdownRenderer
from localgpt.cli.terminal.pastes import LABEL
from localgpt.cli.terminal.screen import Looks
from localgpt.cli.terminal.turn import TurnView, interrupts
from localgpt.cli.terminal.typed import Typed
from localgpt.errors import AuditError, ExitStatus
from localgpt.monitor.events import (
    Event,
    Level,
    Notice,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    Verdict,
)
from localgpt.wire import Attachment, ToolOutcome, TurnReason, Usage
from tests.cli.terminal_sim import (
    COLOUR,
    DONE,
    MONO,
    PLAIN,
    Emulator,
    ScriptedReader,
    ScriptedSession,
    ScriptedSessions,
    screen_on,
)

RAN: list[Event] = [
    ToolStarted("c1", "shell", ("ls", "-l"), Verdict.ALLOW, "rule.run", "commands without network"),
    ToolFinished("c1", ToolOutcome.DONE, 0, 0.02, "a.txt\n"),
]
DENIED: list[Event] = [
    ToolStarted("c2", "shell", ("cat", "/home/ann/.ssh/id_rsa"), Verdict.DENY, "rule.secret", "a secret file"),
    ToolFinished("c2", ToolOutcome.DENIED, None, 0.0, ""),
]


FAREWELL = "saved; localgpt chat --continue goes on from here"


class Ran:
    """One whole chat."""

    def __init__(
        self,
        *inputs: str | Typed | type[BaseException],
        session: ScriptedSession | None = None,
        sessions: ScriptedSessions | None = None,
        looks: Looks = MONO,
    ) -> None:
        self.emulator = Emulator(80, 200)
        self.session = session or ScriptedSession()
        screen = screen_on(self.emulator, looks)
        answer = MarkdownAnswer(screen, lambda: MarkdownRenderer(looks)) if looks.moves else PlainAnswer(screen)
        self.reader = ScriptedReader(*inputs)
        self.quiet = 0
        self.chat = Chat(
            screen=screen,
            sessions=sessions or ScriptedSessions(),
            session=self.session,
            reader=lambda _chat: self.reader,
            view=TurnView(screen, answer),
            version="1.2.3",
            quiet=self._quiet,
        )
        self.status = self.chat.run()

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        self.quiet += 1
        yield

    @property
    def lines(self) -> list[str]:
        """What was shown before the farewell."""
        return [line for line in self.emulator.lines if line != FAREWELL]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def test_a_question_is_answered() -> None:
    session = ScriptedSession(turns=[[TextDelta("Hello **"), TextDelta("you**"), DONE]])
    ran = Ran("hi there", session=session)
    assert ran.text == "Hello you"
    assert session.heard == [("hi there", ())]
    assert ran.status is ExitStatus.DONE
    assert session.closed
    assert ran.quiet == 1


def test_a_tool_call_stands_between_the_parts_of_the_answer() -> None:
    session = ScriptedSession(turns=[[TextDelta("I look."), *RAN, TextDelta("There is one file."), DONE]])
    assert Ran("what is here", session=session).lines == [
        "I look.",
        "╭ shell: allowed (rule.run)",
        "│ ls -l",
        "│ a.txt",
        "╰ exit 0, 20 ms",
        "There is one file.",
    ]


def test_a_denied_call_has_one_panel() -> None:
    ran = Ran("x", session=ScriptedSession(turns=[[*DENIED, DONE]]))
    assert ran.lines == [
        "╭ shell: denied (rule.secret)",
        "│ cat /home/ann/.ssh/id_rsa",
        "│ a secret file",
        "╰ not run",
    ]


def test_a_denial_is_not_said_twice() -> None:
    again = ToolFinished("c2", ToolOutcome.DENIED, None, 0.0, "", "a secret file")
    ran = Ran("x", session=ScriptedSession(turns=[[DENIED[0], again, DONE]]))
    assert ran.text.count("a secret file") == 1


def test_a_user_command_runs_and_shows_more_output() -> None:
    output = "\n".join(f"row {n}" for n in range(100))
    session = ScriptedSession(commands=[[RAN[0], ToolFinished("c1", ToolOutcome.DONE, 0, 0.02, output)]])
    ran = Ran("!ls -l", "!", session=session)
    assert session.ran == ["ls -l"]
    assert "row 50" in ran.text


def test_a_paste_goes_along() -> None:
    attachment = Attachment("pasted 9 lines", "x", LABEL)
    session = ScriptedSession()
    Ran(Typed("explain [pasted 9 lines]", (attachment,)), session=session)
    assert session.heard == [("explain [pasted 9 lines]", (attachment,))]


def test_nothing_typed_is_no_turn() -> None:
    session = ScriptedSession()
    Ran("", "   ", "\n", session=session)
    assert session.heard == []


def test_a_path_is_no_slash_command() -> None:
    session = ScriptedSession()
    Ran("/etc/hosts is what?", session=session)
    assert session.heard == [("/etc/hosts is what?", ())]


def test_control_c_at_the_prompt_hints_and_goes_on() -> None:
    session = ScriptedSession()
    ran = Ran(KeyboardInterrupt, "still here", session=session)
    assert "(Ctrl-D or /quit leaves)" in ran.text
    assert len(session.heard) == 1


@pytest.mark.parametrize(
    ("reason", "message", "shown"),
    [
        (TurnReason.CANCELLED, "cancelled by the user", "stopped"),
        (TurnReason.MODEL, "503 overloaded\x1b[2J", "error: the model failed: 503 overloaded␛[2J"),
        (TurnReason.DEADLINE, "", "warning: ended: the turn reached its deadline"),
        (TurnReason.REPEATED, "", "warning: ended: the model made the same call over and over"),
    ],
)
def test_how_a_turn_ended_is_said(reason: TurnReason, message: str, shown: str) -> None:
    session = ScriptedSession(turns=[[TextDelta("part"), TurnFinished(reason, message, Usage())]])
    assert Ran("x", session=session).lines == ["part", shown]


def test_an_error_of_the_runtime_is_shown_and_the_chat_goes_on() -> None:
    session = ScriptedSession(
        turns=[[TextDelta("half an "), AuditError("the log cannot be written", cure="free some space")], [DONE]]
    )
    ran = Ran("one", "two", session=session)
    assert ran.lines == ["half an", "error: the log cannot be written", "cure: free some space"]
    assert len(session.heard) == 2


def test_an_error_of_ours_is_not_hidden_and_the_session_is_closed() -> None:
    session = ScriptedSession(turns=[[ValueError("a defect")]])
    with pytest.raises(ValueError, match="a defect"):
        Ran("x", session=session)
    assert session.closed


def test_notices_are_escaped() -> None:
    session = ScriptedSession(turns=[[Notice(Level.WARNING, "the agent said \x1b]0;x\x07"), DONE]])
    assert Ran("x", session=session).text == "warning: the agent said ␛]0;x␇"


def test_plain_output_has_no_control_characters_at_all() -> None:
    session = ScriptedSession(turns=[[TextDelta("# T\n**b** \x1b[1m"), *RAN, *DENIED, DONE]])
    ran = Ran("x", "/help", "/status", session=session, looks=PLAIN)
    assert "\x1b" not in ran.emulator.raw
    assert "# T\n**b** ␛[1m\n" in ran.emulator.raw


def test_something_is_shown_while_nothing_comes() -> None:
    seen: list[list[str]] = []

    class Watched(ScriptedSession):
        def turn(self, text: str, attachments: tuple[Attachment, ...] = ()) -> Iterator[Event]:
            seen.append(holder[0].lines)
            yield TextDelta("x")
            yield DONE

    emulator = Emulator()
    holder = [emulator]
    screen = screen_on(emulator, MONO)
    view = TurnView(screen, MarkdownAnswer(screen, lambda: MarkdownRenderer(MONO)))
    view.show(Watched().turn("x"))
    assert seen == [["thinking …"]]
    assert emulator.lines == ["x"]


def test_control_c_cancels_the_turn_and_not_the_program() -> None:
    class Interrupted(ScriptedSession):
        def turn(self, text: str, attachments: tuple[Attachment, ...] = ()) -> Iterator[Event]:
            self.heard.append((text, attachments))
            yield TextDelta("begin")
            signal.raise_signal(signal.SIGINT)
            assert self.cancels == 1
            yield TurnFinished(TurnReason.CANCELLED, "", Usage())

    before = signal.getsignal(signal.SIGINT)
    session = Interrupted()
    ran = Ran("one", "/status", session=session)
    assert "stopped" in ran.text
    assert "LocalGPT 1.2.3" in ran.text  # the command after the stopped turn
    assert signal.getsignal(signal.SIGINT) is before


def test_the_third_control_c_no_longer_waits() -> None:
    class Stuck(ScriptedSession):
        def turn(self, text: str, attachments: tuple[Attachment, ...] = ()) -> Iterator[Event]:
            while True:
                signal.raise_signal(signal.SIGINT)
                yield TextDelta("x")

    session = Stuck()
    ran = Ran("one", session=session)
    assert session.cancels == 2
    assert "stopped without waiting" in ran.text


def test_interrupts_outside_the_main_thread_are_left_alone() -> None:
    import threading

    failures: list[BaseException] = []

    def body() -> None:
        try:
            with interrupts(lambda: None):
                pass
        except BaseException as error:  # noqa: BLE001 -- carried to the test's own thread
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert failures == []


def test_colours_do_not_change_the_words() -> None:
    events: list[Event | Exception] = [TextDelta("a **b**"), *RAN, *DENIED, DONE]
    coloured = Ran("x", "/why", session=ScriptedSession(turns=[list(events)]), looks=COLOUR)
    mono = Ran("x", "/why", session=ScriptedSession(turns=[list(events)]))
    assert coloured.lines == mono.lines


def test_after_a_conversation_the_way_back_is_told() -> None:
    assert Ran("hello").emulator.lines[-1] == FAREWELL
    assert Ran("/status").emulator.lines[-1] != FAREWELL
