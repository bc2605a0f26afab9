"""The processes around the monitor: started with nothing but one socket, ended when the monitor ends.

A child is this interpreter in isolated mode (``-I``: no working directory, no user site, no ``PYTHON*`` variables) that
writes no bytecode (``-B``: nothing is written before it is confined, and nothing can be after), with
an environment of its own, standard input and output on /dev/null, and one end of a socketpair (``--fd N``). It
confines itself before it reads anything foreign. End of file on the socket tells it that the monitor is gone; the
kernel kills it as well (PR_SET_PDEATHSIG, which the child sets).
"""

from __future__ import annotations

import collections
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Final

from localgpt.errors import LocalGptError
from localgpt.wire import Channel

_STDERR_LINES: Final = 20
_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
_INHERITED_BY_GATEWAY: Final = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")


class ChildFailed(LocalGptError):  # noqa: N818 -- named after the condition
    """A process of the runtime could not be started, or ended by itself."""

    code = "runtime.child-failed"


class Room(StrEnum):
    """Which program a child runs; the value is its module below `localgpt`."""

    AGENT = "agent"
    GATEWAY = "gateway"
    EMBEDDED = "gateway.embedded"


@dataclass(slots=True)
class Child:
    """One running child and the monitor's end of its channel."""

    room: Room
    channel: Channel
    process: subprocess.Popen[bytes]
    _errors: collections.deque[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_words(self) -> str:
        """The last line it wrote to standard error, for a crash report; foreign text, to be escaped."""
        return self._errors[-1] if self._errors else ""

    def describe_end(self) -> str:
        """One sentence: how the process ended."""
        status = self.process.poll()
        how = (
            "is not answering"
            if status is None
            else f"ended with signal {-status}"
            if status < 0
            else f"ended with status {status}"
        )
        words = self.last_words()
        return f"the {self.room.value} process {how}" + (f": {words}" if words else "")

    def end(self, *, grace_s: float = 1.0) -> int:
        """Close the channel, wait for the process to leave, kill it after `grace_s`; returns its exit status."""
        self.channel.close()
        try:
            return self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def spawn(room: Room, environ: Mapping[str, str]) -> Child:
    """Start the program of `room`.

    Raises:
        ChildFailed: when the kernel refuses to start it.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module, fixed arguments
            [sys.executable, "-I", "-B", "-m", f"localgpt.{room.value}", "--fd", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=child_environment(room, environ),
            cwd="/",
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C at the terminal is the monitor's to handle
        )
    except OSError as error:
        ours.close()
        raise ChildFailed(f"the {room.value} process cannot be started: {error}", cure="localgpt doctor") from error
    finally:
        theirs.close()
    errors: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)
    assert process.stderr is not None
    threading.Thread(target=_drain, args=(process.stderr, errors), daemon=True, name=f"{room.value}-stderr").start()
    return Child(room, Channel(ours), process, errors)


def child_environment(room: Room, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that `room` gets: names that steer certificates, language and, for the gateway, proxies."""
    names = _INHERITED + (_INHERITED_BY_GATEWAY if room is Room.GATEWAY else ())
    kept = {name: environ[name] for name in names if name in environ}
    return {**kept, "HOME": "/"}  # without it Python's start asks the user database, which may be on the network


def _drain(stream: IO[bytes], lines: collections.deque[str]) -> None:
    with stream:
        while line := stream.readline(4096):
            if text := line.decode("utf-8", "replace").strip():
                lines.append(text)
