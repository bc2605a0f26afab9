"""Which processes descend from one, and ending them all without a pid namespace.

A process that is a child subreaper keeps every orphan of its tree, so a walk over /proc misses nobody: a daemon that
forked twice and called setsid is a child of the reaper in the end.

Source: PR_SET_CHILD_SUBREAPER in prctl(2); proc_pid_task_children in proc(5).
"""

# Pathlib would double what the zygote loads, and paths are bytes here.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # the zygote does not load `collections.abc` for a name in an annotation
    from collections.abc import Callable

SIGKILL = 9
SIGSTOP = 19
_PAUSE_S = 0.001


def children(pid: int) -> list[int]:
    """Direct children of every thread of `pid`; empty when it is gone."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found


def descendants(root: int) -> list[int]:
    """Everything beneath `root` that is not a zombie, parents first."""
    return [pid for pid in with_zombies(root) if state(pid) not in (b"Z", b"X")]


def with_zombies(root: int) -> list[int]:
    """Everything beneath `root`, parents first: one that nobody collected still takes a place in the host's table."""
    found = children(root)
    for pid in found:  # grows while it is read
        found += children(pid)
    return found


def end_descendants(root: int, kill: Callable[[int, int], object] = os.kill, within_s: float = 10.0) -> list[int]:
    """Kill everything beneath `root` and return who is left, stuck in the kernel. Zombies stay for their parent.

    Stopped first and killed then: a stopped process cannot fork, so the rounds over a tree that grows while it is read
    come to an end.
    """
    deadline = time.monotonic() + within_s
    stopped: set[int] = set()
    while True:
        alive = descendants(root)
        fresh = [pid for pid in alive if pid not in stopped]
        _signal_all(kill, fresh, SIGSTOP)
        stopped.update(fresh)
        if not fresh:
            _signal_all(kill, alive, SIGKILL)
            if not alive or time.monotonic() > deadline:
                return alive
            time.sleep(_PAUSE_S)


def _signal_all(kill: Callable[[int, int], object], pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            kill(pid, number)
        except OSError:
            continue


def state(pid: int) -> bytes:
    """The letter that the kernel shows for a process ("R", "T" for stopped, "Z" for a zombie); "X" when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return b"X"
