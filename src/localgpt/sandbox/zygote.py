"""The zygote: a small process that confines itself once and then starts one command after another.

Run as ``python -I -S -E`` with an empty environment; `link` starts it. Two processes come of it. The *warden*
stays outside the confinement, reads nothing that a command wrote, and ends the whole tree when its lifeline closes or
the zygote dies. The *zygote* is pid 1 of its own namespace on rung A; every command inherits all that it has given up.

`messages` says how the two sides talk. The first message alone, the setup, is marshalled: it comes from the runtime,
the same interpreter, before anything foreign has run.
"""

# Pathlib would double what the zygote loads, and paths are bytes here.
# ruff: noqa: PTH113, PTH115

from __future__ import annotations

import _socket  # `socket` drags in enum and selectors: a fifth of the cold start
import fcntl
import marshal
import os
import resource
import select
import struct
import sys

from localgpt.sandbox import kernel, landlock, mounts, selftest, tree, usage
from localgpt.sandbox.messages import (
    BROKEN,
    DONE,
    LARGEST_REQUEST,
    LENGTH,
    NO_DIRECTORY,
    NO_VIEW,
    READY,
    REFUSED,
    REPLY,
    Malformed,
    parse_request,
)

PROXY_PORT = 3128  # on the loopback of a net namespace that holds nothing else
_SIGPIPE, _SIGXFSZ, _SIGKILL = 13, 25, 9
_MSG_CMSG_CLOEXEC, _MSG_CTRUNC = 0x4000_0000, 0x8
_RESERVED_PIDS = 300
_CHUNK = 1 << 16
_OOM_SCORE = b"500"  # when the host runs out of memory, commands end before the user's own programs
_EMFILE = 24
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP: netdevice(7)
_BACKLOG = 128


def main(control_fd: int, lifeline_fd: int) -> None:
    """Confine and serve until the runtime is gone."""
    for fd in (control_fd, lifeline_fd):
        os.set_inheritable(fd, False)  # it was, to come to us; a command that had it could speak for us
    control = _socket.socket(fileno=control_fd)
    setup = marshal.loads(_receive(control)[0])  # noqa: S302 -- from the runtime that started us, to be confined by it
    setup["warden"], setup["host"] = os.getpid(), _namespaces()
    try:
        if setup["namespaces"]:
            _enter_user_and_pid_namespace()
        pid = os.fork()
        if not setup["namespaces"]:  # both: the warden inherits the tree of a zygote that dies
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    except mounts.ViewRefused as error:
        _reply(control, NO_VIEW, error.errno or 0, str(error))
        return
    except OSError as error:
        _reply(control, BROKEN, error.errno or 0, str(error))
        return
    if pid:
        control.detach()
        os.close(control_fd)
        _guard(pid, lifeline_fd)
        mounts.remove_held(setup["held"], setup["held_mark_ns"])
        return
    os.close(lifeline_fd)
    os.setsid()  # a process group of its own, so that commands cannot name it together with the warden's
    try:
        report = _confine(setup)
    except mounts.ViewRefused as error:
        _reply(control, NO_VIEW, error.errno or 0, str(error))
        return
    except OSError as error:
        _reply(control, BROKEN, error.errno or 0, str(error))
        return
    handed_over = [setup.pop("listener").detach()] if setup["networked"] else []
    if setup["watch"]:  # from here on every path that is asked for is told to the runtime
        handed_over.append(kernel.load_watch(setup["watch"]))
    _reply(control, READY, os.getpid(), report, handed_over)
    _serve(control, setup)


def _guard(zygote: int, lifeline_fd: int) -> None:
    """The warden's whole life: wait until either side ends, then leave nobody behind."""
    pidfd = os.pidfd_open(zygote)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(lifeline_fd, select.POLLIN)
    poll.poll()
    os.kill(zygote, _SIGKILL)  # not yet reaped, so the number is still its own
    os.waitpid(zygote, 0)
    tree.end_descendants(os.getpid())


