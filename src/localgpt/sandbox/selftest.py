"""The self-test: the zygote that will serve tries to reach what it must not, and reports what happened.

The runtime has planted a canary file, three listening sockets and (the warden) a process of the same user. An attempt
that fails proves the mechanism; one that succeeds ends the zygote. Each call is one whose own answer, unfiltered, would
be another error or success, so that "not permitted" can only come from the filter.
"""

# Pathlib would double what the zygote loads, and paths are bytes here.
# ruff: noqa: PTH101, PTH104, PTH108, PTH118, PTH123, PTH208

from __future__ import annotations

import errno
import os
import resource
import select
import struct

from localgpt.sandbox import kernel, landlock
from localgpt.sandbox.syscalls import NUMBERS

_REFUSED = {errno.EPERM, errno.EACCES}
_UNREACHED = _REFUSED | {errno.ECONNREFUSED, errno.ENETUNREACH}
_HIDDEN = _REFUSED | {errno.ENOENT, errno.ESRCH, errno.EROFS}
_CREATE = os.O_CREAT | os.O_WRONLY
_CLONE_FS = 0x200  # with a new user namespace, an error: nothing is ever cloned here
_NOBODY = 0x7FFF_FFFF  # no process has this number
_BAD = -1  # a descriptor, or a process
# What each group of rules is called, and calls that it refuses: name and arguments. Unfiltered, each would answer with
# success or another error (a bad descriptor, a bad pointer), whatever the caller's capabilities; `rules` says what each
# would do. Calls that ask for a capability first are refused by the kernel as well, and are left out.
_ATTEMPTS: dict[str, tuple[tuple, ...]] = {  # type: ignore[type-arg]
    "filter-namespaces": (
        ("unshare", kernel.CLONE_NEWUSER), ("setns", _BAD, 0), ("clone", kernel.CLONE_NEWUSER | _CLONE_FS),
    ),
    "filter-mounts": (
        ("open_tree", kernel.AT_FDCWD, b"/", 0), ("fsopen", b"none", -1), ("mount", 0, 0, 0, 0, 0), ("umount2", 0, 0),
        ("chroot", 0), ("mount_setattr", _BAD, 0, 0, 0, 0), ("fsconfig", _BAD, 99), ("statmount", 0), ("listmount", 0),
    ),
    "filter-processes": (
        ("ptrace", 0x4206, 0), ("process_vm_readv", 0, 0, 0, 0, 0, -1), ("process_vm_writev", 0, 0, 0, 0, 0, -1),
        ("process_madvise", _BAD), ("process_mrelease", _BAD), ("kcmp", _BAD, _BAD), ("pidfd_getfd", _BAD, _BAD),
    ),
    "filter-kernel": (
        ("personality", 0x4_0000), ("settimeofday", 1, 0), ("clock_settime", 0, 0), ("adjtimex", 1),
        ("clock_adjtime", 0, 1), ("modify_ldt", 99), ("iopl", 4), ("ioperm", 0, 0, 1), ("fallocate", _BAD),
        ("quotactl_fd", _BAD), ("lsm_set_self_attr", 0, 0, 0, 1),
    ),
    "filter-surfaces": (
        ("bpf", -1), ("perf_event_open", 0, 0, -1, -1, 0), ("userfaultfd", -1), ("io_uring_setup", 0, 0),
        ("io_uring_enter", _BAD), ("io_uring_register", _BAD), ("keyctl", 0, -4, 0), ("add_key", 1, 1),
        ("request_key", 1, 1), ("open_by_handle_at", _BAD, 0), ("name_to_handle_at", _BAD, 1), ("fanotify_mark", _BAD),
    ),
    "filter-limits": (
        ("prlimit64", 1, 4, 0, 0), ("sched_setaffinity", _NOBODY, 0, 0), ("sched_setscheduler", 1, -1, 0),
        ("sched_setparam", 1, 0), ("sched_setattr", 1, 0), ("setpriority", 2, 0, 0), ("setpriority", 0, 1, 0),
        ("ioprio_set", 2, 0, -1), ("ioprio_set", 1, 1, -1), ("move_pages", _NOBODY, 0), ("migrate_pages", _NOBODY, 0),
    ),
    "filter-signals": (
        ("fcntl", _BAD, 8), ("fcntl", _BAD, 10), ("fcntl", _BAD, 15), ("ioctl", _BAD, 0x8901), ("ioctl", _BAD, 0x8902),
    ),
    "filter-devices": (
        ("ioctl", _BAD, 0x5412), ("ioctl", _BAD, 0x541C), ("ioctl", _BAD, 0x5423), ("ioctl", _BAD, 0x4008_6602),
        ("ioctl", _BAD, 0x401C_5820),
    ),
    "filter-modes": tuple(
        attempt
        for bit in (0o4000, 0o2000)
        for attempt in (
            ("chmod", 0, bit), ("fchmod", _BAD, bit), ("fchmodat", _BAD, 0, bit), ("fchmodat2", _BAD, 0, bit),
            ("creat", 0, bit), ("mkdir", 0, bit), ("mkdirat", _BAD, 0, bit), ("mknod", 0, bit | 0o10_0000),
            ("mknodat", _BAD, 0, bit | 0o10_0000), ("open", 0, _CREATE, bit), ("openat", _BAD, 0, _CREATE, bit),
            ("openat", _BAD, 0, os.O_TMPFILE, bit),
        )
    ),
    "filter-system-v": (
        ("shmget", 0, 0, 0), ("shmat", -1), ("shmctl", -1, 99), ("semget", 0, 0, 0), ("semop", -1), ("semtimedop", -1),
        ("semctl", -1, 0, 99), ("msgget", 0, 0), ("msgsnd", -1, 0), ("msgrcv", -1, 0), ("msgctl", -1, 99),
    ),
    "filter-sockets": (
        *((name, _BAD) for name in ("connect", "bind", "listen", "accept", "accept4")), ("socketpair", 2, 1, 0, 0),
    ),
}  # fmt: skip
_SHARED: tuple[tuple, ...] = (  # type: ignore[type-arg]
    ("mq_open", 0), ("mq_unlink", 0), ("setxattr", 0), ("lsetxattr", 0), ("fsetxattr", _BAD), ("removexattr", 0),
    ("lremovexattr", 0), ("fremovexattr", _BAD), ("setxattrat", _BAD), ("removexattrat", _BAD), ("file_setattr", _BAD),
)  # fmt: skip
_ANSWERS = {errno.EPERM, errno.ENOTSUP}  # no call above answers ENOTSUP by itself
_FAMILIES = (  # family, type, protocol: TCP, MPTCP, UDP, TCP6, unix, netlink, packet, vsock, raw
    (2, 1, 0), (2, 1, 262), (2, 2, 0), (10, 1, 0), (1, 1, 0), (1, 2, 0), (16, 3, 0), (17, 3, 0), (40, 1, 0), (2, 3, 1),
)  # fmt: skip


