"""Run commands confined: one zygote for one plan, one command at a time, everything of it ended before the next."""

# A plan holds paths as text, which is compared and never touched through an object.
# ruff: noqa: PTH117

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from localgpt.sandbox import rules, seccomp, zygote
from localgpt.sandbox.aftermath import NOTHING
from localgpt.sandbox.cgroup import Cgroup, delegated, with_cgroup
from localgpt.sandbox.egress import Egress, Gatekeeper, ListedOnly
from localgpt.sandbox.faults import (
    CommandInvalid,
    ExecutorClosed,
    HostsUnsupported,
    NotConfined,
    RungLost,
    SwappedRoot,
    WorkingDirectoryOutside,
    ZygoteDied,
)
from localgpt.sandbox.grants import landlock_grants
from localgpt.sandbox.holds import MARK_NS
from localgpt.sandbox.link import Canaries, Link
from localgpt.sandbox.mounts import ViewRefused
from localgpt.sandbox.nesting import refused_namespaces
from localgpt.sandbox.plan import Plan, check_runtime
from localgpt.sandbox.private import PrivateDirectory
from localgpt.sandbox.proof import Proof, Rung, missing
from localgpt.sandbox.protection import Protection
from localgpt.sandbox.roots import HeldRoots
from localgpt.sandbox.running import Command, Completed, Wake, never_started, run_command
from localgpt.sandbox.support import usable_abi
from localgpt.sandbox.syscalls import ARCH
from localgpt.sandbox.toolchains import is_inside
from localgpt.sandbox.usage import uncounted

if TYPE_CHECKING:
    from localgpt.sandbox.learn import Learner, Touch

_PIDS_PER_NAMESPACE_SINCE: Final = (6, 14)
_SIGKILL: Final = 9
_PASSING: Final = frozenset({errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE})  # of the moment


