"""The gateway's work: model calls, several at once, each ending in exactly one `ModelDone` or `ModelFailed`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
from dataclasses import replace
from types import ModuleType
from typing import Final

from localgpt.gateway.answer import Draft
from localgpt.gateway.clients import Clients
from localgpt.gateway.failures import BadAnswer, Cancelled, ModelFailure
from localgpt.gateway.frames import FrameChannel
from localgpt.gateway.prices import cost_microusd
from localgpt.gateway.probe import find_servers
from localgpt.wire import (
    GatewayCall,
    GatewayCancel,
    Message,
    ModelDelta,
    ModelDone,
    ModelFailed,
    PeerGone,
    ProbeServers,
    Protocol,
    ServersFound,
    WireError,
)

#: One import at a time: two threads inside the circular imports of one package can see each other's halves.
_IMPORTING: Final = threading.Lock()


class Gateway:
    """Serves one monitor until it closes the channel."""

    def __init__(self, channel: FrameChannel, keys: dict[str, str]) -> None:
        self._channel = channel
        self._clients = Clients(keys)
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._others: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Handle messages until the monitor is gone.

        Raises:
            WireError: the monitor sent something that does not belong here.
        """
        try:
            while True:
                self._handle(await self._channel.receive())
        except PeerGone:
            return
        finally:
            for task in (*self._calls.values(), *self._others):
                task.cancel()
            await asyncio.gather(*self._calls.values(), *self._others, return_exceptions=True)
            await self._clients.close()

    def _handle(self, message: Message) -> None:
        if isinstance(message, GatewayCall):
            if message.request_id in self._calls:
                raise WireError(f"the request {message.request_id!r} is under way already")
            task = asyncio.create_task(self._call(message))
            self._calls[message.request_id] = task
            task.add_done_callback(lambda _: self._calls.pop(message.request_id, None))
        elif isinstance(message, GatewayCancel):
            if call := self._calls.get(message.request_id):
                call.cancel()
        elif isinstance(message, ProbeServers):
            probe = asyncio.create_task(self._probe(message))
            self._others.add(probe)
            probe.add_done_callback(self._others.discard)
        else:
            raise WireError(f"a {type(message).__name__} does not belong to the gateway")

    async def _probe(self, message: ProbeServers) -> None:
        servers = await find_servers(message.ports)
        with contextlib.suppress(PeerGone):
            await self._channel.send(ServersFound(servers))

    async def _call(self, call: GatewayCall) -> None:
        """Run one call to its end, whatever the end is."""
        try:
            last: Message = await self._answer(call)
        except asyncio.CancelledError:
            last = _failed(call, Cancelled("the call was cancelled"))
        except ModelFailure as failure:
            last = _failed(call, failure)
        except Exception as error:  # noqa: BLE001 -- the outermost loop of a call: the process must outlive it
            where = f"{type(error).__name__} in the gateway"
            last = _failed(call, BadAnswer(f"the call to {call.endpoint.provider} failed: {where}"))
        with contextlib.suppress(PeerGone):
            await self._channel.send(last)

    async def _answer(self, call: GatewayCall) -> ModelDone:
        endpoint = call.endpoint
        peer = self._clients.peer(endpoint)
        draft = Draft(call.request_id, peer, lambda text: self._channel.send(ModelDelta(call.request_id, text)))
        quirks = self._clients.quirks(endpoint)
        if endpoint.protocol is Protocol.ANTHROPIC_MESSAGES:
            messages = await _imported("localgpt.gateway.anthropic_messages")
            answer = await messages.converse(self._clients.anthropic(endpoint), call, quirks, peer, draft)
        else:
            chat = await _imported("localgpt.gateway.openai_chat")
            answer = await chat.converse(self._clients.openai(endpoint), call, quirks, peer, draft)
        usage = replace(answer.usage, cost_microusd=cost_microusd(endpoint, answer.usage))
        return ModelDone(call.request_id, answer.text, answer.tool_calls, answer.stop, usage)


async def _imported(name: str) -> ModuleType:
    """Import in a thread: it takes up to a second, in which other calls and cancellations go on."""
    return await asyncio.to_thread(_import, name)


def _import(name: str) -> ModuleType:
    with _IMPORTING:
        return importlib.import_module(name)


def warm_up() -> None:
    """Import the SDKs before the first call needs them."""
    for name in ("localgpt.gateway.openai_chat", "localgpt.gateway.anthropic_messages"):
        _import(name)


def _failed(call: GatewayCall, failure: ModelFailure) -> ModelFailed:
    return ModelFailed(call.request_id, failure.code, str(failure), failure.retryable)