def report(setup: dict, namespaces: dict[str, str]) -> str:  # type: ignore[type-arg]
    """Run every probe; one line each: name, "1" or "0", what was seen, separated by tabs."""
    seen = [
        *((f"{name}ns", now != setup["host"][name], now) for name, now in namespaces.items()),
        *_status(),
        *_filters(setup),
        _canary_socket(setup),
        _canary_file(setup),
        _canary_write(setup),
        _landlock(setup),
        _scopes(setup),
        ("userns-capabilities", setup.get("was_capable", False), "needed to mount"),
        *_canary_process(setup["warden"]),
        _refused("proc-sys", "/proc/sys/kernel/core_pattern", os.O_WRONLY),
        _metadata(setup),
        _truncate(setup),
        _limits(setup),
        _process_limit(setup),
        _proc(setup),
        _descriptors(),
        _works(setup),
    ]
    named = [(each[0] if each[0] != "mntns" else "mountns", each[1], each[2]) for each in seen]
    return "\n".join(f"{name}\t{int(held)}\t{detail}" for name, held, detail in named)


def _error_of(name: str, *arguments: object) -> int:
    """The errno of a system call, 0 when it succeeded."""
    try:
        kernel.call(name, *arguments)  # type: ignore[arg-type]
    except OSError as error:
        return error.errno or 0
    return 0


def _open_error(path: str, flags: int) -> int:
    try:
        os.close(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))
    except OSError as error:
        return error.errno or 0
    return 0


def _names(codes: dict[str, int]) -> str:
    return ", ".join(f"{name}: {errno.errorcode.get(code, 'succeeded')}" for name, code in codes.items())


def _refused(name: str, path: str, flags: int) -> tuple[str, bool, str]:
    code = _open_error(path, flags)
    return name, code in _HIDDEN, f"{path}: {errno.errorcode.get(code, 'opened')}"


