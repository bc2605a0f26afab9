"""A planted home for the end-to-end tests: a secret, a project, the installed command, a real terminal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
import pyte

SECRET = "-----BEGIN PLANTED PRIVATE KEY-----"
#: Reads the planted key and opens a socket. The words LEAKED and CONNECTED appear only where that worked.
ATTACK = (
    "cat ~/.ssh/id_rsa {home}/.ssh/id_rsa && echo LEA''KED; "
    "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 2)' && echo CONN''ECTED; echo tried"
)
PATIENCE_S = 60


@dataclass
class House:
    """Somebody's home with a project in it."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        (self.home / ".ssh" / "id_rsa").write_text(SECRET)
        self.project.mkdir()
        runtime = self.home / ".run"
        runtime.mkdir(mode=0o700)
        machine = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        self.environment = {
            **machine,
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "XDG_RUNTIME_DIR": str(runtime),
            "PYTHONDONTWRITEBYTECODE": "1",  # the packages of a checkout may not be compiled yet
            **self.environment,
        }

    @property
    def project(self) -> Path:
        return self.home / "work"

    @property
    def data(self) -> Path:
        return self.home / ".local/share/localgpt"

    @property
    def state(self) -> Path:
        return self.home / ".local/state/localgpt"

    @property
    def policy(self) -> Path:
        return self.data / "workspace" / "LocalGPT.md"

    @property
    def log(self) -> Path:
        """The one segment of the audit log."""
        (segment,) = (self.state / "audit").glob("*.log")
        return segment

    def configure(self, text: str) -> None:
        """Write the configuration."""
        folder = self.home / ".config/localgpt"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "config.toml").touch(mode=0o600)
        (folder / "config.toml").write_text(text)

    def plant_model(self, model: Path) -> None:
        """Put the embedded model where the command would have fetched it."""
        folder = self.data / "models"
        folder.mkdir(parents=True, mode=0o700)
        try:
            os.link(model, folder / model.name)
        except OSError:
            shutil.copy(model, folder / model.name)

    def run(
        self, *arguments: str, stdin: str = "", cwd: Path | None = None, timeout_s: float = PATIENCE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed command to its end."""
        return subprocess.run(
            [*command(), *arguments],
            cwd=cwd or self.project,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Run a command that prints JSON."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def entries(self) -> list[dict[str, Any]]:
        """Every entry of the log, oldest first."""
        return [json.loads(line) for line in self.log.read_bytes().splitlines()]

    @contextlib.contextmanager
    def terminal(
        self, *arguments: str, rows: int = 50, columns: int = 120, prefix: tuple[str, ...] = ()
    ) -> Iterator[Terminal]:
        """Run the installed command in a terminal; it is ended when the block ends."""
        argv = [*prefix, *command(), *arguments]
        child: pexpect.spawn[bytes] = pexpect.spawn(
            argv[0],
            argv[1:],
            cwd=str(self.project),
            env=self.environment,
            dimensions=(rows, columns),
            timeout=PATIENCE_S,
        )
        terminal = Terminal(child, rows, columns)
        try:
            yield terminal
        finally:
            child.close(force=True)

    @contextlib.contextmanager
    def first_chat(self, *, prefix: tuple[str, ...] = ()) -> Iterator[Terminal]:
        """`chat --trust` in a home where nothing is yet: the starter policy is signed with Enter."""
        with self.terminal("chat", "--trust", prefix=prefix) as terminal:
            terminal.wait_for("Sign the starter policy")
            terminal.choose("\r", r"rung \w+ proven|confinement:")
            yield terminal


def command() -> list[str]:
    """The installed command of this environment."""
    installed = Path(sys.prefix) / "bin" / "localgpt"
    return [str(installed)] if installed.exists() else [sys.executable, "-I", "-m", "localgpt"]


class Terminal:
    """What a person sees and types."""

    def __init__(self, child: pexpect.spawn[bytes], rows: int, columns: int) -> None:
        self.child = child
        self.screen = pyte.HistoryScreen(columns, rows, history=5000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""

    def text(self) -> str:
        """Everything on the screen and scrolled off it."""
        old = ["".join(line[x].data for x in range(self.screen.columns)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*old, *self.screen.display])

    def wait_for(self, pattern: str, *, after: int = 0, timeout_s: float = PATIENCE_S) -> re.Match[str]:
        """Read until `pattern` stands on the screen, beyond the first `after` characters of its text."""
        import time

        deadline = time.monotonic() + timeout_s
        while True:
            if found := re.search(pattern, self.text()[after:], re.DOTALL):
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{pattern!r} did not appear:\n{self.text()[-3000:]}")
            self._read(left)

    def type(self, line: str) -> int:
        """Type a line and Enter; returns how much text there was before, for `wait_for(after=…)`."""
        before = len(self.text().rstrip())
        self.child.send(line + "\r")
        return before

    def choose(self, key: str, then: str) -> None:
        """Press `key` at an approval prompt until `then` is seen: keys count only after 300 ms without any."""
        for _ in range(20):
            self.child.send(key)
            with contextlib.suppress(AssertionError):
                self.wait_for(then, timeout_s=1.0)
                return
        raise AssertionError(f"the prompt took no {key!r}:\n{self.text()[-3000:]}")

    def press(self, keys: str) -> None:
        self.child.send(keys)

    def end(self) -> int:
        """Wait until the program has ended; its exit status."""
        while True:
            try:
                self._read(PATIENCE_S)
            except EOFError:
                self.child.close()
                status = self.child.exitstatus
                return -1 if status is None else status

    def _read(self, timeout_s: float) -> None:
        try:
            data = self.child.read_nonblocking(65536, timeout=timeout_s)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            raise EOFError(f"the program ended:\n{self.text()[-3000:]}") from None
        self.raw += data
        self._answer(data)
        self._stream.feed(data)

    def _answer(self, data: bytes) -> None:
        """Answer what a real terminal answers: where the cursor is."""
        if b"\x1b[6n" in data:
            self.child.send("\x1b[1;1R")
