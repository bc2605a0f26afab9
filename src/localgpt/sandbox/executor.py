"""Run commands confined: one zygote for one plan, one command at a time, everything of it ended before the next."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from localgpt.sandbox import landlock, rules, seccomp, tree, zygote
from localgpt.sandbox.capture import Capture, Feed
from localgpt.sandbox.faults import (
    CommandInvalid,
    CommandNotExecutable,
    CommandNotFound,
    CommandNotStarted,
    ExecutorClosed,
    HostsUnsupported,
    KernelTooOld,
    NotConfined,
    PlatformUnsupported,
    SwappedRoot,
    WorkingDirectoryOutside,
    ZygoteDied,
)
from localgpt.sandbox.grants import landlock_grants
from localgpt.sandbox.link import Canaries, Link, Reply
from localgpt.sandbox.plan import Limits, Plan, check_runtime
from localgpt.sandbox.proof import Proof, Rung, missing
from localgpt.sandbox.syscalls import ARCH, TABLES
from localgpt.sandbox.toolchains import is_inside

_GRACE_S: Final = 5.0
_WATCH_S: Final = 0.1
_PIDS_PER_NAMESPACE_SINCE: Final = (6, 14)


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. Output is what was kept, with a marker when it was cut; the totals count all of it.

    `exit_status`: the command's own, 128 + signal when one ended it, 124 when it ran out of time, 130 when it was
    cancelled. `limit` names the limit that ended it ("processes"), "" for none.
    """

    argv: tuple[str, ...]
    exit_status: int
    signal: int | None
    stdout: bytes
    stderr: bytes
    stdout_total: int
    stderr_total: int
    duration_s: float
    timed_out: bool
    cancelled: bool = False
    limit: str = ""


