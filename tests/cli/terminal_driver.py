"""Drives a program in a real pseudo-terminal and shows what a terminal emulator makes of its output."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import pexpect
import pyte

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """A program in a terminal of `columns` x `rows`. Waiting is always for something to appear on the screen."""

    def __init__(
        self,
        *arguments: str,
        columns: int = 100,
        rows: int = 30,
        cwd: Path = ROOT,
        environ: dict[str, str] | None = None,
    ) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=5000, ratio=0.5)
        self._stream = pyte.Stream(self._screen)
        self.raw = ""
        self.process = pexpect.spawn(
            sys.executable,
            list(arguments),
            dimensions=(rows, columns),
            encoding="utf-8",
            cwd=str(cwd),
            env=environment(**(environ or {})),
            timeout=30,
        )
        self.process.delaybeforesend = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.close(force=True)

    @property
    def lines(self) -> list[str]:
        """What scrolled away, and what the screen shows."""
        width = self._screen.columns
        top = ["".join(line[x].data for x in range(width)).rstrip() for line in self._screen.history.top]
        return top + [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def title(self) -> str:
        return self._screen.title

    def send(self, keys: str) -> None:
        self.process.send(keys)

    def wait_for(self, words: str, *, count: int = 1, timeout_s: float = 30.0) -> None:
        """Take output in until `words` are on the screen (or have scrolled away) `count` times."""
        deadline = time.monotonic() + timeout_s
        while self.text.count(words) < count:
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"{words!r} did not appear {count} times in:\n{self.text}"
            self._take(left_s)

    def wait_for_raw(self, words: str, *, count: int = 1, timeout_s: float = 30.0) -> None:
        """Like `wait_for`, in the bytes that were sent: also what was painted over since."""
        deadline = time.monotonic() + timeout_s
        while self.raw.count(words) < count:
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"{words!r} was not written {count} times:\n{self.raw!r}"
            self._take(left_s)

    def wait_for_end(self) -> int:
        """Take output in until the program ends; returns its exit status."""
        while True:
            try:
                self._take(30.0)
            except pexpect.EOF:
                self.process.close()
                return self.process.exitstatus if self.process.exitstatus is not None else -1

    def hang_up(self) -> int:
        """Close the terminal's other side; returns the exit status, negative for a signal."""
        process: Any = self.process  # its stubs lack `ptyproc`
        pid = int(process.pid)
        os.close(process.child_fd)
        pidfd = os.pidfd_open(pid)
        ended = select.select([pidfd], [], [], 10)[0]
        os.close(pidfd)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        process.ptyproc.closed = process.ptyproc.terminated = True
        assert ended, "the program did not notice that its terminal is gone"
        return os.waitstatus_to_exitcode(status)

    def _take(self, timeout_s: float) -> None:
        try:
            piece = self.process.read_nonblocking(65536, timeout=min(timeout_s, 30.0))
        except pexpect.TIMEOUT:
            return
        self.raw += piece
        self._stream.feed(piece)


def environment(**more: str) -> dict[str, str]:
    """A clean environment of a usual terminal."""
    return {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", **more}