class Executor:
    """Runs commands under one plan. Use as a context manager; thread-safe, one command at a time.

    Entering starts and tests the zygote that will serve. If its confinement cannot be proven, entering raises and
    nothing runs; there is no way to run a command of this class unconfined.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        max_rung: Rung = Rung.A,
        min_rung: Rung = Rung.B,
        max_abi: int = 99,
        gatekeeper: Gatekeeper | None = None,
        learn: bool = False,
    ) -> None:
        """Prepare; nothing starts yet.

        Args:
            plan: what every command may reach.
            max_rung: do not try anything stronger (for tests, and for comparing).
            min_rung: serve on nothing weaker. A zygote that is replaced never comes back on a lower rung.
            max_abi: use no more of Landlock than this ABI (for tests of older kernels).
            gatekeeper: decides about connections, for a plan with hosts; without one, what the plan lists is allowed.
            learn: remember which paths commands ask for; see `touched`.
        """
        self.plan = plan
        self._max_rung = max_rung
        self._min_rung = min_rung
        self._max_abi = max_abi
        self._lock = threading.Lock()
        self._idle_wake = Wake()
        self._current = self._idle_wake
        self._entered = False
        self._link: Link | None = None
        self._proof: Proof | None = None
        self._private: PrivateDirectory | None = None
        self._cgroup: Cgroup | None = None
        self._protection = Protection(plan)
        self._roots: HeldRoots | None = None
        self._gatekeeper = gatekeeper or ListedOnly()
        self._egress: Egress | None = None
        self._watches = learn
        self._learner: Learner | None = None

    def __enter__(self) -> Executor:
        check_runtime(self.plan)
        with self._lock, contextlib.ExitStack() as unwinding:
            unwinding.callback(self._give_up)
            self._start()
            self._entered = True
            unwinding.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def proof(self) -> Proof:
        """What the self-test of the zygote that serves has shown."""
        if self._proof is None:
            raise ExecutorClosed("this executor is not running", cure="use it in a `with` block")
        return self._proof

    @property
    def temporary(self) -> str:
        """The command's own TMPDIR, as commands see it; gone with the executor."""
        return "/tmp" if self._private is None else self._private.path  # noqa: S108 -- a private mount

    @property
    def touched(self) -> tuple[Touch, ...]:
        """What commands asked for since the zygote started, of an executor that learns."""
        return () if self._learner is None else self._learner.touched

    @property
    def looks_everywhere(self) -> bool:
        """Whether all of the write roots is looked through after a command, or they are too large for that."""
        return self._protection.complete

    def close(self) -> None:
        """End the zygote and all it started, a running command included. Idempotent."""
        self._entered = False
        self.cancel()
        with self._lock:
            self._stop()
            self._give_up()

    def cancel(self) -> None:
        """End the running command's whole tree, from another thread or a signal handler; without one, do nothing."""
        self._current.set()

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        timeout_s: float | None = None,
        env: Iterable[tuple[str, str]] = (),
        cancel: Wake | None = None,
    ) -> Completed:
        """Run `argv` to its end and return what came of it; nobody of its process tree is left then.

        Args:
            argv: program and arguments; a program without a slash is looked up on the plan's PATH.
            stdin: what the command reads; without it, /dev/null.
            cwd: absolute, inside a root of the plan; the plan's own by default.
            timeout_s: no more than the plan's limit.
            env: variables on top of the plan's.
            cancel: ends this command, and no other, when somebody sets it; set already, nothing starts.

        Raises:
            CommandInvalid: its leaf says why the command did not start, or that it needs namespaces of its own.
            ZygoteDied: the zygote ended during the command; the next run starts a fresh one.
            NotConfined: a fresh zygote could not be proven.
            RungLost: a fresh zygote could be had on a lower rung only.
        """
        more = tuple(env)
        _check(argv, more)
        where = self._checked_cwd(cwd)
        with self._lock:
            if not self._entered:
                raise ExecutorClosed("this executor is not running", cure="use it in a `with` block")
            wake = self._current = cancel or self._idle_wake
            if cancel is None:
                wake.clear()
            elif wake.is_set:
                return never_started(tuple(argv))
            link = self._living()
            limits = self.plan.limits
            command = Command(
                argv=tuple(argv),
                env=more,
                cwd=where,
                stdin=stdin,
                timeout_s=limits.timeout_s if timeout_s is None else min(timeout_s, limits.timeout_s),
                output_bytes=limits.output_bytes,
            )
            self._protection.before_command()
            try:
                done = run_command(link, command, wake, self._egress, self._learner)
            except CommandInvalid:
                self._protection.after_command()
                raise
            except BaseException:
                self._stop()  # whatever it was, nothing that we started goes on
                self._protection.after_command()
                raise
            if done.signal == _SIGKILL and self._cgroup is not None and self._cgroup.ran_out():
                done = replace(done, limit="memory")
            left = self._protection.after_command()
            if left is not NOTHING:
                return replace(done, left=left)
            if (refused := refused_namespaces(done)) is not None:
                raise refused
            return done

    def _environment(self) -> tuple[tuple[str, str], ...]:
        return (("HOME", f"{self.temporary}/home"), ("TMPDIR", self.temporary), *_proxies(self.plan), *self.plan.env)

    def _checked_cwd(self, cwd: str | None) -> str:
        if cwd is None:
            return self.plan.cwd
        if not os.path.isabs(cwd) or "\0" in cwd:
            raise WorkingDirectoryOutside(f"{cwd!r} is not an absolute path", cure="give the full path")
        real = os.path.realpath(cwd)
        if not any(is_inside(real, root) for root in (*self.plan.read_roots, *self.plan.write_roots, self.temporary)):
            raise WorkingDirectoryOutside(f"{cwd} lies outside the plan", cure=f"run in {self.plan.cwd} or below")
        return real

    # --- the zygote ----------------------------------------------------------------------------------------------

    def _living(self) -> Link:
        """The link to a zygote that is there; one that died while idle is replaced."""
        if (self._link is not None and not self._link.is_alive()) or (
            self._egress is not None and not self._egress.is_alive()
        ):
            self._stop()
        if self._link is None:
            self._start()
        if self._link is None:
            raise ZygoteDied("no zygote is running", cure="run the command again")
        return self._link

    def _start(self) -> None:
        abi = usable_abi(self._max_abi)
        why = "rung B was asked for" if self._max_rung is Rung.B else self._try_highest(abi)
        if why and self.plan.networked:
            raise HostsUnsupported(
                f"hosts cannot be allowed one by one without a network namespace of the command's own: {why}",
                cure="run without hosts; `localgpt sandbox status` says why there is no such namespace",
            )
        if why:
            if self._min_rung is Rung.A:
                raise RungLost(
                    f"rung A, demanded or proven before, could not be had: {why}", cure="try again, or start again"
                )
            try:
                self._start_rung(Rung.B, abi, why)
            except OSError as error:
                raise _start_error(error, self.plan) from error
        self._min_rung = self.proof.rung

    def _try_highest(self, abi: int) -> str:
        """Start on rung A, or say why not. Only what the host refuses to every plan is not tried again."""
        if self._min_rung is Rung.B and _known_refusal:
            return _known_refusal[0]
        try:
            self._start_rung(Rung.A, abi, "")
        except OSError as error:
            if error.errno in _PASSING or _is_swapped(error):
                raise _start_error(error, self.plan) from error
            if isinstance(error, ViewRefused):
                _known_refusal[:] = [str(error)]
            return str(error)
        except NotConfined as error:
            return error.message
        return ""

    def _start_rung(self, rung: Rung, abi: int, why_not_higher: str) -> None:
        started = time.monotonic()
        with contextlib.ExitStack() as unwinding:
            unwinding.callback(self._stop)
            self._roots = self._roots or HeldRoots(self.plan)
            if rung is Rung.B:
                self._private = PrivateDirectory()
            self._protection.prepare(mounts=rung is Rung.A)
            canaries = Canaries((*self.plan.read_roots, *self.plan.write_roots))
            with contextlib.closing(canaries):
                if self.plan.networked:
                    self._egress = Egress(self.plan.hosts, self._gatekeeper)
                setup = _setup(self.plan, rung, abi, canaries, self.temporary) | _protected(self._protection)
                setup["watch"] = _watched_calls() if self._watches else b""
                env = {os.fsencode(name): os.fsencode(value) for name, value in self._environment()}
                self._cgroup, said = delegated(self.plan.limits.memory_bytes, self.plan.limits.processes)
                more = {"identities": self._roots.identities(), "env": env}
                self._link = Link(setup | more, None if self._cgroup is None else self._cgroup.add)
                self._protection.begin()  # while the zygote confines itself
                mechanisms = self._link.ready()
                if self._egress is not None:
                    mechanisms += self._egress.ready(self._link.take_descriptor())
                if self._watches:
                    self._learner = _learner(self._link.take_descriptor())
                mechanisms = with_cgroup(mechanisms, self._cgroup, self._link.warden_pid, said)
                heard = canaries.heard()
            unwinding.pop_all()
        lacking = missing(rung, mechanisms, networked=self.plan.networked)
        if heard or lacking:
            self._stop()
            said = "; ".join(f"{name} ({detail})" for name, _, detail in lacking) or "a canary socket was reached"
            raise NotConfined(
                f"rung {rung} could not be proven: {said}",
                cure="see `localgpt sandbox status` for what this host lacks",
            )
        self._proof = Proof(rung, mechanisms, why_not_higher, (time.monotonic() - started) * 1e3)

    def _stop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._cgroup is not None:
            self._cgroup.close()
            self._cgroup = None
        if self._egress is not None:
            self._egress.close()
            self._egress = None
        if self._learner is not None:
            self._learner.close()
            self._learner = None
        if self._private is not None:
            self._private.close()
            self._private = None
        self._protection.release()

    def _give_up(self) -> None:
        """Close what outlives one zygote."""
        self._protection.close()
        if self._roots is not None:
            self._roots.close()
            self._roots = None


