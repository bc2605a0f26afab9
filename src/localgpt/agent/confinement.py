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


def confine(session_dir: str) -> None:
    """Give up everything but the session folder: no program is ever started, no socket opened, no other file written.

    Raises:
        SandboxError: the kernel cannot confine this process; the agent must not run then.
    """
    if sys.platform == "linux":  # end with the monitor, whatever happens to it; prctl(2)
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    package = os.path.realpath(Path(localgpt.__file__).parent)
    confine_self(SelfPlan(read=(package,), write=(os.path.realpath(session_dir),)))
