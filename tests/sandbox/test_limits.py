"""Limits hold for the whole tree: each is exceeded for real, alone and by many processes together."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.sandbox import Executor, Limits, Plan, Rung, faults, tree, usage
from localgpt.sandbox.running import LIMITS as LIMIT_WORDS
from tests.sandbox.world import PYTHON, executor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux")

LIMITS = Limits(timeout_s=20, processes=24, memory_bytes=200 << 20, cpu_s=1.0, written_bytes=40 << 20)


@pytest.fixture
def limited(rung: Rung, project: Path) -> Iterator[Executor]:
    with executor(Plan.workspace_write(project, limits=LIMITS), rung) as entered:
        yield entered
        assert entered.run(["true"]).exit_status == 0
        assert _left(entered) == []


def _left(running: Executor) -> list[int]:
    assert running._link is not None
    (zygote,) = tree.children(running._link.warden_pid)
    return tree.descendants(zygote)


def python(running: Executor, code: str) -> str:
    done = running.run([PYTHON, "-I", "-S", "-c", code])
    assert not done.timed_out, done
    if done.limit:
        assert (done.signal, done.exit_status) == (signal.SIGKILL, 137)
    else:
        assert done.exit_status == 0, done.stderr
    return done.limit


BOMBS = {
    "memory": "x = bytearray(1 << 30)\nimport time; time.sleep(15)",
    "memory of many": (
        "import os, time\n"
        "for _ in range(8):\n"
        "    if not os.fork(): x = bytearray(50 << 20); time.sleep(15); os._exit(0)\n"
        "time.sleep(15)"
    ),
    "memory shared": (
        "import mmap, time\nm = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): m[i] = 1\ntime.sleep(15)"
    ),
    "memory in files": (
        "import os, time\n"
        "held = [os.memfd_create('x') for _ in range(60)]\n"
        "for fd in held: os.write(fd, bytes(10 << 20))\n"
        "time.sleep(15)"
    ),
    "cpu": "while True: pass",
    "cpu of many": "import os\nfor _ in range(3): os.fork()\nwhile True: pass",
    "cpu of the dead": (
        "import os, time\n"
        "while True:\n"
        "    heard, held = os.pipe()\n"
        "    if not os.fork():\n"
        "        if os.fork(): os._exit(0)\n"  # an orphan, whose time goes to the zygote
        "        end = time.process_time() + 0.1\n"
        "        while time.process_time() < end: pass\n"
        "        os._exit(0)\n"
        "    os.close(held); os.wait(); os.read(heard, 1); os.close(heard)"  # one at a time
    ),
    "written": "import os\nfor n in range(400):\n    open(f'f{n % 60}', 'wb').write(bytes(1 << 20)); os.sync()",
    "written by the dead": (
        "import os, time\n"
        "for n in range(400):\n"
        "    if not os.fork():\n"
        "        if os.fork(): os._exit(0)\n"
        "        open(f'f{n}', 'wb').write(bytes(1 << 20)); os._exit(0)\n"
        "    os.wait(); time.sleep(0.01)"
    ),
    "written through a mapping": (
        "import mmap, time\n"
        "for n in range(100):\n"
        "    f = open(f'f{n}', 'w+b'); f.truncate(1 << 20); m = mmap.mmap(f.fileno(), 1 << 20)\n"
        "    m[:] = b'x' * (1 << 20); m.flush(); time.sleep(0.01)"
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_ended_and_named(limited: Executor, name: str) -> None:
    assert python(limited, BOMBS[name]) == name.split(maxsplit=1)[0]


def test_what_processes_share_is_counted_once(limited: Executor) -> None:
    """Eight that were forked from a large one hold its pages together."""
    code = """
import os, time
x = bytearray(100 << 20)
for _ in range(8):
    if not os.fork(): time.sleep(0.4); os._exit(0)