def _watched_calls() -> bytes:
    from localgpt.sandbox.learn import WATCHED  # noqa: PLC0415 -- for `--learn` alone, and a session starts sooner without

    return seccomp.assemble_watch(ARCH, WATCHED)


def _learner(listener: int) -> Learner:
    from localgpt.sandbox.learn import Learner  # noqa: PLC0415 -- as above

    return Learner(listener)


_known_refusal: list[str] = []  # why this host has no rung A, once it said so: it will not change its mind


def _check(argv: Sequence[str], env: tuple[tuple[str, str], ...]) -> None:
    if not argv or not argv[0]:
        raise CommandInvalid("the command is empty", cure="name a program")
    if any("\0" in word for word in argv) or any("\0" in name + value or "=" in name for name, value in env):
        raise CommandInvalid("the command line or environment contains a NUL byte or a bad name", cure="leave it out")


def _is_swapped(error: OSError) -> bool:
    """Whether a path of the plan is not what it was when the plan was made."""
    return error.errno in {errno.ELOOP, errno.ENOENT} and "openat2" in str(error)


def _start_error(error: OSError, plan: Plan) -> Exception:
    if _is_swapped(error):
        return SwappedRoot(f"a root of the plan for {plan.cwd} vanished or became a link", cure="plan again")
    if error.errno in _PASSING:  # says nothing about what this host can confine
        return NotConfined(
            f"there was no room to start a zygote: {error.strerror}", cure="end something that runs, and try again"
        )
    return NotConfined(f"the zygote could not confine itself: {error}", cure="run `localgpt sandbox status`")