def _status() -> list[tuple[str, bool, str]]:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        fields = {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
    held = [name for name in ("CapEff", "CapPrm", "CapInh", "CapAmb") if int(fields.get(name, "1"), 16)]
    if os.geteuid() == 0 and int(fields.get("CapBnd", "1"), 16):
        held.append("CapBnd")  # without no_new_privs this is what would make uid 0 whole again
    return [
        ("capabilities", not held, ", ".join(held) or "none"),
        ("no-new-privs", fields.get("NoNewPrivs") == "1", fields.get("NoNewPrivs", "?")),
        ("seccomp", fields.get("Seccomp") == "2", f"mode {fields.get('Seccomp', '?')}"),
    ]


def _filters(setup: dict) -> list[tuple[str, bool, str]]:  # type: ignore[type-arg]
    """One answer for each group of rules; what this architecture does not have needs no rule."""
    groups = dict(_ATTEMPTS)
    if setup["networked"]:
        groups["filter-sockets"] = groups["filter-sockets"][1:]
    if not setup["namespaces"]:
        groups |= {"filter-shared": _SHARED, "filter-zygote": _signals(os.getpid())}
    found = []
    for group, attempts in groups.items():
        there = [attempt for attempt in attempts if NUMBERS.get(attempt[0]) is not None]
        leaks = {" ".join(map(str, each)): code for each in there if (code := _error_of(*each)) not in _ANSWERS}
        found.append((group, not leaks, _names(leaks) or f"{len(there)} calls refused"))
    hidden = {name: code for name in ("clone3", "openat2") if (code := _error_of(name, 0, 0)) != errno.ENOSYS}
    return [*found, ("filter-hidden", not hidden, _names(hidden) or "calls with hidden arguments are not there")]


def _signals(own: int) -> tuple[tuple, ...]:  # type: ignore[type-arg]
    """Signal 0 to the zygote, its group and everybody, by every call that sends one."""
    queue, queue_thread = ("rt_sigqueueinfo", own), ("rt_tgsigqueueinfo", own, own)
    to_all = (("kill", -1), ("tkill", -1), ("tgkill", -1, -1), ("rt_sigqueueinfo", -1))
    return (("kill", own), ("kill", -own), ("tkill", own), ("tgkill", own, own), queue, queue_thread, *to_all,
            ("pidfd_send_signal", _BAD))  # fmt: skip


def _canary_socket(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    """No socket can be made but, for the proxy, plain TCP; the runtime looks whether its listeners heard anything."""
    kinds = _FAMILIES[1:] if setup["networked"] else _FAMILIES
    codes = {f"family {f} type {t} protocol {p}": _error_of("socket", f, t, p) for f, t, p in kinds}
    codes["datagram pair"] = _error_of("socketpair", 1, 2, 0, bytes(8))
    leaks = {name: code for name, code in codes.items() if code not in {errno.EPERM, errno.EAFNOSUPPORT}}
    said = f"{len(codes)} kinds refused"
    if setup["networked"]:
        said += "; a stream finds nobody but the proxy"
        leaks |= {name: code for name, code in _other_ports(setup).items() if code not in _UNREACHED}
    return "canary-socket", not leaks, _names(leaks) or said


def _other_ports(setup: dict) -> dict[str, int]:  # type: ignore[type-arg]
    """Where a stream must not get: the canary's port on the loopback that looks like the host's, and beyond it."""
    found = {}
    for address, port in (("127.0.0.1", setup["canary_port"]), ("192.0.2.1", 3128)):
        stream = kernel.call("socket", 2, 1, 0)
        words = bytes(int(word) for word in address.split("."))
        found[address] = _error_of(
            "connect", stream, struct.pack("=H", 2) + struct.pack("!H", port) + words + bytes(8), 16
        )
        os.close(stream)
    with open("/proc/net/dev", encoding="ascii") as file:
        others = [line for line in file.read().splitlines()[2:] if not line.strip().startswith("lo:")]
    return found | ({"another interface": 0} if others else {})


def _canary_file(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    path = os.fsdecode(setup["canary"])
    codes = {p: _open_error(p, os.O_RDONLY) for p in (path, "/proc/self/root" + path)}
    return "canary-file", all(code in _HIDDEN for code in codes.values()), _names(codes)


def _canary_write(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    path = os.fsdecode(setup["canary"])
    create = os.O_WRONLY | os.O_CREAT
    codes = {path: _open_error(path, os.O_WRONLY), path + ".new": _open_error(path + ".new", create)}
    return "canary-write", all(code in _HIDDEN for code in codes.values()), _names(codes)


def _landlock(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    """What every other mechanism would let through: a writable mount of ours on rung A, the canary on rung B."""
    if setup["namespaces"]:
        code = _open_error("/run/canary", os.O_WRONLY | os.O_CREAT)
    else:
        code = _open_error(os.fsdecode(setup["canary"]), os.O_RDONLY)
    detail = f"ABI {setup['abi']}, {errno.errorcode.get(code, 'opened')}"
    return "landlock", code == errno.EACCES, detail


def _scopes(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    """Whether Landlock keeps signals and abstract sockets inside, beside what the namespaces do."""
    if setup["abi"] < landlock.SCOPES_SINCE:
        return "landlock-scopes", False, f"ABI {setup['abi']} has none"
    # On rung B no rule of the filter names the warden, and the user is the same: only the scope can refuse this.
    code = 0 if setup["namespaces"] else _error_of("kill", setup["warden"], 0)
    held = setup["namespaces"] or code == errno.EPERM
    return "landlock-scopes", held, f"ABI {setup['abi']}, signals and abstract sockets"


def _canary_process(warden: int) -> list[tuple[str, bool, str]]:
    """The warden is of the same user and outside: signal 0 would show that it can be signalled."""
    codes = {path: _open_error(f"/proc/{warden}/{path}", os.O_RDONLY) for path in ("environ", "mem", "fd/0")}
    codes["kill"] = _error_of("kill", warden, 0)
    held = all(code in _HIDDEN for code in codes.values())
    return [("canary-process", held, _names(codes))]


def _metadata(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    """Landlock has no right for mode, owner and times: only a read-only view stops these."""
    if not setup["namespaces"]:
        return "metadata", False, "mode, owner and times of the user's own files can be changed anywhere"
    try:
        os.chmod("/dev/null", 0o666)  # noqa: S103 -- what it has; EROFS comes before any question of ownership
    except OSError as error:
        return "metadata", error.errno == errno.EROFS, errno.errorcode.get(error.errno or 0, "?")
    return "metadata", False, "changed"


def _truncate(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    held = landlock.handled_rights(setup["abi"]) & landlock.TRUNCATE
    return "truncate", bool(held), f"ABI {setup['abi']}"


def _descriptors() -> tuple[str, bool, str]:
    """A command gets three descriptors: every other one of ours closes when it starts."""
    passed_on = []
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        try:
            if fd > 2 and os.get_inheritable(fd):
                passed_on.append(str(fd))
        except OSError:  # the one that listed the others
            continue
    return "descriptors", not passed_on, ", ".join(passed_on) or "none passed on"


def _limits(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    size, core = resource.getrlimit(resource.RLIMIT_FSIZE), resource.getrlimit(resource.RLIMIT_CORE)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    held = size == (setup["file_bytes"],) * 2 and core == (0, 0) and 0 < files <= setup["open_files"]
    return "rlimits", held, f"file {size[1]}, core {core[1]}, open files {files}"


def _process_limit(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    if setup["limit_pids"]:
        with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
            largest = int(file.read())
        return "process-limit", largest == 300 + setup["processes"], f"pid_max {largest}"
    if setup["namespaces"] and os.geteuid():
        limit = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        return "process-limit", limit == setup["processes"] + 2, f"RLIMIT_NPROC {limit} in an own user namespace"
    return "process-limit", False, "a watch twenty times a second (best effort)"


def _proc(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    if not setup["namespaces"]:
        return "proc", False, "the host's"
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    return "proc", pids == [1] == [os.getpid()], f"processes {pids}"


def _works(setup: dict) -> tuple[str, bool, str]:  # type: ignore[type-arg]
    """Confinement that stops everything proves nothing: what is granted must work."""
    path = os.path.join(os.fsdecode(setup["tmp"]), ".selftest")
    try:
        for flags in (os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_TRUNC):
            os.close(os.open(path, flags | os.O_CLOEXEC, 0o600))
        os.rename(path, path + "2")
        os.unlink(path + "2")
        null = os.open("/dev/null", os.O_RDWR | os.O_TRUNC | os.O_CLOEXEC)
        os.write(null, b"x")
        os.close(null)
        os.chdir(os.fsdecode(setup["cwd"]))
        for end in os.pipe():
            os.close(end)
        select.select([], [], [], 0)
    except OSError as error:
        return "works", False, f"{error}"
    return "works", True, "temporary files, /dev/null, working directory"
