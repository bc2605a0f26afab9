"""What a tree of processes uses, read from /proc: how the zygote watches limits that no kernel object holds for it.

Everything here is polled, so a limit is overshot by what happens between two looks; `bench.limits` measures how much.
A process that has ended is counted with its parent, which the kernel adds up when the parent waits for it; one that
nobody waited for (its parent ignores SIGCHLD) is lost to the count, and the wall clock still bounds it.

Source: proc_pid_stat(5), proc_pid_status(5), proc_pid_io(5), proc_pid_smaps(5).
"""

# Pathlib would double what the zygote loads, and paths are bytes here.
# ruff: noqa: PTH115, PTH116, PTH123, PTH208

from __future__ import annotations

import os
import resource

from localgpt.sandbox import tree

_HERTZ = os.sysconf("SC_CLK_TCK")
_KIB = 1024
_BLOCK = 512  # of ru_oublock and st_blocks
LOOK_MS = 50  #: between two looks
_CLOSE_LOOK_MS = 10  #: when half of the memory or of the processes is used up: both can double quickly


class Watch:
    """The limits of one command, looked at from time to time. All of its tree is beneath the calling process.

    `watch_processes` of the setup is 0 when the kernel counts them.
    """

    def __init__(self, setup: dict) -> None:  # type: ignore[type-arg]
        """Begin: what children that have ended before used does not count."""
        self._setup = setup
        self._free = _free_bytes(setup["uncounted"])
        self._shared = _shared_on_host()
        self._before = _ended()
        self.pause_ms = LOOK_MS

    def exceeded(self) -> str:
        """The name of the limit that the tree is beyond: "processes", "memory", "cpu", "written", or ""."""
        setup, own = self._setup, os.getpid()
        pids = _namespace(own) if setup["namespaces"] else tree.with_zombies(own)
        looked = [_look(pid) for pid in pids]
        threads, memory = sum(each[0] for each in looked), sum(each[1] for each in looked)
        ended = _ended()
        cpu_s = sum(each[2] for each in looked) + ended[0] - self._before[0]
        written = sum(each[3] for each in looked) + ended[1] - self._before[1]
        if setup["uncounted"]:
            written = max(written, self._free - _free_bytes(setup["uncounted"]))
        most = setup["watch_processes"]
        # What is in memory files that nobody has mapped shows on the host only: then it is looked for.
        suspected = max(memory, memory + _shared_on_host() - self._shared)
        near = suspected * 2 > setup["memory_bytes"] or (most and threads * 2 > most)
        self.pause_ms = _CLOSE_LOOK_MS if near else LOOK_MS
        if most and threads > most:
            return "processes"
        if suspected > setup["memory_bytes"] and _precise(pids) > setup["memory_bytes"]:
            return "memory"
        if cpu_s > setup["cpu_s"]:
            return "cpu"
        return "written" if written > setup["written_bytes"] else ""


def uncounted(paths: list[bytes]) -> list[bytes]:
    """Those of `paths` whose file system counts no write for the process that made it: memory, FUSE, other hosts."""
    devices = set()
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            if after.startswith((b"tmpfs ", b"ramfs ", b"fuse", b"9p ", b"virtiofs ", b"nfs", b"cifs ")):
                devices.add(before.split()[2])
    found = []
    for path in paths:
        device = os.stat(path).st_dev
        if b"%d:%d" % (os.major(device), os.minor(device)) in devices:
            found.append(path)
    return found


def _look(pid: int) -> tuple[int, int, float, int]:
    """Threads, memory, processor time, bytes written of one process and the children that it waited for."""
    return (*_status(pid), _cpu_s(pid), _written(pid))


def _ended() -> tuple[float, int]:
    """What the caller's children that have ended used: processor time, bytes written."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime, usage.ru_oublock * _BLOCK


def _namespace(own: int) -> list[int]:
    """Everybody in this pid namespace but `own`."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]


def _free_bytes(roots: list[bytes]) -> int:
    """Room on the file systems of `roots`, each counted once."""
    free = {}
    for root in roots:
        try:
            there = os.statvfs(root)
            free[os.stat(root).st_dev] = there.f_bfree * there.f_frsize
        except OSError:
            continue
    return sum(free.values())


def _cpu_s(pid: int) -> float:
    """Processor time of a process and of the children that it waited for."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return sum(map(int, fields[11:15])) / _HERTZ if len(fields) > 15 else 0.0


def _status(pid: int) -> tuple[int, int]:
    """Threads, and bytes of memory that are nobody else's page cache; what several processes share counts for each."""
    threads = memory = 0
    for line in _read(pid, "status").splitlines():
        if line.startswith((b"RssAnon:", b"RssShmem:", b"VmSwap:")):
            memory += int(line.split()[1]) * _KIB
        elif line.startswith(b"Threads:"):
            threads = int(line.split()[1])
    return threads, memory


def _precise(pids: list[int]) -> int:
    """Memory of all, what they share counted once, memory files included; looked at when the plain sum is too much.

    A process that cannot be looked into counts in full.
    """
    private = mapped = 0
    files: dict[tuple[int, int], int] = {}
    for pid in pids:
        lines = dict(line.split(b":", 1) for line in _read(pid, "smaps_rollup").splitlines()[1:])
        if not lines:
            private += _status(pid)[1]
            continue
        size = {name: int(lines.get(name, b"0").split()[0]) * _KIB for name in (b"Pss_Anon", b"SwapPss", b"Pss_Shmem")}
        private, mapped = private + size[b"Pss_Anon"] + size[b"SwapPss"], mapped + size[b"Pss_Shmem"]
        files |= _memory_files(pid)
    return private + max(mapped, sum(files.values()))


def _memory_files(pid: int) -> dict[tuple[int, int], int]:
    """Bytes of every memory file that a process holds open, by its identity."""
    found: dict[tuple[int, int], int] = {}
    try:
        open_files = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for fd in open_files:
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("/memfd:"):
                there = os.stat(f"/proc/{pid}/fd/{fd}")
                found[there.st_dev, there.st_ino] = there.st_blocks * _BLOCK
        except OSError:
            continue  # closed meanwhile
    return found


def _shared_on_host() -> int:
    """Bytes of memory files, shared and tmpfs memory of everybody."""
    try:
        with open("/proc/meminfo", "rb", buffering=0) as file:
            _, _, rest = file.read(4096).partition(b"\nShmem:")
            return int(rest.split(None, 1)[0]) * _KIB
    except (OSError, IndexError, ValueError):
        return 0


def _written(pid: int) -> int:
    """Bytes that went to a file system, by write() or through a mapping."""
    for line in _read(pid, "io").splitlines():
        if line.startswith(b"write_bytes:"):
            return int(line.split()[1])
    return 0


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.read(65536)
    except OSError:
        return b""
