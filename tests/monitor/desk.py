"""A monitor without agent and gateway: real sandbox, real policy, real log, a user who answers from a list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from localgpt.audit import AuditLog, read_entries
from localgpt.config import Config, Paths, ensure_directories, load, resolve_paths
from localgpt.crypto import DeviceKey, create_device_key, load_device_key
from localgpt.monitor.approval import Approvals
from localgpt.monitor.confinement import Confinement
from localgpt.monitor.events import Answer, Choice, Event, Question
from localgpt.monitor.guard import PolicyGuard
from localgpt.monitor.journal import Journal
from localgpt.monitor.mediator import Mediator
from localgpt.monitor.project import Project
from localgpt.policy import PolicyStore, starter_document
from localgpt.sandbox import Rung
from localgpt.wire import ToolRequest, ToolResult


@dataclass
class User:
    """Answers questions in order, and denies when the list is used up."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[Question] = field(default_factory=list)

    def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        return self.answers.pop(0) if self.answers else Answer(Choice.DENY)


class Desk:
    """One planted home with a signed policy, one project, one mediator."""

    def __init__(
        self,
        root: Path,
        *,
        trusted: bool = True,
        document: bytes | None = None,
        config: str = "",
        rung: Rung = Rung.A,
        resumed: bool = False,
    ) -> None:
        self.home = root / "home"
        self.project = self.home / "work"
        self.project.mkdir(parents=True, exist_ok=True)
        (self.home / ".ssh").mkdir()
        (self.home / ".ssh" / "id_rsa").write_text("PRIVATE KEY")
        self.paths: Paths = resolve_paths({"HOME": str(self.home), "XDG_RUNTIME_DIR": str(root / "run")})
        (root / "run").mkdir(mode=0o700)
        ensure_directories(self.paths)
        self.paths.config_file.write_text(config)
        create_device_key(self.paths.device_key)
        self.key: DeviceKey = load_device_key(self.paths.device_key)
        self.paths.policy_document.write_bytes(starter_document() if document is None else document)
        self.store = PolicyStore(self.paths.workspace, self.paths.state_dir, self.key)
        self.store.sign()
        self.config: Config = load(self.paths.config_file, {}).config
        self.user = User()
        self.log = AuditLog.open(self.paths.audit_dir, key=self.key)
        self.guard = PolicyGuard(PolicyStore(self.paths.workspace, self.paths.state_dir, self.key))
        environ = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        self.confinement = Confinement(
            Project(self.project, trusted), self.config.sandbox, self.paths, environ, max_rung=rung, rules=self.guard
        )
        self.mediator = Mediator(
            journal=Journal(self.log, "test"),
            guard=self.guard,
            confinement=self.confinement,
            approvals=Approvals(self.user),
            resumed=resumed,
        )
        self.events: list[Event] = []

    def call(self, name: str, **arguments: object) -> ToolResult:
        """Let the agent ask for one tool call; events are kept."""
        return self.raw(name, json.dumps(arguments))

    def raw(self, name: str, arguments_json: str) -> ToolResult:
        steps = self.mediator.tool(ToolRequest("call-1", "turn-1", name, arguments_json))
        while True:
            try:
                self.events.append(next(steps))
            except StopIteration as stop:
                result = stop.value
                assert isinstance(result, ToolResult)
                return result

    def user_runs(self, command: str) -> None:
        self.events.extend(self.mediator.user_command(command))

    def entries(self, kind: str) -> list[dict[str, object]]:
        """The log's entries of one kind."""
        return [dict(e.to_json()) for e in read_entries(self.paths.audit_dir) if e.kind == kind]

    def close(self) -> None:
        self.confinement.close()
        self.log.close()


def desk(root: Path, **options: object) -> Iterator[Desk]:
    """For fixtures."""
    opened = Desk(root, **options)  # type: ignore[arg-type]
    yield opened
    opened.close()
