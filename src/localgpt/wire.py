"""Messages between the monitor, the gateway and the agent: frozen values in canonical JSON, length-prefixed.

A frame is a 4-byte big-endian length and that many bytes of canonical JSON: ``{"type": NAME, ...fields}``. Decoding
checks every field against the dataclass's annotations; an unknown type, a missing or extra field or a wrong type is a
`WireError`, and the receiver treats the sender as broken. JSON that may hold floats (tool arguments, schemas) travels
as text, so that the frame itself stays canonical.

No message carries a provider key except `GatewayStart`, which only the monitor sends and only the gateway reads.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Final, TypeAlias, cast, get_args, get_origin, get_type_hints

from localgpt import canon
from localgpt.errors import ChannelError
from localgpt.labels import Confidentiality as Confidentiality  # noqa: PLC0414 -- exported: labels travel in messages
from localgpt.labels import Integrity as Integrity  # noqa: PLC0414 -- as above

MAX_FRAME_BYTES: Final = 32 * 1024 * 1024
_LENGTH: Final = struct.Struct(">I")


class WireError(ChannelError):
    """A peer sent bytes that are not a message of this protocol."""

    code = "wire"


class PeerGone(ChannelError):  # noqa: N818 -- named after the condition
    """The other process closed its end: it ended or crashed."""

    code = "wire.peer-gone"


class ReceiveTimeout(ChannelError):  # noqa: N818 -- named after the condition
    """No whole message arrived before the deadline."""

    code = "wire.timeout"


# --- values -----------------------------------------------------------------------------------------------------


class Role(StrEnum):
    """Who speaks in a transcript."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Label:
    """Integrity, confidentiality and origin of one value; `origin` is a short, printable source name."""

    integrity: Integrity
    confidentiality: Confidentiality
    origin: str


class ToolMode(StrEnum):
    """How a model calls tools."""

    OFF = "off"  #: no tools are offered
    NATIVE = "native"  #: the provider's own tool-call protocol
    SCHEMA = "schema"  #: one schema-constrained JSON object per turn; every call parses by construction


class Protocol(StrEnum):
    """A model server's wire protocol."""

    OPENAI_CHAT = "openai-chat"
    ANTHROPIC_MESSAGES = "anthropic-messages"


@dataclass(frozen=True, slots=True)
class ToolDeclaration:
    """What a model is told of a tool. `schema_json`: a JSON Schema object, as text."""

    name: str
    description: str
    schema_json: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model made it. `arguments_json` is its own text, not yet checked."""

    id: str
    name: str
    arguments_json: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One entry of a transcript. `tool_call_id` is set exactly when `role` is TOOL."""

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call or one turn. `cost_microusd` is None when no price is known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_microusd: int | None = None

    def __add__(self, other: Usage) -> Usage:
        costs = [c for c in (self.cost_microusd, other.cost_microusd) if c is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            sum(costs) if costs else None,
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is reached. Exactly one of `base_url`'s TCP address or `socket_path` is connected to.

    `key_id` names a key given in `GatewayStart`; "" means that the server wants none.
    """

    provider: str
    protocol: Protocol
    base_url: str
    model: str
    key_id: str = ""
    socket_path: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """What the agent must know of the model to build its context."""

    name: str
    tool_mode: ToolMode
    context_tokens: int
    max_output_tokens: int
    demo_tier: bool = False


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """Bounds of one turn."""

    max_rounds: int = 25
    max_identical_calls: int = 3
    deadline_s: int = 600


# --- monitor -> agent -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgentStart:
    """First message. The agent can write `session_dir` and nothing else; `project` is for the prompt's text only."""

    session_id: str
    session_dir: str
    resume: bool
    project: str
    model: ModelTraits
    tools: tuple[ToolDeclaration, ...]
    limits: TurnLimits


@dataclass(frozen=True, slots=True)
class AgentUpdate:
    """The model or the offered tools changed between turns (`/model`, `/tools on`)."""

    model: ModelTraits
    tools: tuple[ToolDeclaration, ...]


@dataclass(frozen=True, slots=True)
class Attachment:
    """Text that came with the user's words but is not the user's words (standard input, a paste, a `!cmd` result)."""

    name: str
    text: str
    label: Label


@dataclass(frozen=True, slots=True)
class TurnStart:
    """The user's words, and what came beside them."""

    turn_id: str
    text: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnCancel:
    """End this turn as soon as possible; the agent answers with `TurnEnd`."""

    turn_id: str


class ToolOutcome(StrEnum):
    """How a mediated call ended."""

    DONE = "done"
    FAILED = "failed"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """Answer to a `ToolRequest`. `text` is foreign data and must pass `injection.bound` before a model sees it.

    `notice` is the runtime's own words (a denial's reason, a truncation) and is trusted.
    """

    call_id: str
    outcome: ToolOutcome
    text: str
    label: Label
    notice: str = ""


# --- agent -> monitor -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgentReady:
    """The agent is confined and has loaded its session; `turns` counts the user messages found there."""

    turns: int
    warning: str = ""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Ask for one model call. The monitor adds the policy's prose, decides, logs, and forwards it to the gateway."""

    request_id: str
    turn_id: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolDeclaration, ...]
    max_tokens: int
    schema_json: str | None = None
    temperature_milli: int | None = None


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """Ask for one effect."""

    call_id: str
    turn_id: str
    name: str
    arguments_json: str