class Executor:
    """Runs commands under one plan. Use as a context manager; thread-safe, one command at a time.

    Entering starts and tests the zygote that will serve. If its confinement cannot be proven, entering raises and nothing
    runs; there is no way to run a command of this class unconfined.
    """

    def __init__(self, plan: Plan, *, max_rung: Rung = Rung.A, max_abi: int = 99) -> None:
        """Prepare; nothing starts yet.

        Args:
            plan: what every command may reach.
            max_rung: do not try anything stronger (for tests, and for comparing).
            max_abi: use no more of Landlock than this ABI (for tests of older kernels).
        """
        self.plan = plan
        self._max_rung = max_rung
        self._max_abi = max_abi
        self._lock = threading.Lock()
        self._cancel = -1
        self._link: Link | None = None
        self._proof: Proof | None = None
        self._private = ""

    def __enter__(self) -> Executor:
        check_runtime(self.plan)
        self._cancel = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
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
        return self._private or "/tmp"  # noqa: S108 -- a private mount

    def close(self) -> None:
        """End the zygote and all it started. Idempotent."""
        with self._lock:
            self._stop()
            if self._cancel >= 0:
                os.close(self._cancel)
                self._cancel = -1

    def cancel(self) -> None:
        """End the running command's whole tree. From another thread or a signal handler; nothing happens when none runs."""
        if self._cancel >= 0:
            os.eventfd_write(self._cancel, 1)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        timeout_s: float | None = None,
        env: Iterable[tuple[str, str]] = (),
    ) -> Completed:
        """Run `argv` to its end and return what came of it; nobody of its process tree is left then.

        Args:
            argv: program and arguments; a program without a slash is looked up on the plan's PATH.
            stdin: what the command reads; without it, /dev/null.
            cwd: absolute, inside a root of the plan; the plan's own by default.
            timeout_s: less than the plan's limit.
            env: variables on top of the plan's.

        Raises:
            CommandInvalid: its leaf says why the command did not start.
            ZygoteDied: the zygote ended during the command; the next run starts a fresh one.
            NotConfined: a fresh zygote could not be proven.
        """
        words = _checked(argv, env)
        where = self._checked_cwd(cwd)
        with self._lock:
            if self._cancel < 0:
                raise ExecutorClosed("this executor is not running", cure="use it in a `with` block")
            if self._link is None:
                self._start()
            deadline_s = self.plan.limits.timeout_s if timeout_s is None else min(timeout_s, self.plan.limits.timeout_s)
            try:
                return self._run(tuple(argv), words, stdin, where, deadline_s, self._environment(env))
            except (CommandInvalid, WorkingDirectoryOutside):
                raise
            except BaseException:
                self._stop()  # whatever it was, nothing that we started goes on
                raise

    # --- one command ---------------------------------------------------------------------------------------------

    def _run(
        self,
        argv: tuple[str, ...],
        words: list[bytes],
        stdin: bytes,
        cwd: bytes,
        timeout_s: float,
        env: dict[bytes, bytes],
    ) -> Completed:
        limits = self.plan.limits
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._cancel)
        started = time.monotonic()
        with contextlib.ExitStack() as theirs:
            out, out_w = os.pipe()
            err, err_w = os.pipe()
            theirs.callback(os.close, out_w)
            theirs.callback(os.close, err_w)
            fds = [out_w, err_w]
            feed = None
            if stdin:
                their_in, ours = os.pipe()
                theirs.callback(os.close, their_in)
                fds.append(their_in)
                feed = Feed(ours, stdin)
            running = _Running(self._alive(), Capture(out, limits.output_bytes), Capture(err, limits.output_bytes), feed)
            try:
                self._request(running, words, env, cwd, fds)
                theirs.close()
                watch = None if self.proof.holds("process-limit") else limits
                running.drive(started + timeout_s, self._cancel, watch)
            finally:
                running.release()
        return running.completed(argv, time.monotonic() - started)

    def _request(
        self, running: _Running, words: list[bytes], env: dict[bytes, bytes], cwd: bytes, fds: list[int]
    ) -> None:
        """Hand the command over; a zygote that died while idle is replaced first."""
        try:
            running.link.request(words, env, cwd, fds)
        except ZygoteDied:
            self._stop()
            self._start()
            running.link = self._alive()
            running.link.request(words, env, cwd, fds)

    def _alive(self) -> Link:
        if self._link is None:
            raise ZygoteDied("no zygote is running", cure="run the command again")
        return self._link

    def _environment(self, env: Iterable[tuple[str, str]]) -> dict[bytes, bytes]:
        own = {"HOME": f"{self.temporary}/home", "TMPDIR": self.temporary}
        merged = own | dict(self.plan.env) | dict(env)
        return {os.fsencode(name): os.fsencode(value) for name, value in merged.items()}

    def _checked_cwd(self, cwd: str | None) -> bytes:
        if cwd is None:
            return os.fsencode(self.plan.cwd)
        if not os.path.isabs(cwd) or "\0" in cwd:
            raise WorkingDirectoryOutside(f"{cwd!r} is not an absolute path", cure="give the full path")
        real = os.path.realpath(cwd)
        if not any(is_inside(real, root) for root in (*self.plan.read_roots, *self.plan.write_roots, self.temporary)):
            raise WorkingDirectoryOutside(f"{cwd} lies outside the plan", cure=f"run in {self.plan.cwd} or below")
        return os.fsencode(real)

    # --- the zygote ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        abi = _usable_abi(self._max_abi)
        if self.plan.hosts:
            raise HostsUnsupported(
                f"commands have no network, but the plan names {', '.join(self.plan.hosts)}", cure="plan without hosts"
            )
        why = "rung B was asked for" if self._max_rung is Rung.B else _known_refusal.get("", "")
        if self._max_rung is Rung.A and not why:
            try:
                self._start_rung(Rung.A, abi, "")
            except (OSError, NotConfined) as error:
                why = str(getattr(error, "message", error))
            else:
                return
        try:
            self._start_rung(Rung.B, abi, why)
        except OSError as error:
            raise _start_error(error, self.plan) from error
        if self._max_rung is Rung.A:
            _known_refusal[""] = why

    def _start_rung(self, rung: Rung, abi: int, why_not_higher: str) -> None:
        started = time.monotonic()
        if rung is Rung.B:
            self._private = os.path.realpath(tempfile.mkdtemp(prefix="localgpt-tmp-"))
            os.mkdir(os.path.join(self._private, "home"), 0o700)
        canaries = Canaries((*self.plan.read_roots, *self.plan.write_roots, self._private or "/nonexistent"))
        try:
            self._link = Link(_setup(self.plan, rung, abi, os.fsencode(canaries.file), self._private))
            mechanisms = self._link.ready()
            heard = canaries.heard()
        except BaseException:
            self._stop()
            raise
        finally:
            canaries.close()
        lacking = missing(rung, mechanisms)
        if heard or lacking:
            self._stop()
            said = "; ".join(f"{name} ({detail})" for name, _, detail in lacking) or "a canary socket was reached"
            raise NotConfined(
                f"rung {rung} could not be proven: {said}", cure="see `localgpt sandbox status` for what this host lacks"
            )
        self._proof = Proof(rung, mechanisms, why_not_higher, (time.monotonic() - started) * 1e3)

    def _stop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._private:
            with contextlib.suppress(RecursionError):
                shutil.rmtree(self._private, ignore_errors=True)
            self._private = ""


