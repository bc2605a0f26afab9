"""Many commands at once: executors keyed by session and plan, and never more zygotes than a bound.

Commands of one key may be served by several zygotes, each with a /tmp of its own; one after another they get the one
that was used last. No zygote ever serves two sessions. A long-lived program (an MCP server) has its own by `lease`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, TypedDict, Unpack

from localgpt.sandbox.executor import Executor
from localgpt.sandbox.faults import ExecutorClosed, PoolBusy
from localgpt.sandbox.plan import Plan
from localgpt.sandbox.proof import Rung
from localgpt.sandbox.running import Completed, Wake, never_started

DEFAULT_SIZE: Final = 8
_Key = tuple[str, Plan]


class RunOptions(TypedDict, total=False):
    """What `Executor.run` takes beside the command."""

    stdin: bytes
    cwd: str | None
    timeout_s: float | None
    env: Sequence[tuple[str, str]]


class Pool:
    """Runs commands of any plan and session, at most `size` at once. Thread-safe; use as a context manager.

    An idle zygote of another key is ended when there is no room for a new one. What holds for an executor holds here:
    below the rung that was first proven for a key nothing of it is served.
    """

    def __init__(self, size: int = DEFAULT_SIZE, *, max_rung: Rung = Rung.A, min_rung: Rung = Rung.B) -> None:
        """Prepare; nothing starts before the first command.

        Args:
            size: the most zygotes at any time, 1 at least.
            max_rung: as for `Executor`.
            min_rung: as for `Executor`.
        """
        self._size = max(1, size)
        self._max_rung = max_rung
        self._min_rung = min_rung
        self._changed = threading.Condition()
        self._idle: list[tuple[_Key, Executor]] = []  # the one used last is at the end
        self._busy: set[Executor] = set()
        self._starting = 0
        self._proven: dict[_Key, Rung] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def run(
        self,
        plan: Plan,
        argv: Sequence[str],
        *,
        session: str = "",
        wait_s: float | None = None,
        cancel: Wake | None = None,
        **options: Unpack[RunOptions],
    ) -> Completed:
        """Run `argv` under `plan` as `Executor.run` does, as soon as a zygote is free.

        Args:
            plan: what the command may reach.
            argv: program and arguments.
            session: whose command it is; sessions share nothing.
            wait_s: how long to wait for a zygote; without end by default.
            cancel: ends the command, or the waiting for a zygote.
            options: see `Executor.run`.

        Raises:
            PoolBusy: no zygote became free in `wait_s`.
            SandboxError: what `Executor` raises.
        """
        executor = self._take((session, plan), wait_s, cancel)
        if executor is None:
            return never_started(tuple(argv))
        try:
            return executor.run(argv, cancel=cancel, **options)
        finally:
            self._give_back((session, plan), executor)

    async def run_async(
        self, plan: Plan, argv: Sequence[str], *, session: str = "", **options: Unpack[RunOptions]
    ) -> Completed:
        """`run` without holding up the event loop.

        When the task is cancelled, the command's whole tree has ended before the cancellation goes on.
        """
        import asyncio  # noqa: PLC0415 -- whoever awaits this has loaded it; nobody else shall pay for it

        cancel = Wake()

        def work() -> Completed:
            return self.run(plan, argv, session=session, cancel=cancel, **options)

        future = asyncio.get_running_loop().run_in_executor(self._workers(), work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            cancel.set()
            with self._changed:
                self._changed.notify_all()
            while not future.done():
                with contextlib.suppress(asyncio.CancelledError):  # once is enough: the command is ending
                    await asyncio.wait({future})
            if not future.cancelled():
                future.exception()  # seen, so that nobody reports it as lost
            raise

    @contextlib.contextmanager
    def lease(self, plan: Plan, *, session: str = "", wait_s: float | None = None) -> Iterator[Executor]:
        """An executor for the caller alone, for as long as the `with` block lasts.

        Raises:
            PoolBusy: no zygote became free in `wait_s`.
            SandboxError: what entering an `Executor` raises.
        """
        executor = self._take((session, plan), wait_s, None)
        if executor is None:
            raise ExecutorClosed("this pool is closed", cure="use it in a `with` block")
        try:
            yield executor
        finally:
            self._give_back((session, plan), executor)

    def end_session(self, session: str) -> None:
        """End the idle zygotes of `session`, with all their temporary files."""
        self._drop(lambda key: key[0] == session)

    def close(self) -> None:
        """End every zygote and what it runs. Idempotent."""
        with self._changed:
            self._closed = True
            busy = list(self._busy)
            self._changed.notify_all()
        for executor in busy:
            executor.close()
        self._drop(lambda _: True)
        if self._threads is not None:
            self._threads.shutdown()

    # --- zygotes ------------------------------------------------------------------------------------------------

    def _take(self, key: _Key, wait_s: float | None, cancel: Wake | None) -> Executor | None:
        """An executor for `key`, busy from now on; None when cancelled while waiting."""
        deadline = None if wait_s is None else time.monotonic() + wait_s
        with self._changed:
            while True:
                if self._closed:
                    raise ExecutorClosed("this pool is closed", cure="use it in a `with` block")
                if cancel is not None and cancel.is_set:
                    return None
                found = self._reuse(key)
                if found is not None:
                    return found
                if len(self._busy) + self._starting < self._size:
                    break
                if deadline is not None and time.monotonic() >= deadline:
                    raise PoolBusy(f"all {self._size} zygotes are at work", cure="wait for one, or use a larger pool")
                self._changed.wait(None if deadline is None else deadline - time.monotonic())
            room = self._size - len(self._busy) - self._starting - 1
            surplus = [self._idle.pop(0)[1] for _ in range(len(self._idle) - room)]
            self._starting += 1
        return self._start(key, surplus)

    def _reuse(self, key: _Key) -> Executor | None:
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index][0] == key:
                executor = self._idle.pop(index)[1]
                self._busy.add(executor)
                return executor
        return None

    def _start(self, key: _Key, surplus: list[Executor]) -> Executor:
        """Start an executor, in the room that those of `surplus` leave."""
        try:
            for old in surplus:
                old.close()
            least = self._proven.get(key, self._min_rung)
            executor = Executor(key[1], max_rung=self._max_rung, min_rung=least).__enter__()
        except BaseException:
            with self._changed:
                self._starting -= 1
                self._changed.notify_all()
            raise
        with self._changed:
            self._starting -= 1
            self._proven.setdefault(key, executor.proof.rung)
            self._busy.add(executor)
            if not self._closed:
                return executor
        self._give_back(key, executor)
        raise ExecutorClosed("this pool is closed", cure="use it in a `with` block")

    def _give_back(self, key: _Key, executor: Executor) -> None:
        with self._changed:
            self._busy.discard(executor)
            if not self._closed:
                self._idle.append((key, executor))
            self._changed.notify_all()
        if self._closed:
            executor.close()

    def _drop(self, which: Callable[[_Key], bool]) -> None:
        with self._changed:
            dropped = [executor for key, executor in self._idle if which(key)]
            self._idle = [(key, executor) for key, executor in self._idle if not which(key)]
        for executor in dropped:
            executor.close()

    def _workers(self) -> ThreadPoolExecutor:
        with self._changed:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="sandbox")
            return self._threads
