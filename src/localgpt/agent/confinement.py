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
_NO_LANDLOCK: Final = (
    "this kernel has no Landlock: LocalGPT's own processes can execute nothing and the agent reaches no network, "
    "but nothing keeps them from reading your files; no command and no file tool runs"
)


def confine(session_dir: str) -> str:
    """Give up everything but the session folder: no program is ever started, no socket opened, no other file written.

    Returns what the user must know of it, "" when all of it holds.

    Raises:
        SandboxError: the kernel cannot confine this process; the agent must not run then.
    """
    if sys.platform == "linux":  # end with the monitor, whatever happens to it; prctl(2)
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    package = os.path.realpath(Path(localgpt.__file__).parent)
    plan = SelfPlan(read=(package,), write=(os.path.realpath(session_dir),))
    return "" if confine_self(plan, without_landlock=True) else _NO_LANDLOCK