def _enter_user_and_pid_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        _write(f"/proc/self/{name}", line.encode())


def _unshare(namespaces: int) -> None:
    try:
        kernel.call("unshare", namespaces)
    except OSError as error:
        raise mounts.ViewRefused(error.errno, error.strerror) from error


def _confine(setup: dict) -> str:  # type: ignore[type-arg]
    """Give up everything the plan does not grant, try to get it back, and return what the attempts found."""
    setup["cookie"] = struct.unpack("=4i", os.urandom(16))
    values = {f"cookie{index}": word for index, word in enumerate(setup["cookie"], start=2)}
    values |= {"zygote": os.getpid(), "-zygote": -os.getpid()}
    code = bytearray(setup["code"])
    for name, offset in setup["slots"]:
        struct.pack_into("=i", code, offset, values[name])
    _write("/proc/self/oom_score_adj", _OOM_SCORE)
    if os.sched_getscheduler(0) != os.SCHED_OTHER:  # a real-time runtime's commands would hold a processor for good
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    grants = _enter_view(setup) if setup["namespaces"] else _open_grants(setup)
    _fill_home(setup)
    _set_limits(setup)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_PDEATHSIG, _SIGKILL)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.no_new_privileges()
    ruleset = landlock.Ruleset(
        setup["abi"],
        network=landlock.NET_BIND_TCP | landlock.NET_CONNECT_TCP,
        scope=landlock.SCOPE_ABSTRACT_UNIX | landlock.SCOPE_SIGNAL,
    )
    for location, rights in grants:
        ruleset.allow(location, rights)
        os.close(location)
    if setup["networked"]:
        ruleset.allow_connect(PROXY_PORT)
    ruleset.restrict_self()
    kernel.load_filter(bytes(code))
    return selftest.report(setup, _namespaces())


def _enter_view(setup: dict) -> list[tuple[int, int]]:  # type: ignore[type-arg]
    """Build the new root (rung A) and return what Landlock shall grant in it."""
    _unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC)
    if setup["networked"]:
        setup["listener"] = _listen_on_loopback()
    reads = [(path, _open_root(path, setup)) for path in setup["reads"]]
    writes = [(path, _open_root(path, setup)) for path in setup["writes"]]
    kept = [(path, kernel.open_beneath_no_symlink(path)) for path in setup["protected"]]
    held = [
        (path, kernel.open_beneath_no_symlink(path))
        for path in mounts.between(setup["protected"] + setup["covered"], setup["writes"])
    ]
    if setup["limit_pids"]:
        _limit_pids(setup["processes"])
    # A folder that is a mount point cannot be renamed: what is protected stays where it is.
    covered = setup["denied"] + setup["covered"]
    mounts.build_root(reads + kept, writes + held, covered, setup["links"], setup["tmp_bytes"])
    setup["was_capable"] = True
    for _, location in kept + held:
        os.close(location)
    grants = [(location, landlock.READ_EXECUTE) for _, location in reads]
    grants += [(location, landlock.WRITE | landlock.EXECUTE) for _, location in writes]
    private = (b"/tmp", landlock.WRITE | landlock.EXECUTE), (b"/dev/shm", landlock.WRITE)
    return grants + _open_each([*private, *_always(), (b"/", landlock.READ_DIR)])


def _listen_on_loopback() -> _socket.socket:
    """Raise the loopback of the fresh net namespace and listen on it: the one way out, and it leads to the proxy."""
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    name = struct.pack("16sH14x", b"lo", 0)
    flags = struct.unpack("16xH14x", fcntl.ioctl(listener.fileno(), _GET_FLAGS, name))[0]
    fcntl.ioctl(listener.fileno(), _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))
    listener.bind(("127.0.0.1", PROXY_PORT))
    listener.listen(_BACKLOG)
    return listener


def _open_grants(setup: dict) -> list[tuple[int, int]]:  # type: ignore[type-arg]
    """Open what Landlock shall grant when there is no view of our own (rung B)."""
    grants = [(_open_root(path, setup), rights) for path, rights in setup["grants"]]
    return grants + _open_each(_always())


