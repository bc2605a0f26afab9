"""Which system calls a confined process may not make. `seccomp` turns these rules into BPF.

Each group says what it prevents. ENOSYS instead of EPERM where programs have a fallback for an old kernel: libc retries
`clone3` as `clone`, whose flags a filter can read.
"""

from __future__ import annotations

import errno
import socket
import stat
from enum import Enum
from typing import Final

from localgpt.sandbox.seccomp import Comparison, Rule, Where

_CLONE_NEW_NAMESPACE: Final = 0x7E02_0000
_O_CREAT: Final = 0x40
_O_TMPFILE: Final = 0x40_0000
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_IOCTLS: Final = (
    0x5412,  # TIOCSTI: types into the terminal
    0x541C,  # TIOCLINUX: pastes on a console
    0x5423,  # TIOCSETD: loads line disciplines
    0x8901,  # FIOSETOWN
    0x8902,  # SIOCSPGRP: with FIOSETOWN, sends signals through the kernel
    0x4008_6602,  # FS_IOC_SETFLAGS
    0x401C_5820,  # FS_IOC_FSSETXATTR: attributes of files outside, which Landlock does not guard
)


def _when(argument: int, test: Comparison, value: int | str, mask: int = 0xFFFF_FFFF) -> tuple[Where, ...]:
    return (Where(argument, test, value, mask),)


def _mode_rules() -> tuple[Rule, ...]:
    """Nobody makes a setuid or setgid file: it would outlive the sandbox. The mode counts only when a file is made."""
    set_id = {index: _when(index, Comparison.ANY_BIT, _SET_ID) for index in (1, 2, 3)}
    makes = _O_CREAT | _O_TMPFILE
    return (
        Rule(("chmod", "fchmod", "creat", "mkdir", "mknod"), where=set_id[1]),
        Rule(("fchmodat", "fchmodat2", "mkdirat", "mknodat"), where=set_id[2]),
        Rule(("open",), where=_when(1, Comparison.ANY_BIT, makes) + set_id[2]),
        Rule(("openat",), where=_when(2, Comparison.ANY_BIT, makes) + set_id[3]),
        Rule(("openat2",), errno.ENOSYS),  # its mode is behind a pointer
    )


_PRIVILEGED: Final = (
    # Mounts and roots, by the old calls and the new.
    "mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig",
    "fsmount", "fspick", "mount_setattr", "statmount", "listmount", "unshare", "setns",
    # Other processes' memory, descriptors and state.
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_getfd",
    # The kernel's own doors.
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff",
    "acct", "quotactl", "quotactl_fd", "syslog", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
    "sethostname", "setdomainname", "vhangup", "iopl", "ioperm", "modify_ldt", "lookup_dcookie", "nfsservctl",
    "lsm_set_self_attr", "_sysctl", "uselib", "create_module", "get_kernel_syms", "query_module",
    # Large attack surfaces that no build tool needs.
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl",
    "add_key", "request_key", "open_by_handle_at", "name_to_handle_at", "fanotify_init", "fanotify_mark", "listns",
)  # fmt: skip

COMMON: Final[tuple[Rule, ...]] = (
    Rule(_PRIVILEGED),
    Rule(("clone3",), errno.ENOSYS),
    Rule(("clone",), where=_when(0, Comparison.ANY_BIT, _CLONE_NEW_NAMESPACE)),
    Rule(("personality",), where=_when(0, Comparison.DIFFERS, 0) + _when(0, Comparison.DIFFERS, 0xFFFF_FFFF)),
    # Limits, priorities and placement of anybody but the caller: a pid of 0 is the caller.
    Rule(("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr", "move_pages",
          "migrate_pages"), where=_when(0, Comparison.DIFFERS, 0)),
    Rule(("setpriority",), where=_when(0, Comparison.DIFFERS, 0)),  # PRIO_PROCESS is 0
    Rule(("setpriority",), where=_when(1, Comparison.DIFFERS, 0)),
    Rule(("ioprio_set",), where=_when(0, Comparison.DIFFERS, 1)),  # IOPRIO_WHO_PROCESS is 1
    Rule(("ioprio_set",), where=_when(1, Comparison.DIFFERS, 0)),
    # A descriptor's owner gets signals from the kernel, past every check on kill().
    *(Rule(("fcntl",), where=_when(1, Comparison.EQUAL, command)) for command in (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX)),
    *(Rule(("ioctl",), where=_when(1, Comparison.EQUAL, request)) for request in _IOCTLS),
    *_mode_rules(),
    # Room on a disk that is reserved is counted as written by nobody; every program has a way without.
    Rule(("fallocate",), errno.ENOTSUP),
)  # fmt: skip