_known_refusal: dict[str, str] = {}  # why rung A failed once in this process: the host will not change its mind


class _Running:
    """One command between request and answer."""

    def __init__(self, link: Link, out: Capture, err: Capture, feed: Feed | None) -> None:
        self.link = link
        self._out = out
        self._err = err
        self._feed = feed
        self._reply: Reply | None = None
        self._outputs: tuple[bytes, bytes] = (b"", b"")
        self._timed_out = False
        self._cancelled = False
        self._limit = ""

    def drive(self, deadline: float, cancel_fd: int, watch: Limits | None) -> None:
        """Drain and feed until the zygote has answered.

        Raises:
            ZygoteDied: it ended, or did not answer when told to end the command.
        """
        poll = select.poll()
        for each in (self.link, self._out, self._err):
            poll.register(each, select.POLLIN)
        poll.register(cancel_fd, select.POLLIN)
        if self._feed is not None:
            poll.register(self._feed, select.POLLOUT)
        ending = False
        while self._reply is None:
            left = deadline - time.monotonic()
            if left <= 0 and ending:
                raise ZygoteDied("the zygote did not end its command in time", cure="run the command again")
            if left > 0:
                self._dispatch(poll, poll.poll((min(left, _WATCH_S) if watch else left) * 1e3 + 1), cancel_fd)
            else:
                self._timed_out = True
            if watch and not ending and len(tree.descendants(self.link.warden_pid)) > watch.processes + 1:
                self._limit = "processes"
            if not ending and (self._timed_out or self._cancelled or self._limit):
                ending, deadline = True, time.monotonic() + _GRACE_S
                self.link.end_command()

    def _dispatch(self, poll: select.poll, events: list[tuple[int, int]], cancel_fd: int) -> None:
        for fd, _ in events:
            if fd == self.link.fileno():
                self._reply = self.link.receive()
            elif fd == cancel_fd:
                self._cancelled = True
                poll.unregister(cancel_fd)
            elif self._feed is not None and fd == self._feed.fileno():
                if not self._feed.write():
                    poll.unregister(fd)
                    self._feed.close()
                    self._feed = None
            elif not (self._out if fd == self._out.fileno() else self._err).read():
                poll.unregister(fd)

    def release(self) -> None:
        """Close our ends; what is still in the pipes is taken first."""
        self._outputs = self._out.finish(), self._err.finish()
        if self._feed is not None:
            self._feed.close()

    def completed(self, argv: tuple[str, ...], duration_s: float) -> Completed:
        """The result.

        Raises:
            CommandInvalid: a leaf of it, when the command did not start.
        """
        reply = self._reply
        if reply is None or reply.kind != zygote.DONE:
            raise _refusal(argv, reply)
        signal = os.WTERMSIG(reply.number) if os.WIFSIGNALED(reply.number) else None
        status = os.WEXITSTATUS(reply.number) if signal is None else 128 + signal
        return Completed(
            argv=argv,
            exit_status=124 if self._timed_out else 130 if self._cancelled else status,
            signal=signal,
            stdout=self._outputs[0],
            stderr=self._outputs[1],
            stdout_total=self._out.total,
            stderr_total=self._err.total,
            duration_s=duration_s,
            timed_out=self._timed_out,
            cancelled=self._cancelled,
            limit=self._limit,
        )