@dataclass(frozen=True, slots=True)
class TurnText:
    """A piece of the answer, for the user's eyes."""

    turn_id: str
    text: str


class TurnReason(StrEnum):
    """Why a turn ended."""

    DONE = "done"
    CANCELLED = "cancelled"
    ROUNDS = "rounds"  #: the model used up its rounds
    REPEATED = "repeated"  #: the same call over and over
    DEADLINE = "deadline"
    MODEL = "model"  #: the provider failed
    CRASHED = "crashed"  #: a process of the runtime ended


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """The turn is over and durable in the session file."""

    turn_id: str
    reason: TurnReason
    message: str
    usage: Usage


# --- monitor -> gateway -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A secret. Never logged, never printed: `repr` hides it."""

    key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"ProviderKey(key_id={self.key_id!r}, secret=<hidden>)"


@dataclass(frozen=True, slots=True)
class GatewayStart:
    """First message: every key the gateway may use, and the directories whose unix sockets it may connect to."""

    keys: tuple[ProviderKey, ...]
    socket_dirs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayCall:
    """One model call, decided and logged. The policy's prose is already inside `messages`."""

    request_id: str
    endpoint: Endpoint
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolDeclaration, ...]
    max_tokens: int
    schema_json: str | None = None
    temperature_milli: int | None = None


@dataclass(frozen=True, slots=True)
class GatewayCancel:
    """Drop this call's connection."""

    request_id: str


@dataclass(frozen=True, slots=True)
class ProbeServers:
    """Look which of these loopback ports speaks an OpenAI-compatible protocol. Only 127.0.0.1 is contacted."""

    ports: tuple[int, ...]


# --- gateway -> monitor (ModelDelta, ModelDone and ModelFailed go on to the agent as they are) --------------------


@dataclass(frozen=True, slots=True)
class GatewayReady:
    """The gateway is confined and has its keys. SDKs may still be importing."""


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A model server on loopback. `product`: "ollama", "lm-studio", "llama-server" or "openai-compatible"."""

    port: int
    product: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServersFound:
    """Answer to `ProbeServers`."""

    servers: tuple[FoundServer, ...]


@dataclass(frozen=True, slots=True)
class ModelDelta:
    """A piece of the model's text."""

    request_id: str
    text: str


class StopReason(StrEnum):
    """Why the model stopped."""

    END = "end"
    TOOLS = "tools"
    LENGTH = "length"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ModelDone:
    """The whole answer of one model call; `text` repeats what the deltas carried."""

    request_id: str
    text: str
    tool_calls: tuple[ToolCall, ...]
    stop: StopReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class ModelFailed:
    """The call failed. `code` is a `ModelError` code ("model.overloaded", "model.cut"); `message` holds no secret."""

    request_id: str
    code: str
    message: str
    retryable: bool


# --- monitor <-> embedded model server ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EmbeddedStart:
    """Load `model_path` (a GGUF file) and serve it on `socket_path` (a unix socket in a 0700 directory) or, when that
    is None, on a loopback port. `api_key` is demanded of every request."""

    model_path: str
    model_name: str
    socket_path: str | None
    api_key: str
    threads: int
    context_tokens: int

    def __repr__(self) -> str:
        return f"EmbeddedStart(model_path={self.model_path!r}, socket_path={self.socket_path!r}, api_key=<hidden>)"


@dataclass(frozen=True, slots=True)
class EmbeddedReady:
    """The model is loaded and the server answers at `base_url` (through `socket_path` when that is set)."""

    base_url: str
    socket_path: str | None
    context_tokens: int
    load_ms: int


@dataclass(frozen=True, slots=True)
class EmbeddedFailed:
    """The model could not be loaded or served."""

    message: str


Message: TypeAlias = (
    AgentStart | AgentUpdate | TurnStart | TurnCancel | ToolResult | AgentReady | ModelRequest | ToolRequest | TurnText
    | TurnEnd | GatewayStart | GatewayCall | GatewayCancel | ProbeServers | GatewayReady | ServersFound | ModelDelta
    | ModelDone | ModelFailed | EmbeddedStart | EmbeddedReady | EmbeddedFailed
)  # fmt: skip

_TYPES: Final[dict[str, type[Any]]] = {t.__name__: t for t in get_args(Message)}