# Landlock lets TCP Fast Open, MPTCP, UDP and more through, so families are refused here. socketpair() stays, but not of
# datagrams: such a pair can be pointed at any socket file by connect() or sendto().
_NO_SOCKETS: Final = (
    Rule(("socket", "connect", "bind", "listen", "accept", "accept4")),
    Rule(("socketpair",), where=_when(0, Comparison.DIFFERS, socket.AF_UNIX)),
    Rule(("socketpair",), where=_when(1, Comparison.DIFFERS, socket.SOCK_STREAM, 0xF)
         + _when(1, Comparison.DIFFERS, socket.SOCK_SEQPACKET, 0xF)),
)  # fmt: skip

# System V objects are memory of no process: they outlive their command, and no watch over processes counts them. An ipc
# namespace hides the host's but bounds nothing.
_NO_SYSTEM_V: Final = (
    Rule(("shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv",
          "msgctl")),
)  # fmt: skip

# Without an ipc namespace POSIX message queues are the host's; without a read-only view extended attributes of the
# user's own files can be changed anywhere.
_SHARED_HOST: Final = (
    Rule(("mq_open", "mq_unlink")),
    Rule(("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "setxattrat",
          "removexattrat", "file_setattr"), errno.ENOTSUP),
)  # fmt: skip

_SIGNAL_BY_PID: Final = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
_EVERYBODY: Final = 0xFFFF_FFFF
COOKIE: Final = ("cookie2", "cookie3", "cookie4", "cookie5")


def _unless_cookie(rule: Rule) -> tuple[Rule, ...]:
    """`rule`, but not for whoever knows 128 random bits: the zygote, in arguments that kill() does not have."""
    return tuple(
        Rule(rule.calls, rule.error, (*rule.where, Where(index, Comparison.DIFFERS, slot)))
        for index, slot in enumerate(COOKIE, start=2)
    )


# Without a pid namespace the zygote is a process like any other: nobody may signal it or everybody, except that it ends
# a command by kill(-1), which Landlock's scope keeps inside: atomic, where a walk over /proc loses against a fork bomb.
_SPARE_ZYGOTE: Final = (
    *(Rule(_SIGNAL_BY_PID, where=_when(0, Comparison.EQUAL, slot)) for slot in ("zygote", "-zygote")),
    Rule(_SIGNAL_BY_PID[1:], where=_when(0, Comparison.EQUAL, _EVERYBODY)),
    *_unless_cookie(Rule(("kill",), where=_when(0, Comparison.EQUAL, _EVERYBODY))),
    Rule(("tgkill", "rt_tgsigqueueinfo"), where=_when(1, Comparison.EQUAL, "zygote")),
    Rule(("pidfd_send_signal",)),
)
_NO_SIGNALS: Final = (Rule((*_SIGNAL_BY_PID[1:], "pidfd_send_signal")), *_unless_cookie(Rule(("kill",))))


def command_rules(*, namespaces: bool, signals_scoped: bool, streams: bool = False) -> tuple[Rule, ...]:
    """Rules for a zygote and its commands.

    Args:
        namespaces: whether the commands live in their own pid, ipc and mount namespaces (rung A).
        signals_scoped: whether Landlock keeps signals inside (ABI 6); without it and without a pid namespace a command
            may send none at all, or it could end any process of the user's.
        streams: whether commands may make TCP connections, to the proxy that is all there is in their net namespace.
    """
    alone = () if namespaces else (*_SHARED_HOST, *(_SPARE_ZYGOTE if signals_scoped else _NO_SIGNALS))
    sockets = _streams_only() if streams else _NO_SOCKETS
    return (*COMMON, *_NO_SYSTEM_V, *sockets, *alone)


