"""One command of the user's, run as the shell tool runs the model's: decided, logged, confined.

The difference to a model's command: the user typed it. What the policy would ask about is therefore answered already,
and the answer is logged; what it denies stays denied.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from localgpt.audit import AuditLog
from localgpt.cli.init import prepare
from localgpt.cli.state import State
from localgpt.config import ensure_directory
from localgpt.crypto import load_device_key
from localgpt.errors import ConfigError, PolicyError, SandboxError
from localgpt.monitor.approval import Approvals, ExactCall
from localgpt.monitor.confinement import Confinement
from localgpt.monitor.events import Answer, Approver, Choice
from localgpt.monitor.guard import PolicyGuard
from localgpt.monitor.hosts import hosts_of, parse_host, with_sinks
from localgpt.monitor.journal import Journal
from localgpt.monitor.network import Doorkeeper
from localgpt.monitor.policies import open_policy
from localgpt.monitor.project import Project, Trust, TrustStore, check_project
from localgpt.monitor.requests import Prepared
from localgpt.monitor.results import Ran, read_shell
from localgpt.policy import Connect, Decision, Effect, Flow, ReadPath, Request, Run, Verdict, WritePath
from localgpt.sandbox import Completed, Plan, Proof
from localgpt.sandbox.denials import Denial, Want, denials
from localgpt.sandbox.learn import Touch, proposals
from localgpt.tools import ShellCall
from localgpt.wire import ToolOutcome


class CommandDenied(PolicyError):  # noqa: N818 -- named after the condition
    """The policy denies this command, whoever types it."""

    code = "policy.denied"


class BadHost(ConfigError):  # noqa: N818 -- named after the condition
    """What was given is no host and port."""

    code = "cli.bad-host"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asked for. Paths as typed; `writable`: `profile` lets the current folder be changed."""

    argv: tuple[str, ...]
    folder: Path
    writable: bool = True
    profile: str = ""
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()
    timeout_s: float | None = None
    learn: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended, under which decision and which proof."""

    completed: Completed
    decision: Decision
    proof: Proof
    denied: tuple[Denial, ...] = ()
    proposed: tuple[Denial, ...] = ()


def run_confined(state: State, wish: Wish, approver: Approver) -> Outcome:
    """Decide, log, run; `approver` is asked about hosts that the wish does not name, when it names any.

    Raises:
        CommandDenied: by the policy.
        SandboxError, AuditError, DeviceKeyError, ProjectRefused: nothing was run.
    """
    folder = check_project(wish.folder, state.paths)
    read, write = (tuple(_resolved(path) for path in paths) for paths in (wish.read, wish.write))
    effects: tuple[Effect, ...] = (
        Run(wish.argv),
        *(ReadPath(path) for path in read),
        *(WritePath(path) for path in write),
        *(_connect(host) for host in wish.hosts),
    )
    call = ShellCall(shlex.join(wish.argv))
    prepared = Prepared("shell", call, wish.argv, wish.argv, b"", effects, "", wish.timeout_s)
    typed = _Typed(f"typed-{time.monotonic_ns()}", prepared, read, write, wish.learn)
    project = Project(folder, _writable(state, folder, wish.writable))
    with _opened(state, project, wish.profile, approver) as opened:
        if (proof := opened.confinement.proof) is None:
            raise SandboxError(f"nothing is run: {opened.confinement.effects_off}", cure="localgpt sandbox status")
        decision = opened.decide(typed)
        completed, denied, touched = opened.run(typed)
        return Outcome(completed, decision, proof, denied, opened.propose(typed, denied, touched))


@dataclass(frozen=True, slots=True)
class _Typed:
    """One typed command, with the folders that it named beyond the plan."""

    call_id: str
    prepared: Prepared
    read: tuple[str, ...]
    write: tuple[str, ...]
    learn: bool = False

    @property
    def hosts(self) -> tuple[str, ...]:
        return hosts_of(self.prepared.effects)


@dataclass(frozen=True, slots=True)
class _Opened:
    """Log, policy and sandbox, for one command."""

    journal: Journal
    guard: PolicyGuard
    confinement: Confinement
    approvals: Approvals
    plans: list[Plan] = field(default_factory=list)

    def decide(self, typed: _Typed) -> Decision:
        """Decide and log; durable when this returns. Raises `CommandDenied`."""
        plan = self._exact_call(typed).plan_digest
        self.journal.sandbox_proof(self.confinement.proof, plan)
        request = Request(typed.prepared.tool, typed.prepared.effects, self.confinement.scope)
        decision = with_sinks(self.guard.decide(Flow(), request), typed.prepared.effects)
        self.journal.decided(typed.call_id, typed.prepared, decision, self.guard, Flow())
        if decision.verdict is Verdict.DENY:
            raise CommandDenied(f"{decision.code}: {decision.sentence}", cure="read LocalGPT.md; localgpt verify")
        if decision.verdict is Verdict.ASK:
            # The user typed the command and its options, which is the answer to the policy's question.
            self.journal.answered(typed.call_id, Answer(Choice.ONCE, "typed"), self._exact_call(typed).digest())
        return decision

    def run(self, typed: _Typed) -> tuple[Completed, tuple[Denial, ...], tuple[Touch, ...]]:
        """Run to the end and log the outcome, whatever it is."""
        started = time.monotonic()
        try:
            with self.confinement.executor(
                typed.read, typed.write, typed.hosts, self._doorkeeper(typed), learn=typed.learn
            ) as executor:
                completed = executor.run(typed.prepared.argv, timeout_s=typed.prepared.timeout_s)
                denied, touched = denials(executor.plan, completed), executor.touched
                self.plans.append(executor.plan)
        except BaseException as error:
            ran = Ran(ToolOutcome.FAILED, None, time.monotonic() - started, "", type(error).__name__)
            self.journal.finished(typed.call_id, typed.prepared, ran)
            raise
        self.journal.finished(typed.call_id, typed.prepared, read_shell(completed))
        return completed, denied, touched

    def propose(self, typed: _Typed, denied: Iterable[Denial], touched: Iterable[Touch]) -> tuple[Denial, ...]:
        """What the command asked for and may be granted: no secret, nothing of the runtime's, not the home."""
        if not typed.learn:
            return ()
        paths = proposals(self.plans[-1], touched, self.confinement.scope.home)
        hosts = [each for each in denied if each.want is Want.CONNECT and each.grant]
        return (*(each for each in paths if self._may_grant(each)), *hosts)

    def _may_grant(self, denial: Denial) -> bool:
        read, write = ((denial.grant,), ()) if denial.want is Want.READ else ((), (denial.grant,))
        try:
            self.confinement.plan_digest(read, write)
        except SandboxError:
            return False
        return True

    def _doorkeeper(self, typed: _Typed) -> Doorkeeper:
        scope, call = self.confinement.scope, self._exact_call(typed)
        return Doorkeeper(typed.call_id, call, self.guard, Flow(), scope, self.approvals, self.journal)

    def _exact_call(self, typed: _Typed) -> ExactCall:
        prepared, confinement = typed.prepared, self.confinement
        folder = str(confinement.project.path)
        plan = confinement.plan_digest(typed.read, typed.write, hosts=typed.hosts)
        return ExactCall(prepared.tool, prepared.shown, folder, confinement.environment, plan, prepared.stdin)


