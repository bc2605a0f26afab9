"""System calls that the standard library lacks, called by number through ctypes.

This module, `landlock`, `mounts`, `selftest`, `tree` and `zygote` are what the zygote loads: they import each
other and a few small modules of the standard library, so that a cold start stays in the tens of milliseconds.

Source: prctl(2), capset(2), seccomp(2), mount_setattr(2), move_mount(2), openat2(2).
"""

from __future__ import annotations

import ctypes
import os
import struct

from localgpt.sandbox.syscalls import NUMBERS

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8

CLONE_NEWNS = 0x0002_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_BENEATH = 0x08
O_PATH = os.O_PATH

_CAPABILITY_VERSION_3 = 0x2008_0522
_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make the system call `name`; missing arguments are zero, so that argument filters never see garbage.

    Raises:
        OSError: with the call's errno; ENOSYS when this architecture has no such call.
    """
    number = NUMBERS.get(name)
    if number is None:
        raise OSError(38, f"{name}: not on this architecture")
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    result = int(_syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in padded]))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def prctl(option: int, *arguments: int) -> int:
    """Call prctl(2).

    Raises:
        OSError: with its errno.
    """
    return call("prctl", option, *arguments)


def no_new_privileges() -> None:
    """Make setuid bits and file capabilities powerless for this process and all that it starts."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def load_filter(program: bytes, *, all_threads: bool = False) -> None:
    """Install a seccomp filter: `program` is an array of ``struct sock_filter``, native byte order.

    Raises:
        OSError: the kernel has no seccomp filters, or refuses this one.
    """
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW | (SECCOMP_FILTER_FLAG_TSYNC if all_threads else 0)
    refused = call("seccomp", SECCOMP_SET_MODE_FILTER, flags, header)
    if refused:
        raise OSError(1, f"seccomp: thread {refused} could not be synchronised")


def load_watch(program: bytes) -> int:
    """Install a second filter, whose calls are told to whoever reads the descriptor that this returns.

    Raises:
        OSError: the kernel refuses.
    """
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    return call("seccomp", SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, header)


def drop_capabilities() -> None:
    """Give up every capability for good: ambient, bounding, inheritable, permitted and effective sets.

    The bounding set needs CAP_SETPCAP; a process without it has no privileges that could come back, because
    `no_new_privileges` is set as well.
    """
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    call("capset", header, bytes(24))


def open_beneath_no_symlink(path: bytes) -> int:
    """Open `path` as a location (O_PATH). Any symbolic link on the way is an error, so a swapped component is noticed.

    Raises:
        OSError: ELOOP when a component is a symbolic link, or the usual errors.
    """
    how = struct.pack("QQQ", O_PATH | os.O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    return call("openat2", AT_FDCWD, path, how, len(how))