def _open_root(path: bytes, setup: dict) -> int:  # type: ignore[type-arg]
    """Open a root, which must still be the folder that the runtime holds."""
    location = kernel.open_beneath_no_symlink(path)
    status = os.fstat(location)
    if setup["identities"].get(path, (status.st_dev, status.st_ino)) != (status.st_dev, status.st_ino):
        raise OSError(40, "openat2: another folder has taken the place of a root")  # ELOOP, as for a link
    return location


def _fill_home(setup: dict) -> None:  # type: ignore[type-arg]
    """Put what the plan names into the commands' own home, which is theirs."""
    for name, content in setup["home_files"]:
        fd = os.open(setup["tmp"] + b"/home/" + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        os.write(fd, content)
        os.close(fd)


def _always() -> list[tuple[bytes, int]]:
    return [(b"/proc", landlock.READ), *((b"/dev/" + name, landlock.DEVICE) for name in mounts.DEVICES)]


def _open_each(grants: list[tuple[bytes, int]]) -> list[tuple[int, int]]:
    return [(kernel.open_beneath_no_symlink(path), rights) for path, rights in grants]


def _limit_pids(processes: int) -> None:
    """Bound the tree by the numbers there are: root is exempt from RLIMIT_NPROC, but not from running out of pids.

    Since Linux 6.14 pid_max belongs to the pid namespace of whoever writes it; the runtime asks for this only there.
    Numbers below 300 are given out once and never again, so they are skipped.
    """
    for name, value in (("ns_last_pid", _RESERVED_PIDS), ("pid_max", _RESERVED_PIDS + processes)):
        _write(f"/proc/sys/kernel/{name}", b"%d" % value)


def _write(path: str, value: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value)
    finally:
        os.close(fd)


def _set_limits(setup: dict) -> None:  # type: ignore[type-arg]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (setup["file_bytes"],) * 2)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = setup["open_files"] if hard == resource.RLIM_INFINITY else min(hard, setup["open_files"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if setup["namespaces"]:  # in the host's user namespace this would count the user's other processes
        resource.setrlimit(resource.RLIMIT_NPROC, (setup["processes"] + 2,) * 2)


def _namespaces() -> dict[str, str]:
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in ("user", "pid", "mnt", "net", "ipc")}


def _serve(control: _socket.socket, setup: dict) -> None:  # type: ignore[type-arg]
    while True:
        payload, fds = _receive(control)
        if not payload:
            continue  # the command that this would have ended was already over
        try:
            argv, env, cwd, with_stdin = parse_request(payload)
        except Malformed:
            os._exit(1)
        kind = NO_DIRECTORY
        try:
            os.chdir(cwd)
            kind = REFUSED
            pid = _spawn(argv, setup["env"] | env, fds, with_stdin=with_stdin)
        except OSError as error:
            _reply(control, kind, error.errno or 0, error.strerror or "")
        else:
            _reply(control, DONE, *_wait(control, pid, setup))
        for fd in fds:
            os.close(fd)


def _spawn(argv: list[bytes], env: dict[bytes, bytes], fds: list[int], *, with_stdin: bool) -> int:
    """Start a command: `fds` are its standard output, error and perhaps input."""
    if len(fds) != 2 + with_stdin:
        raise OSError(_EMFILE, "")
    actions = [(os.POSIX_SPAWN_DUP2, fds[0], 1), (os.POSIX_SPAWN_DUP2, fds[1], 2)]
    if with_stdin:
        actions.append((os.POSIX_SPAWN_DUP2, fds[2], 0))
    program = argv[0] if b"/" in argv[0] else _search(argv[0], env.get(b"PATH", b""))
    return os.posix_spawn(
        program, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=(_SIGPIPE, _SIGXFSZ)
    )


def _search(name: bytes, path: bytes) -> bytes:
    found = b""
    for directory in path.split(b":"):
        candidate = directory + b"/" + name
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            found = candidate
    if found:
        raise PermissionError(13, "Permission denied")
    raise FileNotFoundError(2, "No such file or directory")