time.sleep(0.4)
"""
    assert not python(limited, code)


def test_earlier_commands_do_not_count(limited: Executor) -> None:
    for _ in range(4):
        assert not python(
            limited, "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
        )


def test_room_cannot_be_reserved_without_writing(limited: Executor, project: Path) -> None:
    """fallocate() would fill a disk without any write that is counted."""
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("f", os.O_RDWR | os.O_CREAT)
assert libc.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(10 << 20)) == -1
assert ctypes.get_errno() == 95, ctypes.get_errno()
os.posix_fallocate(fd, 0, 1 << 20)
"""
    assert not python(limited, code)
    assert (project / "f").stat().st_size == 1 << 20


def test_a_memory_file_system_is_watched_by_its_room(project: Path) -> None:
    shm = Path("/dev/shm")
    assert usage.uncounted([os.fsencode(shm)]) == [b"/dev/shm"]
    assert usage.uncounted([b"/proc/self"]) == []


def test_commands_end_first_when_the_host_runs_out(limited: Executor) -> None:
    assert limited.run(["cat", "/proc/self/oom_score_adj"]).stdout == b"500\n"
    assert limited.run(["sh", "-c", "echo 0 > /proc/self/oom_score_adj"]).exit_status != 0


# --- without descriptors, without an answer -----------------------------------------------------------------------


@contextlib.contextmanager
def room(pid: int, free: int) -> Iterator[None]:
    """Only `free` more descriptors for a process; 0 is this one."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    held = max(int(path.name) for path in Path(f"/proc/{pid or 'self'}/fd").iterdir())
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (held + free, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def full(free: int) -> Iterator[None]:
    """This process with `free` descriptors left and no more."""
    taken: list[int] = []
    with room(0, 8):
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        try:
            for _ in range(free):
                os.close(taken.pop())
            yield
        finally:
            for fd in taken:
                os.close(fd)


@pytest.mark.parametrize("free", [0, 1, 2, 3])
def test_a_runtime_without_descriptors_is_told_so(limited: Executor, free: int) -> None:
    limited.run(["true"])
    held = len([*Path("/proc/self/fd").iterdir()])
    with full(free), pytest.raises(faults.CommandNotStarted, match="descriptors"):
        limited.run(["true"])
    assert len([*Path("/proc/self/fd").iterdir()]) == held


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else can look into a zygote")
@pytest.mark.parametrize("free", [0, 1, 2, 3, 4])
def test_a_zygote_without_descriptors_starts_nothing(limited: Executor, project: Path, free: int) -> None:
    assert limited._link is not None
    (zygote,) = tree.children(limited._link.warden_pid)
    with room(zygote, free), contextlib.suppress(faults.CommandNotStarted, faults.ZygoteDied):
        done = limited.run(["touch", "there"])
        assert done.exit_status == 0
        assert (project / "there").exists()


def test_no_descriptors_is_no_reason_for_a_lower_rung(project: Path) -> None:
    executor(Plan.read_only(project), Rung.A)
    idle = Executor(Plan.read_only(project))
    held = len([*Path("/proc/self/fd").iterdir()])
    children = set(tree.children(os.getpid()))
    for free in (0, 1, 2, 4, 6, 7):
        with contextlib.suppress(faults.NotConfined), full(free), idle:
            assert idle.proof.rung is Rung.A
    assert len([*Path("/proc/self/fd").iterdir()]) == held
    assert set(tree.children(os.getpid())) <= children


def test_a_zygote_stopped_while_idle_is_replaced_in_seconds(limited: Executor) -> None:
    assert limited._link is not None
    (zygote,) = tree.children(limited._link.warden_pid)
    os.kill(zygote, signal.SIGSTOP)
    with pytest.raises(faults.ZygoteDied, match="stopped"):
        limited.run(["true"], timeout_s=20)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter a real-time class")
def test_commands_are_of_the_ordinary_scheduling_class(rung: Rung, project: Path) -> None:
    code = (
        "import os\nprint(os.sched_getscheduler(0))\n"
        "try: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); print('real-time')\n"
        "except OSError: print('refused')"
    )
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        with executor(Plan.workspace_write(project, limits=LIMITS), rung) as running:
            done = running.run([PYTHON, "-I", "-S", "-c", code])
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    assert done.stdout.split() == [b"0", b"refused"], done


def test_a_limit_is_told_in_words() -> None:
    assert set(LIMIT_WORDS) == {name.split(maxsplit=1)[0] for name in BOMBS} | {"processes"}
