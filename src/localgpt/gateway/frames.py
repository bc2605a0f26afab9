"""The channel to the monitor for asyncio: frames of `localgpt.wire` over one inherited socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

from localgpt import wire
from localgpt.wire import Message, PeerGone, WireError

_LENGTH: Final = struct.Struct(">I")


class FrameChannel:
    """One end of the socketpair. `send` may be called by many tasks, `receive` by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()

    @classmethod
    async def over(cls, sock: socket.socket) -> FrameChannel:
        """Take over a connected stream socket."""
        return cls(*await asyncio.open_connection(sock=sock))

    async def send(self, message: Message) -> None:
        """Send one message, waiting while the monitor is slow. Raises `PeerGone` when it has ended."""
        async with self._sending:
            try:
                self._writer.write(wire.encode(message))
                await self._writer.drain()
            except (ConnectionError, BrokenPipeError) as error:
                raise PeerGone("the monitor ended") from error

    async def receive(self) -> Message:
        """Receive one message.

        Raises:
            PeerGone: end of file, also in the middle of a frame.
            WireError: the frame is too large or not a message.
        """
        try:
            size = int(_LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))[0])
            if size > wire.MAX_FRAME_BYTES:
                raise WireError(f"a frame of {size} bytes is beyond the limit of {wire.MAX_FRAME_BYTES}")
            return wire.decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise PeerGone("the monitor ended") from error

    def close(self) -> None:
        self._writer.close()