def _wait(control: _socket.socket, pid: int, setup: dict) -> tuple[int, str]:  # type: ignore[type-arg]
    """Wait for the command, for the order to end it, or for a limit; nobody of its tree is left afterwards.

    Returns its wait status, and the limit that ended it or "".
    """
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(control, select.POLLIN)
    status, alone, limit, watch = None, False, "", None
    while status is None:
        ready = poll.poll(usage.LOOK_MS if watch is None else watch.pause_ms)
        if any(fd != pidfd for fd, _ in ready) and not _receive(control)[0]:
            _kill_all(setup)
            poll.unregister(control)
        if not ready and not limit:
            watch = watch or usage.Watch(setup)
            limit = watch.exceeded()
            if limit:
                _kill_all(setup)
        status, alone = _reap(pid)
    os.close(pidfd)
    if not alone:
        _end_rest(setup)
    return status, limit


def _reap(pid: int) -> tuple[int | None, bool]:
    """Collect every dead child: the status of `pid` when it was among them, and whether no child at all is left."""
    status = None
    try:
        while True:
            ended, its_status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                return status, False
            if ended == pid:
                status = its_status
    except ChildProcessError:
        return status, True


def _end_rest(setup: dict) -> None:  # type: ignore[type-arg]
    """End background processes. As pid 1, or as a subreaper, having no child means having no descendant."""
    while not _reap(0)[1]:
        _kill_all(setup)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _kill_all(setup: dict) -> None:  # type: ignore[type-arg]
    """Kill every process of the sandbox but this one.

    With a pid namespace or Landlock's signal scope one call reaches all of them, atomically, and nobody else. With
    neither, the tree is walked.
    """
    try:
        if setup["namespaces"]:
            os.kill(-1, _SIGKILL)
        elif setup["abi"] >= landlock.SCOPES_SINCE:
            kernel.call("kill", -1, _SIGKILL, *setup["cookie"])
        elif tree.end_descendants(os.getpid(), lambda pid, number: kernel.call("kill", pid, number, *setup["cookie"])):
            os._exit(1)  # somebody sticks in the kernel: the warden and the runtime take over
    except ProcessLookupError:
        pass


def _receive(control: _socket.socket) -> tuple[bytes, list[int]]:
    """Receive one frame and the descriptors that came with it; exit at end of file, the sign that the runtime is gone.

    Never reads past the frame: the next one may follow at once. Without room for all descriptors, there are none.
    """
    data, ancillary, flags, _ = control.recvmsg(LENGTH.size, _socket.CMSG_SPACE(3 * 4), _MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for _, _, body in ancillary:
        fds += struct.unpack(f"={len(body) // 4}i", body[: len(body) // 4 * 4])
    if flags & _MSG_CTRUNC:
        while fds:
            os.close(fds.pop())
    header = data if len(data) in {0, LENGTH.size} else data + _read(control, LENGTH.size - len(data))
    if not header:
        os._exit(0)
    (size,) = LENGTH.unpack(header)
    if size > LARGEST_REQUEST:
        os._exit(1)
    return _read(control, size), fds


def _read(control: _socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = control.recv(min(size, _CHUNK))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _reply(control: _socket.socket, kind: bytes, number: int, text: str, handed_over: list[int] | None = None) -> None:
    """Send one frame; descriptors that are handed over are closed here."""
    body = text.encode("utf-8", "surrogateescape")
    frame = REPLY.pack(kind, number, len(body)) + body
    try:
        if handed_over:
            rights = struct.pack(f"={len(handed_over)}i", *handed_over)
            frame = frame[control.sendmsg([frame], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)]) :]
            for fd in handed_over:
                os.close(fd)
        control.sendall(frame)
    except OSError:
        os._exit(0)


def run() -> None:
    """The program: its arguments are the numbers of the control socket and of the lifeline."""
    main(int(sys.argv[1]), int(sys.argv[2]))
