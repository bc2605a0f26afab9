"""The protected names of one executor: held by mounts where that can be, looked after by hand where it cannot."""

# Paths are text here.
# ruff: noqa: PTH112

from __future__ import annotations

import contextlib
import os
import time
from typing import Final

from localgpt.sandbox.aftermath import NOTHING, Aftermath, Left
from localgpt.sandbox.holds import Holds, standing
from localgpt.sandbox.names import shipped_names
from localgpt.sandbox.plan import Plan
from localgpt.sandbox.proof import Rung
from localgpt.sandbox.turns import Turns

_DETECTED: Final = "detected, not prevented"


def names_by_protection(rung: Rung) -> tuple[tuple[str, str], ...]:
    """How this rung protects which names: "prevented" or "detected, not prevented"; and the names in words."""
    names = shipped_names()
    top = ", ".join((*names.held, *(f".git/{name}" for name in names.git_held)))
    git = ", ".join(f".git/{name}" for name in names.git_found)
    there = f"and where they are there {git}, start-up files of shells, core.hooksPath, and links at any of these names"
    deeper = "the same in deeper folders, in other spellings, and in what git takes for a repository"
    if rung is Rung.A:
        return (("prevented", f"at the top of a folder that may be changed: {top}, {there}"), (_DETECTED, deeper))
    return ((_DETECTED, f"{top}, {there}; {deeper}"),)


class Protection:
    """Prepared before a zygote starts, begun while it does, asked around every command. Not shared between threads."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._roots = tuple(root for root in plan.write_roots if root not in plan.caches and os.path.isdir(root))
        self._holds: Holds | None = None
        self._aftermath: Aftermath | None = None
        self._turns: Turns | None = None
        self._since_ns = 0
        #: Paths to mount read-only, and symbolic links to cover, in the view of the zygote that is to start.
        self.kept: tuple[str, ...] = ()
        self.covered: tuple[str, ...] = ()

    @property
    def held(self) -> tuple[str, ...]:
        """The folders that were made for mounts."""
        return () if self._holds is None else self._holds.paths

    @property
    def complete(self) -> bool:
        """Whether all of the write roots is looked through after commands; False when they are too large for it."""
        return self._aftermath is None or self._aftermath.complete

    def prepare(self, *, mounts: bool) -> None:
        """Find out what is there, and make what mounts need; without them there is nothing to make."""
        self.release()
        if not mounts or not self._roots:
            return
        found = standing(self._plan.protected, self._roots)
        self._holds = Holds(found.absent)
        self.kept = tuple(sorted((*found.kept, *self._holds.paths)))
        self.covered = found.links

    def begin(self) -> None:
        """Look through the write roots, once.

        Raises:
            OSError: a root is not there any more.
        """
        if not self._roots:
            return
        if self._aftermath is not None:
            self._aftermath.close()
        self._since_ns = time.time_ns()
        self._turns = self._turns or Turns(self._roots)
        self._aftermath = Aftermath(self._roots, self._plan.protected, (*self.kept, *self.covered))
        stamp = self._turns.quiet()
        self._aftermath.begin(undisturbed=stamp is not None)
        if not self._turns.still(stamp):
            self._aftermath.distrust()

    def release(self) -> None:
        """Remove what mounts needed; the zygote has ended."""
        if self._holds is not None:
            self._holds.close()
            self._holds = None
        self.kept, self.covered = (), ()

    def before_command(self) -> None:
        """Take what happened meanwhile for the user's doing, unless somebody else's command runs in these folders."""
        if self._aftermath is None or self._turns is None:
            return
        if (stamp := self._turns.quiet()) is not None:
            self._since_ns = time.time_ns()
            if self._aftermath.forget() and not self._turns.still(stamp):
                self._aftermath.distrust()
        self._turns.run()

    def after_command(self) -> Left:
        """Put away what the command left; nobody of its tree is left. Also for one that did not start."""
        if self._aftermath is None or self._turns is None:
            return NOTHING
        try:
            return self._aftermath.look(self._since_ns)
        finally:
            self._turns.end()

    def close(self) -> None:
        """Stop looking. Idempotent."""
        self.release()
        if self._aftermath is not None:
            with contextlib.suppress(OSError):
                self._aftermath.close()
            self._aftermath = None
        if self._turns is not None:
            self._turns.close()
            self._turns = None