@contextmanager
def _opened(state: State, project: Project, profile: str, approver: Approver) -> Iterator[_Opened]:
    """Open all three; a fresh home is set up first, because without a key nothing could be logged."""
    paths = state.paths
    for _ in prepare(state):
        pass
    ensure_directory(paths.runtime_dir)
    key = load_device_key(paths.device_key)
    journal = Journal(AuditLog.open(paths.audit_dir, key=key))
    try:
        guard = PolicyGuard(open_policy(paths, state.config.policy_public_key, key))
        journal.policy_state(guard)
        confinement = Confinement(project, state.config.sandbox, paths, state.environ, profile=profile, rules=guard)
        try:
            yield _Opened(journal, guard, confinement, Approvals(approver))
        finally:
            confinement.close()
    finally:
        journal.close()


def _writable(state: State, folder: Path, wanted: bool) -> bool:
    """A folder that the user called untrusted stays read-only."""
    store = TrustStore(state.paths.state_dir / "trusted-folders.json")
    return wanted and store.look_up(folder) is not Trust.UNTRUSTED


def _resolved(path: Path) -> str:
    try:
        return str(path.expanduser().resolve(strict=True))
    except (OSError, RuntimeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError(f"{path}: {reason}", cure="name a folder that exists") from error


def _connect(host: str) -> Connect:
    if (effect := parse_host(host)) is None:
        raise BadHost(f"{host!r} is no host", cure="write HOST or HOST:PORT")
    return effect
