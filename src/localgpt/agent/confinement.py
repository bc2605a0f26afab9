"""What the agent may reach: its session folder to write, its own program to read, and nothing else for good."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

import localgpt
from localgpt.sandbox import SelfPlan, confine_self

_PR_SET_PDEATHSIG: Final = 1
_SYSTEM: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/urandom")


def confine(session_dir: str) -> None:
    """Give up everything but the session folder: no program is ever started, no socket opened, no other file written.

    Raises:
        SandboxError: the kernel cannot confine this process; the agent must not run then.
    """
    if sys.platform == "linux":  # end with the monitor, whatever happens to it; prctl(2)
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    confine_self(SelfPlan(read=_program(), write=(os.path.realpath(session_dir),), sockets=frozenset()))


def _program() -> tuple[str, ...]:
    package = str(Path(localgpt.__file__).parent)
    paths = (package, sys.prefix, sys.base_prefix, *_SYSTEM)
    resolved = dict.fromkeys(os.path.realpath(path) for path in paths)
    return tuple(path for path in resolved if path != "/" and Path(path).exists())
