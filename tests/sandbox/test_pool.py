"""The pool: as many at once as it may have, sessions apart, cancelled in every state, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.errors import SandboxError
from localgpt.sandbox import Limits, Plan, Pool, Rung, faults, tree
from localgpt.sandbox.running import Wake
from tests.sandbox.test_executor import marked
from tests.sandbox.world import executor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux")


@pytest.fixture
def plan(project: Path) -> Plan:
    return Plan.workspace_write(project, limits=Limits(timeout_s=20))


@pytest.fixture
def pool(rung: Rung, plan: Plan) -> Iterator[Pool]:
    executor(plan, rung)  # skips where the host has no such rung
    before = len([*Path("/proc/self/fd").iterdir()])
    children = set(tree.children(os.getpid()))
    with Pool(3, max_rung=rung) as entered:
        yield entered
    gc.collect()  # an exception's traceback keeps its locals
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    assert set(tree.children(os.getpid())) <= children


def meet(pool: Pool, plan: Plan, project: Path, number: int) -> threading.Thread:
    """A command that ends only when `number` of its kind run at the same time."""
    line = f"touch here.$1; while [ $(ls here.* | wc -l) -lt {number} ]; do sleep 0.02; done"
    name = str(time.monotonic_ns())
    thread = threading.Thread(target=lambda: pool.run(plan, ["sh", "-c", line, "sh", name]))
    thread.start()
    return thread


def test_commands_run_at_the_same_time(pool: Pool, plan: Plan, project: Path) -> None:
    threads = [meet(pool, plan, project, 3) for _ in range(3)]
    for thread in threads:
        thread.join(15)
        assert not thread.is_alive()


def test_never_more_zygotes_than_the_bound(pool: Pool, plan: Plan) -> None:
    seen: list[int] = []
    before = set(tree.children(os.getpid()))

    def work(number: int) -> None:
        pool.run(plan, ["true"], session=str(number % 4))
        seen.append(len({*tree.children(os.getpid())} - before))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(seen) <= 3


def test_one_after_another_sees_the_same_temporary_files(pool: Pool, plan: Plan) -> None:
    pool.run(plan, ["sh", "-c", "echo kept > $TMPDIR/file"])
    assert pool.run(plan, ["sh", "-c", "cat $TMPDIR/file"]).stdout == b"kept\n"


def test_sessions_share_no_temporary_files(pool: Pool, plan: Plan) -> None:
    pool.run(plan, ["sh", "-c", "echo secret > $TMPDIR/file; echo secret > /dev/shm/file"], session="one")
    done = pool.run(plan, ["sh", "-c", "cat $TMPDIR/file /tmp/file /dev/shm/file"], session="two")
    assert done.stdout == b""
    pool.end_session("one")
    assert pool.run(plan, ["sh", "-c", "cat $TMPDIR/file"], session="one").stdout == b""


def test_a_lease_is_the_callers_alone(pool: Pool, plan: Plan) -> None:
    with pool.lease(plan) as mine:
        assert mine.run(["echo", "x"]).stdout == b"x\n"
        with pool.lease(plan) as other, pool.lease(plan):
            assert other is not mine
            with pytest.raises(faults.PoolBusy):
                pool.run(plan, ["true"], wait_s=0.05)
    assert pool.run(plan, ["true"], wait_s=0).exit_status == 0


def test_a_plan_that_is_refused_takes_no_place(pool: Pool, plan: Plan, project: Path) -> None:
    spoiled = Plan(str(project), (*plan.read_roots, "/nonexistent"), (str(project),))
    for _ in range(4):
        with pytest.raises(SandboxError):
            pool.run(spoiled, ["true"])
    assert pool.run(plan, ["true"], wait_s=0).exit_status == 0


def test_a_closed_pool_runs_nothing(plan: Plan) -> None:
    pool = Pool(1)
    pool.close()
    with pytest.raises(faults.ExecutorClosed):
        pool.run(plan, ["true"])


def test_closing_ends_what_runs_and_who_waits(rung: Rung, plan: Plan) -> None:
    executor(plan, rung)
    mark = f"2{time.time_ns() % 10**9}.5"
    ended: list[object] = []

    def work(pool: Pool) -> None:
        try:
            ended.append(pool.run(plan, ["sh", "-c", f"setsid sleep {mark} & sleep {mark}"]).cancelled)
        except SandboxError as error:
            ended.append(error)

    with Pool(1, max_rung=rung) as entered:
        threads = [threading.Thread(target=work, args=(entered,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        while len(marked(f"sleep\0{mark}")) < 2:
            time.sleep(0.01)
    for thread in threads:
        thread.join(10)
    assert marked(mark) == []
    assert len(ended) == 2


def test_cancelled_before_its_turn_nothing_starts(pool: Pool, plan: Plan, project: Path) -> None:
    cancel = Wake()
    cancel.set()
    done = pool.run(plan, ["touch", "there"], cancel=cancel)
    assert (done.cancelled, done.exit_status) == (True, 130)
    with pool.lease(plan) as executor:
        assert executor.run(["touch", "there"], cancel=cancel).cancelled
    assert not (project / "there").exists()


# --- async ----------------------------------------------------------------------------------------------------


def test_async_commands_run_at_the_same_time(pool: Pool, plan: Plan) -> None:
    line = "touch here.$1; while [ $(ls here.* | wc -l) -lt 3 ]; do sleep 0.02; done; echo $1"

    async def main() -> list[bytes]:
        runs = [pool.run_async(plan, ["sh", "-c", line, "sh", str(number)]) for number in range(3)]
        return [done.stdout for done in await asyncio.gather(*runs)]

    assert asyncio.run(main()) == [b"0\n", b"1\n", b"2\n"]


def test_a_cancelled_task_leaves_nobody(pool: Pool, plan: Plan) -> None:
    mark = f"1{time.time_ns() % 10**9}.5"

    async def main() -> None:
        task = asyncio.create_task(pool.run_async(plan, ["sh", "-c", f"setsid sleep {mark} & sleep {mark}"]))
        while len(marked(f"sleep\0{mark}")) < 2:
            await asyncio.to_thread(time.sleep, 0.01)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # a second time, while the command ends
        with pytest.raises(asyncio.CancelledError):
            await task
        assert marked(mark) == []

    asyncio.run(main())
    assert pool.run(plan, ["true"]).exit_status == 0


def test_a_task_cancelled_while_it_waits_starts_nothing(pool: Pool, plan: Plan, project: Path) -> None:
    async def main() -> None:
        with pool.lease(plan), pool.lease(plan), pool.lease(plan):
            task = asyncio.create_task(pool.run_async(plan, ["touch", "there"]))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert not (project / "there").exists()
    assert pool.run(plan, ["true"], wait_s=0).exit_status == 0


def test_a_timeout_of_asyncio_ends_the_tree(pool: Pool, plan: Plan) -> None:
    mark = f"1{time.time_ns() % 10**9}.5"

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await pool.run_async(plan, ["sh", "-c", f"sleep {mark} & sleep {mark}"])

    asyncio.run(main())
    assert marked(mark) == []


def test_errors_reach_who_awaits(pool: Pool, plan: Plan) -> None:
    async def main() -> None:
        await pool.run_async(plan, ["/nonexistent/program"])

    with pytest.raises(faults.CommandNotFound):
        asyncio.run(main())
