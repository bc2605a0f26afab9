"""One model call: the request out, the pieces in, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

from localgpt.agent.schema_mode import Answer, AnswerStream, Broken, read_step
from localgpt.agent.turn import Turn
from localgpt.wire import ModelDelta, ModelDone, ModelFailed, ModelRequest, StopReason, ToolCall


class CallFailed(Exception):  # noqa: N818 -- an outcome that the loop decides about
    """The model call failed; `failure` says why."""

    def __init__(self, failure: ModelFailed) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Heard:
    """What a model said: words, calls or both. `broken`: it began a step in schema mode that cannot be read."""

    text: str
    calls: tuple[ToolCall, ...]
    stop: StopReason
    broken: bool = False


class ModelCall:
    """One call. `shown` is what the user has seen of it, also when it fails or is cancelled."""

    def __init__(self, turn: Turn, request: ModelRequest) -> None:
        self._turn = turn
        self._request = request
        self._stream = AnswerStream() if request.schema_json is not None else None
        self._shown: list[str] = []

    @property
    def shown(self) -> str:
        return "".join(self._shown)

    def run(self) -> Heard:
        """Send the request and wait for the whole answer, showing its words as they come.

        Raises:
            CallFailed: the provider failed.
            Stopped: the turn ended first.
        """
        self._turn.send(self._request)
        while True:
            message = self._turn.receive()
            if getattr(message, "request_id", None) != self._request.request_id:
                continue  # of a call that was given up
            match message:
                case ModelDelta(text=text):
                    self._show(self._stream.feed(text) if self._stream else text)
                case ModelFailed():
                    raise CallFailed(message)
                case ModelDone():
                    return self._heard(message)
                case _:
                    pass

    def _show(self, text: str) -> None:
        if text:
            self._shown.append(text)
            self._turn.show(text)

    def _heard(self, done: ModelDone) -> Heard:
        self._turn.usage += done.usage
        if self._stream is None or done.tool_calls:
            self._show_rest(done.text)
            return Heard(done.text, done.tool_calls, done.stop)
        match read_step(done.text):
            case Answer(text=text, whole=whole):
                self._show_rest(text)
                return Heard(text, (), done.stop if whole else StopReason.LENGTH)
            case Broken():
                return Heard(done.text, (), done.stop, broken=True)
            case step:
                return Heard("", (ToolCall("", step.name, step.arguments_json),), done.stop)

    def _show_rest(self, text: str) -> None:
        """Show what no piece carried: some servers do not stream."""
        shown = self.shown
        if text.startswith(shown):
            self._show(text[len(shown) :])
