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

from localgpt.sandbox import kernel, landlock

_REFUSED = {errno.EPERM, errno.EACCES}
_HIDDEN = _REFUSED | {errno.ENOENT, errno.ESRCH, errno.EROFS}
_ATTEMPTS = (  # name, arguments; see the rules for what each would do
    ("unshare", (kernel.CLONE_NEWUSER,)),
    ("ptrace", (0x4206, 0, 0, 0)),
    ("keyctl", (0, -4, 0)),
    ("io_uring_setup", (0, 0)),
    ("userfaultfd", (-1,)),
    ("bpf", (-1, 0, 0)),
    ("perf_event_open", (0, 0, -1, -1, 0)),
    ("open_tree", (kernel.AT_FDCWD, b"/", 0)),
    ("fsopen", (b"none", -1)),
    ("personality", (0x4_0000,)),
    ("setpriority", (2, 0, 0)),
    ("prlimit64", (1, 4, None, None)),
    ("sched_setaffinity", (1, 0, None)),
    ("fcntl", (0, 8, 0)),
    ("ioctl", (0, 0x5412, None)),
    ("process_vm_readv", (0, None, 0, None, 0, -1)),
    ("pidfd_getfd", (-1, -1, 0)),
    ("open_by_handle_at", (-1, None, 0)),
    ("mknodat", (-1, b"x", 0o106755, 0)),
    ("fchmodat", (-1, b"x", 0o4755)),
    ("connect", (-1, None, 0)),
    ("bind", (-1, None, 0)),
)
_FAMILIES = (  # family, type, protocol: TCP, MPTCP, UDP, TCP6, unix, netlink, packet, vsock, raw
    (2, 1, 0), (2, 1, 262), (2, 2, 0), (10, 1, 0), (1, 1, 0), (1, 2, 0), (16, 3, 0), (17, 3, 0), (40, 1, 0), (2, 3, 1),
)  # fmt: skip


def report(setup: dict, namespaces: dict[str, str]) -> str:  # type: ignore[type-arg]
    """Run every probe; one line each: name, "1" or "0", what was seen, separated by tabs."""
    seen = [
        *((f"{name}ns", now != setup["host"][name], now) for name, now in namespaces.items()),
        *_status(),
        _filters(),
        _canary_socket(),
        _canary_file(setup),
        _canary_write(setup),
        _landlock(setup),
        *_canary_process(setup["warden"]),
        _refused("proc-sys", "/proc/sys/kernel/core_pattern", os.O_WRONLY),
        _metadata(setup),
        _truncate(setup),
        _limits(setup),
        _process_limit(setup),
        ("shm-limit", setup.get("shm_limited", False), "System V shared memory of the ipc namespace"),
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


def _filters() -> tuple[str, bool, str]:
    codes = {name: _error_of(name, *arguments) for name, arguments in _ATTEMPTS}
    leaks = {name: code for name, code in codes.items() if code != errno.EPERM}
    for name in ("clone3", "openat2"):
        if (code := _error_of(name, None, 0)) != errno.ENOSYS:
            leaks[name] = code
    return "filters", not leaks, _names(leaks) or f"{len(codes) + 2} calls refused"


def _canary_socket() -> tuple[str, bool, str]:
    """No socket can be made at all; the runtime looks whether its listeners heard anything."""
    codes = {f"family {f} type {t} protocol {p}": _error_of("socket", f, t, p) for f, t, p in _FAMILIES}
    codes["datagram pair"] = _error_of("socketpair", 1, 2, 0, bytes(8))
    leaks = {name: code for name, code in codes.items() if code != errno.EPERM}
    return "canary-socket", not leaks, _names(leaks) or f"{len(codes)} kinds refused"


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
    for fd in range(3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        try:
            if os.get_inheritable(fd):
                passed_on.append(str(fd))
        except OSError:
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
    return "process-limit", False, "a watch ten times a second (best effort)"


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