def _proxies(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Where programs find the proxy. Who ignores these variables finds nothing at all."""
    if not plan.networked:
        return ()
    url = f"http://127.0.0.1:{zygote.PROXY_PORT}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return (*((name, url) for name in names), *((name.lower(), url) for name in names))


def _setup(plan: Plan, rung: Rung, abi: int, canaries: Canaries, temporary: str) -> dict[str, Any]:
    namespaces = rung is Rung.A
    program = seccomp.assemble(
        ARCH, rules.command_rules(namespaces=namespaces, signals_scoped=abi >= 6, streams=plan.networked)
    )
    limits = plan.limits
    by_pids = namespaces and os.geteuid() == 0 and _kernel_version() >= _PIDS_PER_NAMESPACE_SINCE
    return {
        "namespaces": namespaces,
        "abi": abi,
        "code": program.code,
        "slots": program.slots,
        "reads": [os.fsencode(path) for path in plan.read_roots],
        "writes": [os.fsencode(path) for path in plan.write_roots],
        "denied": [os.fsencode(path) for path in plan.denied],
        "links": [(os.fsencode(path), os.fsencode(target)) for path, target in plan.links],
        "grants": [] if namespaces else landlock_grants(plan, temporary),
        "limit_pids": by_pids,
        "processes": limits.processes,
        "watch_processes": 0 if by_pids or (namespaces and os.geteuid()) else limits.processes,
        "memory_bytes": limits.memory_bytes,
        "cpu_s": limits.cpu_s,
        "written_bytes": limits.written_bytes,
        "uncounted": uncounted(
            [os.fsencode(path) for path in (*plan.write_roots, *([] if namespaces else [temporary]))]
        ),
        "file_bytes": limits.file_bytes,
        "open_files": limits.open_files,
        "tmp_bytes": limits.tmp_bytes,
        "home_files": [(os.fsencode(name), os.fsencode(content)) for name, content in plan.home_files],
        "canary": os.fsencode(canaries.file),
        "canary_port": canaries.tcp_port,
        "networked": plan.networked,
        "tmp": os.fsencode(temporary),
        "cwd": os.fsencode(plan.cwd),
    }


def _protected(protection: Protection) -> dict[str, Any]:
    return {
        "held": [os.fsencode(path) for path in protection.held],
        "held_mark_ns": MARK_NS,
        "protected": [os.fsencode(path) for path in protection.kept],
        "covered": [os.fsencode(path) for path in protection.covered],
    }


def _kernel_version() -> tuple[int, int]:
    major, minor, *_ = (*os.uname().release.split(".", 2), "0", "0")
    return int(major), int("".join(c for c in minor if c.isdigit()) or "0")
