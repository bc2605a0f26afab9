"""Messages between the runtime and the two processes of the proxy: one datagram each, fixed fields and a short text.

Both sides may be attacked through what they parse, so a message holds only numbers and at most `LONGEST` bytes of
ASCII, and what is not one ends the peer that sent it. A descriptor may go along (SCM_RIGHTS).
"""

from __future__ import annotations

import array
import os
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from localgpt.sandbox.faults import ProxyFailed

LONGEST: Final = 512
_HEAD: Final = struct.Struct("!BIIH")
_MSG_CMSG_CLOEXEC: Final = 0x4000_0000


class Kind(IntEnum):
    """What a message says. `text` holds what is named after the dash."""

    READY = 1  # from both: confined and tested - what was found
    LISTEN = 2  # to the front: here is the listener
    ASK = 3  # from the front: may I reach this host at this port - host
    DIAL = 4  # to the dialer: connect to this host and port - host, then the addresses that are listed themselves
    OPEN = 5  # from the dialer, and on to the front: here is the connection - address
    REFUSED = 6  # the same, but there is none - code, then the address or why
    CLOSED = 7  # from the front: a connection ended - code, bytes sent, bytes received
    RESET = 8  # to the front: end every connection; from it: all are ended. `number` is the next command's


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. `run` counts commands, `number` connections, so that an answer to an old question is noticed."""

    kind: Kind
    run: int = 0
    number: int = 0
    port: int = 0
    text: str = ""

    @property
    def words(self) -> list[str]:
        return self.text.split()


def send(peer: socket.socket, frame: Frame, descriptor: int | None = None) -> None:
    """Send one message; the descriptor is duplicated, not taken.

    Raises:
        ProxyFailed: nobody is there, or does not read.
    """
    data = _HEAD.pack(frame.kind, frame.run, frame.number, frame.port) + frame.text.encode("ascii", "replace")[:LONGEST]
    rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    try:
        peer.sendmsg([data], rights)
    except OSError as error:
        raise ProxyFailed("the proxy of commands has ended", cure="run the command again") from error


def receive(peer: socket.socket) -> tuple[Frame, int | None]:
    """Wait for one message and the descriptor that came with it.

    Raises:
        ProxyFailed: end of file, a time limit of the socket, or bytes that are no message.
    """
    try:
        data, ancillary, flags, _ = peer.recvmsg(_HEAD.size + LONGEST, socket.CMSG_SPACE(4), _MSG_CMSG_CLOEXEC)
    except OSError as error:
        raise ProxyFailed("the proxy of commands has ended", cure="run the command again") from error
    found = [descriptor for _, _, body in ancillary for (descriptor,) in struct.iter_unpack("=i", body)]
    try:
        frame = _parse(b"" if flags & socket.MSG_TRUNC or len(found) > 1 else data)
    except ValueError as error:
        for descriptor in found:
            os.close(descriptor)
        raise ProxyFailed("the proxy of commands has ended", cure="run the command again") from error
    return frame, found[0] if found else None


def _parse(data: bytes) -> Frame:
    if len(data) < _HEAD.size:
        raise ValueError("too short")
    kind, run, number, port = _HEAD.unpack_from(data)
    return Frame(Kind(kind), run, number, port, data[_HEAD.size :].decode("ascii"))
