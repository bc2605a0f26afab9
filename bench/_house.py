"""A real monitor around a set of tools: signed policy, audit log, proven sandbox, mediator. Nothing is mocked."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from localgpt.audit import AuditLog
from localgpt.config import ensure_directories, load, resolve_paths
from localgpt.crypto import create_device_key, load_device_key
from localgpt.monitor.approval import Approvals
from localgpt.monitor.confinement import Confinement
from localgpt.monitor.events import Answer, Choice, Question, ToolStarted
from localgpt.monitor.guard import PolicyGuard
from localgpt.monitor.hosted import HostFailed
from localgpt.monitor.journal import Journal
from localgpt.monitor.mediator import Mediator
from localgpt.monitor.project import Project
from localgpt.policy import PolicyStore
from localgpt.policy.declarations import Declarations, parse_declarations
from localgpt.wire import ToolOutcome, ToolRequest

_FAST = Path("/dev/shm")


class User:
    """Answers every question in one way, and counts them."""

    def __init__(self, *, approves: bool) -> None:
        self._approves = approves
        self.asked: list[Question] = []

    def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        return Answer(Choice.SESSION if self._approves else Choice.DENY)


class FunctionHost:
    """Tools that are Python functions. `run(name, arguments)` returns JSON or raises HostFailed."""

    def __init__(
        self, declarations: Declarations, names: frozenset[str], run: Callable[[str, dict[str, Any]], Any]
    ) -> None:
        self.declarations = declarations
        self.names = names
        self._run = run

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        return self._run(name, arguments)


class House:
    """One home with a signed policy, for many runs."""

    def __init__(self, policy: str) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="lg-bench-", dir=_FAST if _FAST.is_dir() else None))
        project = self._root / "home" / "work"
        project.mkdir(parents=True)
        (self._root / "run").mkdir(mode=0o700)
        self._paths = resolve_paths(
            {
                "HOME": str(self._root / "home"),
                "XDG_RUNTIME_DIR": str(self._root / "run"),
            }
        )
        ensure_directories(self._paths)
        self._paths.config_file.write_text("")
        create_device_key(self._paths.device_key)
        key = load_device_key(self._paths.device_key)
        document = f"```toml policy\n{policy}\n```\n"
        self._paths.policy_document.write_text(document)
        store = PolicyStore(self._paths.workspace, self._paths.state_dir, key)
        store.sign()
        self._guard = PolicyGuard(PolicyStore(self._paths.workspace, self._paths.state_dir, key))
        assert self._guard.state == "valid", self._guard.state
        self._log = AuditLog.open(self._paths.audit_dir, key=key)
        self._journal = Journal(self._log, "bench")
        self._sessions = 0
        environ = {"HOME": str(self._root / "home"), "PATH": "/usr/bin:/bin"}
        config = load(self._paths.config_file, {}).config
        self._confinement = Confinement(Project(project, True), config.sandbox, self._paths, environ)

    def __enter__(self) -> House:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._confinement.close()
        self._log.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def session(self, host: FunctionHost, user: User, prompt: str) -> Conversation:
        """A new session in which the user has just said `prompt`."""
        self._sessions += 1
        mediator = Mediator(
            journal=self._journal.for_session(f"bench-{self._sessions}"),  # each has its own share of the log
            guard=self._guard,
            confinement=self._confinement,
            approvals=Approvals(user),
            host=host,
            builtin=False,
        )
        return Conversation(mediator, prompt)


class Conversation:
    """One session, driven call by call."""

    def __init__(self, mediator: Mediator, prompt: str) -> None:
        self.mediator = mediator
        self.codes: list[tuple[str, str, str]] = []
        self._count = 0
        self.say(prompt)

    def say(self, prompt: str) -> None:
        for _ in self.mediator.begin_turn("turn-1", prompt, ()):
            pass

    def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[bool, str]:
        """Let the model make a call; whether it was carried out, and the text that came back."""
        self._count += 1
        steps = self.mediator.tool(ToolRequest(f"call-{self._count}", "turn-1", name, json.dumps(arguments)))
        while True:
            try:
                event = next(steps)
            except StopIteration as stop:
                result = stop.value
                return result.outcome is not ToolOutcome.DENIED, result.text
            if isinstance(event, ToolStarted):
                self.codes.append((event.verdict.value, event.code, event.sentence))


def declared(path: Path) -> Declarations:
    """The declarations of one file."""
    return parse_declarations(path.read_bytes())


__all__ = ["Conversation", "FunctionHost", "HostFailed", "House", "User", "declared"]
