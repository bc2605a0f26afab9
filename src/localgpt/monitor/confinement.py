"""The session's sandbox: from project, policy scope and configuration to plans, and from plans to proven executors."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from localgpt import canon
from localgpt.config import Paths
from localgpt.config.schema import SandboxConfig
from localgpt.errors import LocalGptError, SandboxError
from localgpt.monitor.places import session_scope
from localgpt.monitor.project import Found, Project, check_roots, own_places, protected_files, runtime_places, search
from localgpt.policy import Scope
from localgpt.sandbox import Executor, Limits, Plan, Proof, Rung, profiles
from localgpt.sandbox.egress import Gatekeeper
from localgpt.sandbox.faults import DeniedNotEnforceable
from localgpt.sandbox.holds import is_held
from localgpt.sandbox.toolchains import is_inside
from localgpt.tools.files import WORKER_ROOT

_DOMAIN: Final = b"localgpt plan v1\x00"


class EffectsOff(LocalGptError):  # noqa: N818 -- named after the condition
    """No confinement could be proven: nothing runs, talking still works."""

    code = "effects.off"


class PathRules(Protocol):
    """What the user's rules deny, as absolute patterns."""

    def denied_reads(self, scope: Scope) -> tuple[str, ...]: ...

    def denied_writes(self, scope: Scope) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What starting the executor led to."""

    executor: Executor | None
    reason: str


class Confinement:
    """One project's plan and the executor that serves it, started in the background while the banner is shown."""

    def __init__(
        self,
        project: Project,
        sandbox: SandboxConfig,
        paths: Paths,
        environ: Mapping[str, str],
        *,
        max_rung: Rung = Rung.A,
        profile: str = "",
        rules: PathRules | None = None,
    ) -> None:
        """Plan and begin to start.

        Args:
            project: the folder, and whether it is trusted; one that is not is never written.
            sandbox: the configuration.
            paths: of this runtime.
            environ: the host's environment.
            max_rung: try nothing stronger, for tests of hosts without namespaces.
            profile: instead of the configured one.
            rules: the user's, asked again before every command.
        """
        self._max_rung = max_rung
        self._min_rung = Rung.A if sandbox.level == "full" else Rung.B
        self._profile = profiles.profile(profile or sandbox.profile)
        self.project = project
        self._environ = environ
        self._settings = sandbox
        self._paths = paths
        self._running: Executor | None = None
        self._outcome: _Outcome | None = None
        self._plan: Plan | None = None
        self._reason = ""
        self._rules = rules
        self.scope = self._make_scope()
        self._found = self._search()
        self._hidden = self._found.secrets
        self.exposed: tuple[str, ...] = ()
        try:
            self._plan = self._make_plan((), ())
        except SandboxError as error:
            self._reason = str(error)
        else:
            self.scope = replace(
                self.scope, read_roots=tuple(dict.fromkeys((*self.scope.read_roots, *self._plan.read_roots)))
            )
        self._held = self._identities()
        self._ready = threading.Event()
        self._closing = threading.Event()
        threading.Thread(target=self._start, name="executor", daemon=True).start()

    # --- what is so ---------------------------------------------------------------------------------------------

    @property
    def effects_off(self) -> str:
        """Why nothing can run, "" when confinement is proven. Waits for the self-test."""
        return self._wait().reason

    @property
    def rung(self) -> str:
        executor = self._wait().executor
        return executor.proof.rung.value if executor is not None else "none"

    @property
    def proof(self) -> Proof | None:
        executor = self._wait().executor
        return None if executor is None else executor.proof

    def warnings(self) -> tuple[str, ...]:
        """What the confinement of this host cannot do, as sentences. Waits for the self-test."""
        self._wait()
        said = []
        if self.exposed:
            said.append(f"this host cannot hide files inside the project: commands can read {_named(self.exposed)}")
        if self.rung == Rung.B.value and self._plan is not None and (there := _existing(self._plan.protected)):
            said.append(
                "this host cannot protect files inside the project while a command runs: "
                f"what it changes of {_named(there)} is put back when it has ended"
            )
        if not self._found.complete:
            said.append("this project is too large to be searched whole for secrets: commands can read those far down")
        return tuple(said)

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        return () if self._plan is None else self._plan.env

    @property
    def asks_hosts(self) -> bool:
        """Whether the profile turns every host that a command asks for into a question. Waits for the self-test."""
        return self._profile.asks_hosts and self.rung == Rung.A.value

    def plan_digest(
        self,
        read: tuple[str, ...] = (),
        write: tuple[str, ...] = (),
        place: str = "",
        hosts: tuple[str, ...] = (),
    ) -> str:
        """Hex SHA-256 that names exactly what a command could reach. `place`: one file that it may make or replace.

        Raises:
            SandboxError: a folder of `read` or `write`, or the place, is refused.
        """
        self.check_place(place)
        plan = self._make_plan(read, write, hosts)
        value: dict[str, canon.Json] = {
            "cwd": plan.cwd,
            "read": list(plan.read_roots),
            "write": list(plan.write_roots),
            "denied": list(plan.denied),
            "protected": list(plan.protected),
            "hosts": list(plan.hosts),
            "place": place,
        }
        return hashlib.sha256(_DOMAIN + canon.encode(value)).hexdigest()

    # --- running ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def executor(
        self,
        read: tuple[str, ...] = (),
        write: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
        gatekeeper: Gatekeeper | None = None,
        *,
        file: str = "",
        learn: bool = False,
    ) -> Iterator[Executor]:
        """The session's executor, or for an approved call beyond its plan one of that call's own.

        Args:
            read: more to read.
            write: more folders to change.
            hosts: what it may connect to.
            gatekeeper: decides about each connection of a call with `hosts`, or under a profile with the network.
            file: one file to change, made by `placing` for a place that was checked.
            learn: remember what its commands ask for, and ask the gatekeeper about every host.

        Raises:
            EffectsOff: confinement is not proven.
            SandboxError: the wider plan is refused, or its zygote cannot be proven.
        """
        outcome = self._wait()
        if outcome.executor is None:
            raise EffectsOff(f"effects are off: {outcome.reason}")
        outcome = self._renewed(outcome.executor)
        if outcome.executor is None:
            raise EffectsOff(f"effects are off: {outcome.reason}")
        asks = gatekeeper is not None and (self.asks_hosts or learn)
        if not (read or write or hosts or file or learn or asks):
            with self._as_running(outcome.executor) as executor:
                yield executor
            return
        proven = outcome.executor.proof.rung
        plan = self._make_plan(read, write, hosts, file)
        if asks and proven is Rung.A:
            plan = replace(plan, asks_hosts=True)
        own = Executor(plan, max_rung=self._max_rung, min_rung=proven, gatekeeper=gatekeeper, learn=learn)
        with own, self._as_running(own) as executor:
            yield executor

    def cancel(self) -> None:
        """End the running command's whole tree. Safe in signal handlers and other threads."""
        if (running := self._running) is not None:
            running.cancel()

    def close(self) -> None:
        """End the zygote."""
        self._closing.set()
        if (executor := self._wait().executor) is not None:
            executor.__exit__(None, None, None)

    # --- plans --------------------------------------------------------------------------------------------------

    def reads(self, path: str) -> bool:
        """Whether the session's own plan lets commands read `path`."""
        plan = self._plan
        return plan is not None and any(is_inside(path, root) for root in (*plan.read_roots, *plan.write_roots))

    def check_place(self, place: str) -> None:
        """Check that one file beyond the plan may be written, if the user says so.

        Raises:
            RootNotGrantable: it is the runtime's, or programs run it at their start.
        """
        check_roots((), (place,) if place else (), self.scope, own_places(self._paths))

    def _make_plan(
        self, read: tuple[str, ...], write: tuple[str, ...], hosts: tuple[str, ...] = (), file: str = ""
    ) -> Plan:
        configured = self._settings.write if self.project.trusted else ()
        places = runtime_places(self._paths) if write or configured else ()
        check_roots((*self._settings.read, *read), (*configured, *write), self.scope, places)
        write = (*write, file) if file else write
        limits = Limits(
            timeout_s=float(self._settings.timeout_secs),
            output_bytes=self._settings.max_output_bytes,
            file_bytes=self._settings.max_file_size_bytes,
            processes=self._settings.max_processes,
        )
        more = [str(WORKER_ROOT), *self._settings.read, *read]
        if self.project.trusted:
            extra = [*map(str, self.project.extra), *self._settings.write, *write]
            plan = Plan.workspace_write(
                self.project.path,
                read=more,
                write=extra,
                limits=limits,
                environ=self._environ,
                denied=self._denied(),
                protected=self._protected(),
                hosts=hosts,
            )
            return self._profile.equip(plan, str(self._paths.cache_dir / "build"))
        return Plan.read_only(
            self.project.path,
            read=[*more, *map(str, self.project.extra)],
            write=write,
            limits=limits,
            environ=self._environ,
            denied=self._denied(),
            protected=self._protected(),
            hosts=hosts,
        )

    def _denied(self) -> list[str]:
        """What no command may reach: LocalGPT's own, every secret of the policy that is there, the project's."""
        own = (self._paths.device_key, self._paths.audit_dir, self._paths.config_dir, self._paths.state_dir)
        there = [path for path in (*map(str, own), *self.scope.secrets) if os.path.lexists(path)]
        return [*dict.fromkeys(there), *self._hidden]

    def _protected(self) -> list[str]:
        """What commands must leave as it is, wherever it may turn out to lie in a write root."""
        return [*self.scope.protected, *protected_files(self.project.roots), *self._found.protected]

    def _search(self) -> Found:
        """What lies in the project that commands must not reach or change: by its name, or by the user's rules."""
        rules = self._rules
        if rules is None:
            return search(self.project.roots)
        return search(self.project.roots, rules.denied_reads(self.scope), rules.denied_writes(self.scope))

    def _make_scope(self) -> Scope:
        return session_scope(self.project, self._settings, self._paths)

    # --- starting -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._outcome = self._try_start()
        self._ready.set()
        self._closing.wait()  # the kernel ties a child that dies with its parent to the thread that started it

    def _try_start(self) -> _Outcome:
        if self._plan is None:
            return _Outcome(None, self._reason)
        try:
            return self._entered(self._plan)
        except DeniedNotEnforceable:
            self.exposed, self._hidden = self._hidden, ()
        except (SandboxError, OSError) as error:
            return _Outcome(None, str(error))
        try:  # without a mount namespace nothing inside a write root can be hidden: say so, and go on
            self._plan = self._make_plan((), ())
            return self._entered(self._plan)
        except (SandboxError, OSError) as error:
            return _Outcome(None, str(error))

    def _entered(self, plan: Plan) -> _Outcome:
        return _Outcome(Executor(plan, max_rung=self._max_rung, min_rung=self._min_rung).__enter__(), "")

    def _identities(self) -> frozenset[tuple[str, int, int]]:
        """What is hidden or protected in the project now: a cover comes off when the host puts another file there."""
        found = set()
        protected = (*self._protected(), *(() if self._plan is None else self._plan.protected))
        for path in (*self._denied(), *self._found.secrets, *protected):
            if any(is_inside(path, root) for root in self.project.roots):
                with contextlib.suppress(OSError):
                    status = os.lstat(path)
                    if not is_held(status):
                        found.add((path, status.st_dev, status.st_ino))
        return frozenset(found)

    def _renewed(self, executor: Executor) -> _Outcome:
        """An executor whose plan hides and protects what is there now; the old one while nothing has changed.

        Raises:
            SandboxError: what is there now cannot be confined; the next command tries again.
        """
        self._found = self._search()
        held = self._identities()
        if held == self._held:
            return _Outcome(executor, "")
        self._hidden = self._found.secrets
        new = self._replacement(executor)
        if new is not None:
            executor.close()
            self._outcome = _Outcome(new, "")
        self._held = held
        return self._outcome or _Outcome(executor, "")

    def _replacement(self, executor: Executor) -> Executor | None:
        """A started executor for the plan of now, None where the host cannot hide what is new: the old one stays."""
        try:
            plan = self._make_plan((), ())
            new = Executor(plan, max_rung=self._max_rung, min_rung=executor.proof.rung).__enter__()
        except DeniedNotEnforceable:
            self.exposed, self._hidden = self._hidden, ()
            return None
        self._plan, self.exposed = plan, ()
        return new

    def _wait(self) -> _Outcome:
        self._ready.wait()
        return self._outcome or _Outcome(None, "the sandbox could not be started")

    @contextlib.contextmanager
    def _as_running(self, executor: Executor) -> Iterator[Executor]:
        self._running = executor
        try:
            yield executor
        finally:
            self._running = None


def _existing(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path for path in paths if os.path.lexists(path))


def _named(paths: tuple[str, ...]) -> str:
    more = "" if len(paths) <= 3 else f" and {len(paths) - 3} more"
    return ", ".join(Path(path).name for path in paths[:3]) + more
