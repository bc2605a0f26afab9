"""A pin of another user: a small service that follows the chain of somebody else's log and never goes back.

For each user and directory it remembers the last entry's number and leaf, durably, before it answers. It is sent the
entries themselves and accepts only what continues the chain, so that who may talk to it can lengthen the history that
it vouches for, and cannot replace it. Who is talking the kernel says (SO_PEERCRED).

Messages are lines of canonical JSON: ``{"directory","first","lines","op":"extend","origin"}`` and
``{"directory","op":"get"}``; the answer is ``{"error","leaf","origin","size"}``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from localgpt import canon
from localgpt.audit.disk import SystemDisk, replace_file
from localgpt.audit.entry import genesis, read_link
from localgpt.audit.errors import EntryCorrupted, PinUnreachable
from localgpt.audit.pins import DEFAULT_SOCKET, PinTier
from localgpt.audit.report import Pinned, PinReading
from localgpt.audit.scan import LogReader

_TIMEOUT_S: Final = 2.0
_MOST_BYTES: Final = 8 * 1024 * 1024
_TOGETHER: Final = 64
_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Held:
    """What the service vouches for: `size` entries of `origin`, the last of which has `leaf` (hex)."""

    origin: str = ""
    size: int = 0
    leaf: str = ""
    error: str = ""

    def encode(self) -> bytes:
        """The answer, and the content of the state's file."""
        body: dict[str, canon.Json] = {
            "error": self.error, "leaf": self.leaf, "origin": self.origin, "size": self.size
        }  # fmt: skip
        return canon.encode(body) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Held:
        """Read `encode` back.

        Raises:
            CanonError, KeyError
        """
        body = canon.decode_object(data.rstrip(b"\n"))
        size = body["size"]
        return cls(str(body["origin"]), size if isinstance(size, int) else 0, str(body["leaf"]), str(body["error"]))


