"""One gateway process as the monitor sees it: started for real, spoken to over its channel."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from localgpt.wire import (
    Channel,
    ChatMessage,
    Endpoint,
    GatewayCall,
    GatewayReady,
    GatewayStart,
    Message,
    ModelDelta,
    ModelDone,
    ModelFailed,
    Protocol,
    ProviderKey,
    Role,
)

PATIENCE_S = 60.0
OPENAI, ANTHROPIC = Protocol.OPENAI_CHAT, Protocol.ANTHROPIC_MESSAGES
_NUMBERS = itertools.count(1)


@dataclass
class Heard:
    """Everything one call said."""

    deltas: list[str] = field(default_factory=list)
    last: ModelDone | ModelFailed | None = None

    @property
    def done(self) -> ModelDone:
        assert isinstance(self.last, ModelDone), self.last
        return self.last

    @property
    def failed(self) -> ModelFailed:
        assert isinstance(self.last, ModelFailed), self.last
        return self.last


@dataclass
class Conversation:
    """A running gateway."""

    channel: Channel
    process: subprocess.Popen[bytes]

    def send(self, message: Message) -> None:
        self.channel.send(message)

    def ask(self, endpoint: Endpoint, text: str = "hello", **fields: Any) -> Heard:
        """Make one call and hear it out."""
        call = make_call(endpoint, text, **fields)
        self.send(call)
        return self.hear(call.request_id)[call.request_id]

    def hear(self, *request_ids: str) -> dict[str, Heard]:
        """Read until every request has ended."""
        heard = {request_id: Heard() for request_id in request_ids}
        while any(h.last is None for h in heard.values()):
            message = self.channel.receive(PATIENCE_S)
            assert isinstance(message, (ModelDelta, ModelDone, ModelFailed)), message
            entry = heard[message.request_id]
            assert entry.last is None, f"after its end: {message}"
            if isinstance(message, ModelDelta):
                entry.deltas.append(message.text)
            else:
                entry.last = message
        return heard


def make_call(endpoint: Endpoint, text: str = "hello", **fields: Any) -> GatewayCall:
    """Give a call with one user message unless `messages` are given."""
    values: dict[str, Any] = {"messages": (ChatMessage(Role.USER, text),), "tools": (), "max_tokens": 100, **fields}
    return GatewayCall(request_id=f"r{next(_NUMBERS)}", endpoint=endpoint, **values)


def endpoint_of(base_url: str, protocol: Protocol = OPENAI, **fields: Any) -> Endpoint:
    """Give an endpoint at a test server."""
    return Endpoint(
        **{"provider": "scripted", "protocol": protocol, "base_url": base_url, "model": "scripted", **fields}
    )


@contextlib.contextmanager
def gateway(
    keys: Sequence[ProviderKey] = (),
    *,
    module: str = "localgpt.gateway",
    environ: dict[str, str] | None = None,
    socket_dirs: tuple[str, ...] = (tempfile.gettempdir(),),
) -> Iterator[Conversation]:
    """Start a gateway, wait until it is ready, and end it with the block."""
    with child(module, environ) as talk:
        talk.send(GatewayStart(tuple(keys), socket_dirs))
        assert talk.channel.receive(PATIENCE_S) == GatewayReady()
        yield talk


@contextlib.contextmanager
def child(module: str, environ: dict[str, str] | None = None) -> Iterator[Conversation]:
    """Start `module` as the monitor starts its children."""
    ours, theirs = socket.socketpair()
    base = {name: os.environ[name] for name in ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", module, "--fd", str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**base, **(environ or {})},
        cwd="/",
    )
    theirs.close()
    talk = Conversation(Channel(ours), process)
    try:
        yield talk
    finally:
        ours.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def wait_until(condition: Any, timeout_s: float = 20.0) -> None:
    """Wait for something that has no event of its own."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
