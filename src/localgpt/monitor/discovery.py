"""Model servers that run on this machine already, asked by a gateway of their own that has no keys."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Final

from localgpt.errors import ChannelError
from localgpt.monitor.children import Room, spawn
from localgpt.monitor.journal import Journal
from localgpt.monitor.listeners import loopback_listeners
from localgpt.monitor.models import Found
from localgpt.wire import Channel, FoundServer, GatewayStart, ProbeServers, ServersFound

PORTS: Final = (11434, 1234, 8080)  #: Ollama, LM Studio, llama-server
_DEADLINE_S: Final = 4.0


def discover(environ: Mapping[str, str], journal: Journal, ports: tuple[int, ...] = PORTS) -> tuple[Found, ...]:
    """Look for servers on `ports`. Nothing is started and nobody contacted when nobody listens there."""
    listeners = {listener.port: listener for listener in loopback_listeners(ports)}
    if not listeners:
        return ()
    journal.probing(tuple(listeners))
    journal.process_starting(Room.GATEWAY.value, sys.executable)
    child = spawn(Room.GATEWAY, environ)
    try:
        servers = _probe(child.channel, tuple(listeners))
    except ChannelError:
        servers = ()
    journal.process_ended(Room.GATEWAY, pid=child.pid, status=child.end())
    return tuple(Found(server, listeners[server.port]) for server in servers if server.port in listeners)


def _probe(channel: Channel, ports: tuple[int, ...]) -> tuple[FoundServer, ...]:
    channel.send(GatewayStart(()))
    channel.send(ProbeServers(ports))
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        message = channel.receive(timeout_s=max(0.0, deadline - time.monotonic()))
        if isinstance(message, ServersFound):
            return message.servers