class PinService:
    """The service. `state`: a directory of its own user's; nothing of the clients is opened or believed."""

    def __init__(self, path: Path, state: Path) -> None:
        self._state, self._disk = state, SystemDisk()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)
        self._listener.bind(os.fspath(path))
        path.chmod(0o666)  # everybody may lengthen what is vouched for in their own name
        self._listener.listen(16)

    def serve(self) -> None:
        """Answer until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _talk(self, connection: socket.socket) -> None:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        uid = _CREDENTIALS.unpack(credentials)[1]
        with connection, connection.makefile("rwb") as stream:
            while line := stream.readline(_MOST_BYTES):
                try:
                    answer = self._answer(uid, line)
                except (ValueError, KeyError, TypeError, OSError, canon.CanonError) as error:
                    answer = Held(error=f"{type(error).__name__}: {error}")
                stream.write(answer.encode())
                stream.flush()

    def _answer(self, uid: int, line: bytes) -> Held:
        message = json.loads(line)
        name = hashlib.sha256(f"{uid}\x00{message['directory']}".encode()).hexdigest()
        place = self._state / f"{uid}-{name[:32]}"
        with self._lock:
            held = Held.decode(place.read_bytes()) if place.exists() else Held()
            if message["op"] != "extend":
                return held
            longer = extended(held, str(message["origin"]), message["first"], message["lines"])
            if not longer.error and longer != held:
                replace_file(self._disk, place, longer.encode())
            return longer


def extended(held: Held, origin: str, first: int, lines: Sequence[str]) -> Held:  # noqa: PLR0911 -- one a refusal
    """What is vouched for after these lines; with an error when they do not continue what is."""
    if held.origin and held.origin != origin:
        return _replaced(held, origin, first, lines)
    if first > held.size:
        return replace(held, error="gap")
    if first + len(lines) < held.size:
        return replace(held, error=f"the log ends after {first + len(lines)} entries, and {held.size} are pinned")
    size, leaf = held.size, held.leaf or genesis()
    for number, text in enumerate(lines, first):
        try:
            link = read_link(text.encode(), text)
        except EntryCorrupted as error:
            return replace(held, error=f"entry {number}: {error.message}")
        if number == held.size - 1 and link.leaf.hex() != held.leaf:
            return replace(held, error=f"entry {number} is not the one that was pinned")
        if number >= held.size:
            if (link.seq, link.prev) != (size, leaf):
                return replace(held, error=f"entry {number} does not continue what was pinned")
            size, leaf = size + 1, link.leaf.hex()
    return Held(origin, size, leaf)


def _replaced(held: Held, origin: str, first: int, lines: Sequence[str]) -> Held:
    """Another log may stand in the place of one only when its first entry says so."""
    begins = json.loads(lines[0]) if first == 0 and lines else {}
    if begins.get("previous_origin") != held.origin:
        return replace(held, error=f"another log, {origin}, in the place of {held.origin}")
    return extended(Held(), origin, first, lines)


class ServicePin:
    """The client: sends every commit, or with `each` false every epoch, and waits for the answer."""

    def __init__(self, directory: Path, path: Path = DEFAULT_SOCKET, *, each: bool = True) -> None:
        self._directory, self._path, self._each = directory, path, each
        self._stream: socket.socket | None = None
        self._waiting: list[bytes] = []

    def hold_entries(self, origin: str, last: int, lines: Sequence[bytes]) -> None:
        """Send them, or keep them until the epoch ends.

        Raises:
            PinUnreachable: no answer, or an answer that is a refusal.
        """
        self._waiting += lines
        self._origin, self._last = origin, last
        if self._each:
            self._send()

    def hold_checkpoint(self, note: bytes) -> None:  # noqa: ARG002 -- it vouches for entries, not for signatures
        """Send what was kept."""
        if not self._each and self._waiting:
            self._send()

    def _send(self) -> None:
        lines, self._waiting = self._waiting, []
        held = self._ask_extend(self._last + 1 - len(lines), lines)
        if held.error == "gap":
            held = self._catch_up(held.size)
        if held.error or held.size <= self._last:
            raise PinUnreachable(
                f"the pin service refuses: {held.error or 'it lags behind'}", cure="localgpt audit verify"
            )

    def _catch_up(self, size: int) -> Held:
        """Send what the service has not seen, from the log itself."""
        held, batch, first = Held(error="gap"), [], size
        for step in LogReader(self._directory).steps():
            if step.link.seq >= size:
                batch.append(step.line)
            if len(batch) == _TOGETHER:
                held, first, batch = self._ask_extend(first, batch), step.link.seq + 1, []
        return self._ask_extend(first, batch) if batch else held

    def _ask_extend(self, first: int, lines: Sequence[bytes]) -> Held:
        texts: list[canon.Json] = [line.decode() for line in lines]
        return self._ask({"first": first, "lines": texts, "op": "extend", "origin": self._origin})

    def _ask(self, message: Mapping[str, canon.Json]) -> Held:
        try:
            if self._stream is None:
                self._stream = _connect(self._path)
            return _exchange(self._stream, {**message, "directory": os.fspath(self._directory)})
        except (OSError, ValueError, KeyError, canon.CanonError) as error:
            self._stream = None
            cure = "start it (systemctl start localgpt-pin), then start again"
            raise PinUnreachable(f"the pin service at {self._path} does not answer: {error}", cure=cure) from error


def read_service_pin(directory: Path, path: Path = DEFAULT_SOCKET) -> PinReading:
    """What the service vouches for."""
    tier, where = PinTier.SERVICE, f"the service at {path}, of another user"
    try:
        stream = _connect(path)
        with stream:
            owner = _CREDENTIALS.unpack(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1]
            held = _exchange(stream, {"directory": os.fspath(directory), "op": "get"})
    except (OSError, ValueError, KeyError, canon.CanonError) as error:
        return PinReading(tier, where, problem=f"no answer: {error}")
    if owner == os.geteuid() and owner != 0:
        tier, where = PinTier.FILE, f"a service at {path} of this same user"
    pinned = (Pinned(tier, held.origin, held.size, leaf=held.leaf),) if held.size else ()
    return PinReading(tier, where, pinned)


def _connect(path: Path) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.settimeout(_TIMEOUT_S)
    try:
        stream.connect(os.fspath(path))
    except OSError:
        stream.close()
        raise
    return stream


def _exchange(stream: socket.socket, message: Mapping[str, canon.Json]) -> Held:
    stream.sendall(canon.encode(dict(message)) + b"\n")
    data = b""
    while not data.endswith(b"\n"):
        part = stream.recv(64 * 1024)
        if not part or len(data) > _MOST_BYTES:
            raise ConnectionError("the service hung up")
        data += part
    return Held.decode(data)


_UNIT: Final = re.compile(r"[\x00-\x1f]")


def unit_text(program: Sequence[str], user: str) -> str:
    """A systemd unit that runs the service as `user`."""
    command = " ".join(_UNIT.sub("", each) for each in program)
    return f"""[Unit]
Description=LocalGPT audit pin

[Service]
User={user}
RuntimeDirectory=localgpt-pin
StateDirectory=localgpt-pin
ExecStart={command}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""