# --- codec ------------------------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """Encode `message` as one frame, length included. Lone surrogates in strings become U+FFFD."""
    body = cast("dict[str, canon.Json]", _plain(message))
    payload = canon.encode({"type": type(message).__name__, **body})
    if len(payload) > MAX_FRAME_BYTES:
        raise WireError(f"a {type(message).__name__} of {len(payload)} bytes is beyond the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


def decode(payload: bytes) -> Message:
    """Decode one frame's payload (without its length).

    Raises:
        WireError: unknown type, unknown or missing field, wrong type of a field, bytes that are not canonical.
    """
    try:
        body = canon.decode_object(payload)
    except canon.CanonError as error:
        raise WireError(str(error)) from error
    name = body.pop("type", None)
    kind = _TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise WireError(f"unknown message type {name!r}")
    return cast("Message", _build(kind, body, kind.__name__))


def _plain(value: object) -> canon.Json:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    raise WireError(f"a {type(value).__name__} cannot travel")


@cache
def _hints(kind: Any) -> dict[str, Any]:  # noqa: ANN401 -- a class, which mypy does not hold for hashable
    return get_type_hints(kind)


def _build(kind: Any, body: canon.Json, where: str) -> object:  # noqa: ANN401 -- any message class
    hints = _hints(kind)
    if not isinstance(body, dict) or body.keys() != hints.keys():
        raise WireError(f"{where}: its fields are not those of {kind.__name__}")
    return kind(**{name: _value(hint, body[name], f"{where}.{name}") for name, hint in hints.items()})


def _value(hint: Any, value: canon.Json, where: str) -> object:  # noqa: ANN401 -- a type hint is any object
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), value, where)
    if isinstance(hint, UnionType):
        if value is None and NoneType in get_args(hint):
            return None
        (hint,) = (h for h in get_args(hint) if h is not NoneType)
    if isinstance(hint, type):
        if issubclass(hint, StrEnum) and isinstance(value, str):
            with contextlib.suppress(ValueError):
                return hint(value)
        elif is_dataclass(hint):
            return _build(hint, value, where)
        elif type(value) is hint:
            return value
    raise WireError(f"{where}: {type(value).__name__} is not {hint}")


def _tuple(arguments: tuple[Any, ...], value: canon.Json, where: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise WireError(f"{where}: not a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise WireError(f"{where}: {len(value)} items where {len(arguments)} belong")
    return tuple(
        _value(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(arguments, value, strict=True))
    )


# --- channel ----------------------------------------------------------------------------------------------------


class Channel:
    """One end of a socketpair, carrying whole messages in both directions. Blocking; not shared between threads."""

    _CHUNK: ClassVar[int] = 256 * 1024

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._buffer = bytearray()

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def has_buffered(self) -> bool:
        """Whether a whole message is already here, so that `select` would wait in vain."""
        size = self._pending_size()
        return size is not None and len(self._buffer) >= _LENGTH.size + size

    def send(self, message: Message) -> None:
        """Send one message, waiting until the peer took it.

        While the peer is not reading, whatever it sends is taken in: two sides that send to each other at once with
        full buffers would otherwise wait for each other for ever.

        Raises:
            PeerGone: when the peer has closed its end.
        """
        rest = memoryview(encode(message))
        while rest:
            try:
                rest = rest[self._sock.send(rest, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                if select.select([self._sock], [self._sock], [])[0]:
                    self._fill()
            except (BrokenPipeError, ConnectionResetError) as error:
                raise PeerGone("the other process ended") from error

    def receive(self, timeout_s: float | None = None) -> Message:
        """Receive one message.

        Raises:
            PeerGone: end of file, also in the middle of a frame.
            ReceiveTimeout: nothing whole within `timeout_s` seconds.
            WireError: the frame is too large or not a message.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            size = self._pending_size()
            if size is not None and len(self._buffer) >= _LENGTH.size + size:
                payload = bytes(self._buffer[_LENGTH.size : _LENGTH.size + size])
                del self._buffer[: _LENGTH.size + size]
                return decode(payload)
            if (
                deadline is not None
                and not select.select([self._sock], [], [], max(0.0, deadline - time.monotonic()))[0]
            ):
                raise ReceiveTimeout(f"no message within {timeout_s} s")
            self._fill()

    def close(self) -> None:
        self._sock.close()

    def _pending_size(self) -> int | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        size = int(_LENGTH.unpack_from(self._buffer)[0])
        if size > MAX_FRAME_BYTES:
            raise WireError(f"a frame of {size} bytes is beyond the limit of {MAX_FRAME_BYTES}")
        return size

    def _fill(self) -> None:
        try:
            chunk = self._sock.recv(self._CHUNK)
        except ConnectionResetError as error:
            raise PeerGone("the other process ended") from error
        if not chunk:
            raise PeerGone("the other process ended")
        self._buffer += chunk