_THREAD: Final = 0x10000  #: CLONE_THREAD; clone3 answers ENOSYS already


class Sockets(Enum):
    """What kind of socket a confined process of the runtime may use."""

    INET_CLIENT = "connect to hosts"
    UNIX_CLIENT = "connect to unix sockets"
    UNIX_LISTENER = "listen on a unix socket"
    LOOPBACK_LISTENER = "listen on a TCP port"
    ACCEPTED = "accept connections from a listener that it was given"


def process_rules(sockets: frozenset[Sockets]) -> tuple[Rule, ...]:
    """Rules for a process of the runtime: it executes nothing, has no children that could outlive it, only threads, and
    only the named sockets."""
    alone = (
        Rule(("execve", "execveat", "fork", "vfork")),
        Rule(("clone",), where=_when(0, Comparison.EQUAL, 0, _THREAD)),
    )
    return (*COMMON, *_NO_SYSTEM_V, *_SHARED_HOST, *alone, *_socket_rules(sockets))


def _socket_rules(sockets: frozenset[Sockets]) -> tuple[Rule, ...]:
    inet = bool(sockets & {Sockets.INET_CLIENT, Sockets.LOOPBACK_LISTENER})
    unix = bool(sockets & {Sockets.UNIX_CLIENT, Sockets.UNIX_LISTENER})
    listens = bool(sockets & {Sockets.UNIX_LISTENER, Sockets.LOOPBACK_LISTENER})
    connects = bool(sockets & {Sockets.INET_CLIENT, Sockets.UNIX_CLIENT})
    families = [f for f, used in ((socket.AF_UNIX, unix), (socket.AF_INET, inet), (socket.AF_INET6, inet)) if used]
    rules = [
        Rule(("socket",), errno.EAFNOSUPPORT, tuple(Where(0, Comparison.DIFFERS, family) for family in families)),
        *_NO_SOCKETS[1:],
    ]
    if unix and not connects:  # a datagram socket sends to any socket file without connect()
        rules.append(Rule(("socket",), where=_when(1, Comparison.DIFFERS, socket.SOCK_STREAM, 0xF)))
    if inet:
        rules += _inet_rules(datagrams=Sockets.INET_CLIENT in sockets)
    if not connects:
        rules += [Rule(("connect",)), *_no_fast_open()]
    if not listens:
        rules.append(Rule(("bind", "listen", *(() if Sockets.ACCEPTED in sockets else ("accept", "accept4")))))
    return tuple(rules)


def _streams_only() -> tuple[Rule, ...]:
    """Connections by plain TCP over IPv4: no datagrams, no listeners, no other family or protocol, no Fast Open."""
    return (
        Rule(("socket",), errno.EAFNOSUPPORT, _when(0, Comparison.DIFFERS, socket.AF_INET)),
        *_inet_rules(datagrams=False),
        Rule(("bind", "listen", "accept", "accept4")),
        *_NO_SOCKETS[1:],
        *_no_fast_open(),
    )


def _inet_rules(*, datagrams: bool) -> list[Rule]:
    """Plain TCP, and UDP for name look-ups: no raw sockets, no MPTCP, SCTP or DCCP."""
    kinds = [socket.SOCK_STREAM, *([socket.SOCK_DGRAM] if datagrams else [])]
    protocols = [0, socket.IPPROTO_TCP, *([socket.IPPROTO_UDP] if datagrams else [])]
    return [
        Rule(("socket",), where=tuple(Where(1, Comparison.DIFFERS, kind, 0xF) for kind in kinds)),
        Rule(("socket",), where=tuple(Where(2, Comparison.DIFFERS, protocol) for protocol in protocols)),
    ]


def _no_fast_open() -> list[Rule]:
    """TCP Fast Open connects without connect()."""
    fast_open = 0x2000_0000
    return [
        Rule(("sendto", "sendmmsg"), where=_when(3, Comparison.ANY_BIT, fast_open)),
        Rule(("sendmsg",), where=_when(2, Comparison.ANY_BIT, fast_open)),
        Rule(("setsockopt",), where=_when(1, Comparison.EQUAL, socket.IPPROTO_TCP) + _when(2, Comparison.EQUAL, 30)),
    ]
