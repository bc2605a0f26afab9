"""The runtime of one command: policy, log and sandbox opened once, sessions made from them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from localgpt.audit import AuditLog
from localgpt.config import Config, Paths, ensure_directories, ensure_directory
from localgpt.crypto import DeviceKey, load_device_key
from localgpt.errors import AuditError, ConfigError
from localgpt.monitor import models
from localgpt.monitor.approval import Approvals
from localgpt.monitor.confinement import Confinement
from localgpt.monitor.discovery import discover
from localgpt.monitor.events import Approver, ModelConfirmer
from localgpt.monitor.guard import PolicyGuard
from localgpt.monitor.journal import Journal
from localgpt.monitor.mediator import Mediator
from localgpt.monitor.models import ChosenModel, Selection
from localgpt.monitor.origins import Origins
from localgpt.monitor.peers import Peers
from localgpt.monitor.policies import open_policy
from localgpt.monitor.project import Project
from localgpt.monitor.session import Session, new_session_id
from localgpt.tools import DECLARATIONS
from localgpt.wire import AgentStart, ToolMode, TurnLimits

_ID_CHARS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class NoSuchSession(ConfigError):  # noqa: N818 -- named after the condition
    """The session to resume does not exist."""

    code = "session.missing"


@dataclass(frozen=True, slots=True)
class Setup:
    """What a command found out before it starts: where things are, what was configured, which folder is meant."""

    paths: Paths
    config: Config
    environ: Mapping[str, str]
    project: Project
    agent: str = "main"


class Runtime:
    """Policy, audit log and sandbox of one process. A context manager; sessions end before it does.

    Raises on construction:
        KeyUnreadable, KeyWrongLength, KeyPermissions, KeyMissing: the device key is not what it must be.
        ProjectRefused: from `Setup.project`'s own check, before this is made.
    """

    def __init__(self, setup: Setup, approver: Approver) -> None:
        self.setup = setup
        paths = setup.paths
        ensure_directories(paths)
        ensure_directory(paths.runtime_dir)
        key = load_device_key(paths.device_key)
        self._approver = approver
        log, failure = _open_log(paths.audit_dir, key)
        self._journal = Journal(log, failure=failure)
        self._journal.process_starting("zygote", sys.executable)
        self.guard = PolicyGuard(open_policy(paths, setup.config.policy_public_key, key))
        self._confinement = Confinement(setup.project, setup.config.sandbox, paths, setup.environ, rules=self.guard)
        self._journal.policy_state(self.guard)

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the sandbox and the log."""
        self._confinement.close()
        self._journal.close()

    # --- models -------------------------------------------------------------------------------------------------

    def choose_model(self, requested: str | None, confirmer: ModelConfirmer | None) -> Selection:
        """Choose the session's model; see `models.choose`."""
        return models.choose(
            self.setup.config,
            self.setup.environ,
            requested,
            remembered=self.setup.paths.state_dir / "confirmed-models.json",
            confirmer=confirmer,
            discover=lambda: discover(self.setup.environ, self._journal),
        )

    def use_model(self, selection: Selection, weights: Path | None) -> ChosenModel:
        """Make a selection usable; an embedded one needs its `weights`."""
        if not selection.embedded:
            return models.hosted_or_local(self.setup.config, self.setup.environ, selection)
        if weights is None:
            raise ConfigError("the embedded model has no weights", cure="localgpt models list")
        return models.embedded(self.setup.config, selection, weights, self.setup.paths.runtime_dir)

    # --- sessions -----------------------------------------------------------------------------------------------

    def session(
        self, model: ChosenModel, *, resume: str | None = None, find_model: Callable[[str], ChosenModel]
    ) -> Session:
        """Begin a session, or go on with the one named `resume`.

        Raises:
            NoSuchSession: there is no such session file.
        """
        setup, directory = self.setup, self.setup.paths.sessions_dir(self.setup.agent)
        ensure_directory(directory)
        if resume is not None and not (_is_id(resume) and (directory / f"{resume}.jsonl").is_file()):
            raise NoSuchSession(f"there is no session {resume!r}", cure="localgpt session list")
        session_id = resume or new_session_id()
        mediator = Mediator(
            journal=self._journal.for_session(session_id),
            guard=self.guard,
            confinement=self._confinement,
            approvals=Approvals(self._approver),
            resumed=resume is not None,
            origins=Origins(setup.paths.state_dir / "labels.json"),
        )
        start = AgentStart(
            session_id=session_id,
            session_dir=str(directory),
            resume=resume is not None,
            project=str(setup.project.path),
            model=model.traits,
            tools=() if model.traits.tool_mode is ToolMode.OFF else DECLARATIONS,
            limits=TurnLimits(
                setup.config.agent.max_rounds, setup.config.agent.max_tool_repeats, setup.config.agent.turn_timeout_s
            ),
        )
        return Session(
            start=start,
            model=model,
            tools=DECLARATIONS,
            mediator=mediator,
            peers=Peers(setup.environ),
            find_model=find_model,
        )

    def warnings(self) -> tuple[str, ...]:
        """What the user should know before the first word."""
        return self.guard.warnings()


def _is_id(text: str) -> bool:
    return 0 < len(text) <= 128 and _ID_CHARS.issuperset(text)


def _open_log(directory: Path, key: DeviceKey) -> tuple[AuditLog | None, str]:
    """Without a log nothing has an effect, but talking still works."""
    try:
        return AuditLog.open(directory, key=key), ""
    except (AuditError, OSError) as error:
        return None, str(error)
