"""The gateway process: ``python -I -m localgpt.gateway --fd 3``.

Order matters: the monitor's first message says what to keep; then the process confines itself; only then does it import
an SDK or touch the network.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import threading
from typing import Final

from localgpt.errors import LocalGptError
from localgpt.gateway.confinement import confine_gateway, harden
from localgpt.gateway.frames import FrameChannel
from localgpt.gateway.service import Gateway, warm_up
from localgpt.wire import GatewayReady, GatewayStart, PeerGone, WireError

#: A gateway that only looks for servers is gone before, and the other processes of a session start undisturbed.
_WARM_UP_DELAY_S: Final = 0.25


def main(argv: list[str]) -> int:
    """Run until the monitor closes the channel; 0 then, 1 when the monitor or the confinement is broken."""
    parser = argparse.ArgumentParser(prog="localgpt.gateway")
    parser.add_argument("--fd", type=int, required=True, help="inherited socket to the monitor")
    sock = socket.socket(fileno=parser.parse_args(argv).fd)
    sock.set_inheritable(False)
    harden()
    try:
        asyncio.run(_serve(sock))
    except PeerGone:
        return 0
    except LocalGptError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _serve(sock: socket.socket) -> None:
    channel = await FrameChannel.over(sock)
    first = await channel.receive()
    if not isinstance(first, GatewayStart):
        raise WireError(f"the first message is a {type(first).__name__}, not GatewayStart")
    confine_gateway(first.socket_dirs)
    importing = threading.Thread(target=warm_up, name="sdk-import", daemon=True)
    asyncio.get_running_loop().call_later(_WARM_UP_DELAY_S, importing.start)
    await channel.send(GatewayReady())
    await Gateway(channel, {key.key_id: key.secret for key in first.keys}).serve()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # an SDK import may still be running in its thread; nothing here needs an orderly end
