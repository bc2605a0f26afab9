"""Whether anything can be confined on this machine at all. Light: every confined process of the runtime loads it."""

from __future__ import annotations

import sys

from localgpt.sandbox import cures, landlock
from localgpt.sandbox.faults import KernelTooOld, PlatformUnsupported
from localgpt.sandbox.syscalls import ARCH, TABLES


def usable_abi(limit: int = 99) -> int:
    """The Landlock ABI to use, at most `limit`.

    Raises:
        PlatformUnsupported: not Linux, or a processor without a table of system calls.
        KernelTooOld: no Landlock.
    """
    if sys.platform != "linux" or ARCH not in TABLES:
        advice = cures.elsewhere(f"{sys.platform} {ARCH}")
        raise PlatformUnsupported(advice.reason, cure=advice.cure)
    abi = min(landlock.abi(), limit, 9)
    if not abi:
        advice = cures.without_landlock(cures.look())
        raise KernelTooOld(advice.reason, cure=advice.cure)
    return abi
