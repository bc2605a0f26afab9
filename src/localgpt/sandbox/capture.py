"""Draining a command's pipes: what is kept is bounded, what comes is counted, and the command never blocks on us."""

from __future__ import annotations

import os
from typing import Final

_CHUNK: Final = 1 << 16


class Capture:
    """Read end of one output pipe. Keeps the first `limit` bytes and counts the rest."""

    __slots__ = ("_fd", "_limit", "kept", "total")

    def __init__(self, fd: int, limit: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._limit = limit
        self.kept = bytearray()
        self.total = 0

    def fileno(self) -> int:
        return self._fd

    def read(self) -> bool:
        """Take what is there now, one chunk at most; False at end of file or when nothing is there."""
        try:
            chunk = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        self.total += len(chunk)
        room = self._limit - len(self.kept)
        if room > 0:
            self.kept += chunk[:room]
        return bool(chunk)

    def finish(self) -> None:
        """Take what is there and close the pipe."""
        while self.read():
            pass
        os.close(self._fd)

    def content(self) -> bytes:
        """What was kept, with a marker when something was cut off."""
        if self.total <= self._limit:
            return bytes(self.kept)
        return bytes(self.kept) + f"\n[output cut: {self._limit} of {self.total} bytes kept]\n".encode()


class Feed:
    """Write end of a command's standard input."""

    __slots__ = ("_data", "_fd")

    def __init__(self, fd: int, data: bytes) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._data = memoryview(data)

    def fileno(self) -> int:
        return self._fd

    def write(self) -> bool:
        """Give what fits; False when all is given or nobody reads any more."""
        try:
            self._data = self._data[os.write(self._fd, self._data[:_CHUNK]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        return bool(self._data)

    def close(self) -> None:
        os.close(self._fd)
