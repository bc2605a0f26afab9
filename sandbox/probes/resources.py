"""Attempts to use more than the plan's limits, to outlive the command, and to keep whoever waits for it waiting.

What each takes is bounded.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import select
import signal
import sys
import threading
from pathlib import Path

from _attempt import LEFT_BEHIND_S, Left, attempt, leave, main, silence, syscall

MIB = 1 << 20


def _raise(limit, value):
    try:
        resource.setrlimit(limit, (value, max(value, resource.getrlimit(limit)[1])))
    except ValueError as error:
        raise PermissionError(errno.EPERM, "setrlimit") from error
    return resource.getrlimit(limit)


def _no_children(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@attempt(57)
def processes_without_end(world):
    wanted = world["limits"]["processes"] * 2 + 16
    reader, writer = os.pipe()
    children = []
    try:
        for _ in range(wanted):
            child = os.fork()
            if not child:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
            children.append(child)
        select.select([], [], [], world["watch_s"])  # a watch that looks now and then has looked by now
    finally:
        _no_children(children)
    return f"{len(children)} processes"


@attempt(58)
def threads_without_end(world):
    wanted = world["limits"]["processes"] * 2 + 16
    done = threading.Event()
    threads = []
    threading.stack_size(256 << 10)
    try:
        for _ in range(wanted):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            threads.append(thread)
        select.select([], [], [], world["watch_s"])
    except RuntimeError:
        return None
    finally:
        done.set()
    return f"{len(threads)} threads"


@attempt(59)
def memory_without_end(world):
    """In one process."""
    import mmap

    wanted = world["limits"]["memory_bytes"] * 2
    block = mmap.mmap(-1, wanted)
    for offset in range(0, wanted, 4096):
        block[offset] = 1
    select.select([], [], [], world["watch_s"])
    return f"{wanted} bytes"


@attempt(59)
def memory_of_many_processes(world):
    """Each keeps to a limit of its own; all together do not."""
    import mmap

    share = world["limits"]["memory_bytes"] // 4
    reader, writer = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if not child:
            block = mmap.mmap(-1, share)
            for offset in range(0, share, 4096):
                block[offset] = 1
            os.write(writer, b"x")
            select.select([], [], [], LEFT_BEHIND_S)
            os._exit(0)
        children.append(child)
    os.close(writer)
    for _ in children:
        if not os.read(reader, 1):
            return None
    select.select([], [], [], world["watch_s"])
    _no_children(children)
    return f"{8 * share} bytes"


@attempt(59)
def memory_in_files(world):
    """Memory that no process has mapped: files of memfd."""
    wanted, each = world["limits"]["memory_bytes"] * 2, world["limits"]["file_bytes"]
    chunk = bytes(each)
    keep = []
    for _ in range(wanted // each):
        keep.append(os.memfd_create("hoard"))
        os.write(keep[-1], chunk)
    select.select([], [], [], world["watch_s"])
    return f"{wanted} bytes"


@attempt(59, because="room for pipes of this user")
def memory_in_pipes(world):
    """What nobody reads stays in the kernel."""
    kept, total = [], 0
    while total < world["limits"]["memory_bytes"] and len(kept) < world["limits"]["open_files"] // 2 - 8:
        kept.append(os.pipe())
        with contextlib.suppress(OSError):
            fcntl.fcntl(kept[-1][1], fcntl.F_SETPIPE_SZ, MIB)
        os.set_blocking(kept[-1][1], False)
        with contextlib.suppress(BlockingIOError):
            while True:
                total += os.write(kept[-1][1], bytes(65536))
    return total >= world["limits"]["memory_bytes"] and f"{total} bytes"


@attempt(59)
def memory_in_a_private_file_system(world):
    """Files in /tmp or /dev/shm may be memory; they count as such, or are bounded by themselves."""
    wanted, each = world["limits"]["tmp_bytes"] * 2, world["limits"]["file_bytes"]
    folder, made = Path("/dev/shm"), []
    try:
        for index in range(wanted // each):
            made.append(folder / f"localgpt-probe-{os.getpid()}-{index}")
            made[-1].write_bytes(bytes(each))
        select.select([], [], [], world["watch_s"])
    finally:
        for path in made:
            path.unlink(missing_ok=True)
    return f"{wanted} bytes"


@attempt(60)
def one_large_file(world):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = Path("large")
    try:
        with path.open("wb") as file:
            file.truncate(world["limits"]["file_bytes"] + 1)
            return file.tell() or "extended"
    finally:
        path.unlink(missing_ok=True)


@attempt(60)
def many_files(world):
    """Each within the limit of one file."""
    wanted, chunk = world["limits"]["written_bytes"] * 2, bytes(MIB)
    folder = Path("many")
    folder.mkdir(exist_ok=True)
    try:
        for index in range(wanted // MIB):
            (folder / str(index)).write_bytes(chunk)
        select.select([], [], [], world["watch_s"])
        return f"{wanted} bytes"
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@attempt(61)
def descriptors_without_end(world):
    kept = [os.dup(2) for _ in range(world["limits"]["open_files"] + 8)]
    return f"{len(kept)} descriptors"


@attempt(61, bare="root", because="CAP_SYS_RESOURCE")
def raise_own_limits(_):
    """Whatever may raise one hard limit may raise all."""
    return _raise(resource.RLIMIT_RTPRIO, 1)


@attempt(62)
def compute_without_end(_):
    signal.alarm(LEFT_BEHIND_S)
    lock = os.open("lock-compute", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _announce("lock-compute")
    while True:
        pass


def _announce(name):
    """Say what is locked, for this command will not end by itself."""
    sys.stdout.write(f"LEFT {name}\n")
    sys.stdout.flush()


@attempt(63)
def inherited_descriptor(world):
    return os.readlink(f"/proc/self/fd/{world['inherited']}")  # noqa: PTH115 -- as an attacker would


@attempt(64)
def secrets_in_the_environment(_):
    return os.environ.get("LOCALGPT_PROBE_SECRET")


@attempt(64)
def injected_environment(_):
    """What makes a loader, a shell, Python or git run something else."""
    names = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONSTARTUP", "PYTHONPATH", "BASH_ENV", "ENV", "GIT_SSH_COMMAND",
             "GIT_CONFIG_PARAMETERS", "NODE_OPTIONS", "PERL5OPT", "RUBYOPT", "SSH_AUTH_SOCK")  # fmt: skip
    return [name for name in names if name in os.environ]


@attempt(65)
def leave_a_daemon(_):
    def daemonise():
        os.setsid()
        if os.fork():
            os._exit(0)

    return leave("lock-daemon", daemonise)


@attempt(65)
def leave_a_background_process(_):
    return leave("lock-background")


@attempt(66)
def leave_one_that_ignores_signals(_):
    def deaf():
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)

    return leave("lock-deaf", deaf)


@attempt(67)
def leave_a_stopped_process(_):
    left = leave("lock-stopped")
    for entry in Path("/proc/self/task").iterdir():
        for child in (entry / "children").read_text().split():
            os.kill(int(child), signal.SIGSTOP)
    return left


@attempt(68)
def zombies_without_end(world):
    """Dead children that nobody collects count as processes as well."""
    wanted = world["limits"]["processes"] * 2 + 16
    for _ in range(wanted):
        if not os.fork():
            os._exit(0)
    select.select([], [], [], world["watch_s"])
    return f"{wanted} zombies"


@attempt(69)
def leave_a_reaper_with_orphans(_):
    def reaper():
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        if os.fork():
            signal.alarm(LEFT_BEHIND_S)
            silence()
            while True:
                signal.pause()
        os.setsid()

    return leave("lock-orphan", reaper)


@attempt(70)
def close_the_output_and_go_on(_):
    signal.alarm(LEFT_BEHIND_S)
    lock = os.open("lock-silent", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _announce("lock-silent")
    silence()
    while True:
        signal.pause()


@attempt(71)
def keep_the_output_open(_):
    """A grandchild holds the pipe when the command has ended."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        signal.alarm(LEFT_BEHIND_S)
        os.setsid()
        lock = os.open("lock-pipe", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(writer, b"x")
        while True:
            signal.pause()
    os.close(writer)
    return os.read(reader, 1) and Left("lock-pipe")


@attempt(72)
def hang_silently(_):
    signal.alarm(LEFT_BEHIND_S)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    lock = os.open("lock-hang", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _announce("lock-hang")
    while True:
        signal.pause()


@attempt(73)
def wait_for_input(_):
    """Standard input that never answers would keep a command waiting for ever."""
    ready, _, _ = select.select([0], [], [], 0.2)
    return not ready and "it would wait"


@attempt(74)
def output_without_end(world):
    line = b"x" * 1023 + b"\n"
    for _ in range(world["flood_bytes"] >> 20):
        os.write(1, line * 1024)
    return "all was taken"


@attempt(76)
def one_endless_line(world):
    for _ in range(world["flood_bytes"] >> 20):
        os.write(1, b"x" * MIB)
    os.write(1, b"\n")
    return "all was taken"


@attempt(77)
def outrun_the_killer(_):
    """Each process makes the next and ends: whoever walks over a list of processes is always late."""

    def relay():
        os.setsid()
        lock = os.open("lock-relay", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)  # goes on with the open file, through every fork
        ends = os.times().elapsed + LEFT_BEHIND_S
        os.write(writer, b"x")
        silence()
        while os.times().elapsed < ends:
            if os.fork():
                os._exit(0)
        os._exit(0)

    reader, writer = os.pipe()
    if os.fork() == 0:
        relay()
    os.close(writer)
    return os.read(reader, 1) and Left("lock-relay")


@attempt(98)
def allow_core_dumps(_):
    return _raise(resource.RLIMIT_CORE, MIB)


@attempt(106)
def leave_shared_memory_behind(_):
    """A System V segment stays when its maker ends, and counts as nobody's."""
    before = Path("/proc/sysvipc/shm").read_text()
    segment = syscall("shmget", 0x10CA1, 64 * MIB, 0o1600)
    if os.fork() == 0:
        syscall("shmat", segment, None, 0)
        os._exit(0)
    os.wait()
    left = Path("/proc/sysvipc/shm").read_text()
    if left != before:
        ctypes.CDLL(None).shmctl(segment, 0, None)
        return "a segment without a process"
    return None


if __name__ == "__main__":
    main()