def _checked(argv: Sequence[str], env: Iterable[tuple[str, str]]) -> list[bytes]:
    if not argv or not argv[0]:
        raise CommandInvalid("the command is empty", cure="name a program")
    if any("\0" in word for word in argv) or any("\0" in name + value or "=" in name for name, value in env):
        raise CommandInvalid("the command line or environment contains a NUL byte or a bad name", cure="leave it out")
    return [os.fsencode(word) for word in argv]


def _refusal(argv: tuple[str, ...], reply: Reply | None) -> Exception:
    code = 0 if reply is None else reply.number
    said = os.strerror(code)
    if reply is not None and reply.kind == zygote.NO_DIRECTORY:
        return WorkingDirectoryOutside(f"the working directory cannot be entered: {said}", cure="check that it exists")
    if code == errno.ENOENT:
        return CommandNotFound(f"{argv[0]}: not found in what commands may see", cure="install it, or grant its folder")
    if code in {errno.EACCES, errno.ENOEXEC, errno.EISDIR, errno.ENOTDIR, errno.ELOOP}:
        return CommandNotExecutable(f"{argv[0]}: {said}", cure="check its mode and its first line")
    if code == errno.E2BIG:
        return CommandNotStarted("the command line is too long", cure="pass the data on standard input")
    return CommandNotStarted(f"{argv[0]}: {said}", cure="run it again with less running beside it")


def _start_error(error: OSError, plan: Plan) -> Exception:
    if error.errno in {errno.ELOOP, errno.ENOENT} and "openat2" in str(error):
        return SwappedRoot(f"a root of the plan for {plan.cwd} vanished or became a link", cure="plan again")
    return NotConfined(f"the zygote could not confine itself: {error}", cure="run `localgpt sandbox status`")


def _usable_abi(limit: int) -> int:
    if sys.platform != "linux" or ARCH not in TABLES:
        raise PlatformUnsupported(
            f"commands cannot be confined on {sys.platform} {ARCH}", cure="run on Linux, x86_64 or aarch64"
        )
    abi = min(landlock.abi(), limit, 9)
    if not abi:
        raise KernelTooOld("this kernel has no Landlock, or it is switched off", cure="boot a kernel with lsm=landlock,…")
    return abi


def _setup(plan: Plan, rung: Rung, abi: int, canary: bytes, private: str) -> dict[str, Any]:
    namespaces = rung is Rung.A
    program = seccomp.assemble(ARCH, rules.command_rules(namespaces=namespaces, signals_scoped=abi >= 6))
    limits = plan.limits
    return {
        "namespaces": namespaces,
        "abi": abi,
        "code": program.code,
        "slots": program.slots,
        "reads": [os.fsencode(path) for path in plan.read_roots],
        "writes": [os.fsencode(path) for path in plan.write_roots],
        "denied": [os.fsencode(path) for path in plan.denied],
        "links": [(os.fsencode(path), os.fsencode(target)) for path, target in plan.links],
        "grants": [] if namespaces else landlock_grants(plan, private),
        "limit_pids": namespaces and os.geteuid() == 0 and _kernel_version() >= _PIDS_PER_NAMESPACE_SINCE,
        "processes": limits.processes,
        "file_bytes": limits.file_bytes,
        "open_files": limits.open_files,
        "tmp_bytes": limits.tmp_bytes,
        "canary": canary,
        "tmp": os.fsencode(private or "/tmp"),  # noqa: S108 -- a private mount
        "cwd": os.fsencode(plan.cwd),
    }


def _kernel_version() -> tuple[int, int]:
    major, minor, *_ = (*os.uname().release.split(".", 2), "0", "0")
    return int(major), int("".join(c for c in minor if c.isdigit()) or "0")
