"""Whether anything can be confined on this machine at all. Light: every confined process of the runtime loads it."""

from __future__ import annotations

import sys

from localgpt.sandbox import landlock
from localgpt.sandbox.faults import KernelTooOld, PlatformUnsupported
from localgpt.sandbox.syscalls import ARCH, TABLES


def usable_abi(limit: int = 99) -> int:
    """The Landlock ABI to use, at most `limit`.

    Raises:
        PlatformUnsupported: not Linux, or a processor without a table of system calls.
        KernelTooOld: no Landlock.
    """
    if sys.platform != "linux" or ARCH not in TABLES:
        raise PlatformUnsupported(
            f"commands cannot be confined on {sys.platform} {ARCH}", cure="run on Linux, x86_64 or aarch64"
        )
    abi = min(landlock.abi(), limit, 9)
    if not abi:
        raise KernelTooOld(
            "this kernel has no Landlock, or it is switched off", cure="boot a kernel with lsm=landlock,…"
        )
    return abi
