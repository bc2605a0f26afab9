"""The roots of a plan as descriptors: every zygote of an executor gets the very folders that the first one got.

A path that the zygote opens is compared with what is held here. A folder that took the place of another, after the plan
was made or while a zygote is replaced, is refused like a symbolic link is.
"""

from __future__ import annotations

import os

from localgpt.sandbox import kernel
from localgpt.sandbox.plan import SYSTEM_ROOTS, Plan


class HeldRoots:
    """Descriptors of the write roots and of what else is not the system's; the system's change by updates."""

    def __init__(self, plan: Plan) -> None:
        """Open them, no link followed.

        Raises:
            OSError: one is not there any more, or became a link.
        """
        self._held: dict[bytes, int] = {}
        paths = (*plan.write_roots, *(root for root in plan.read_roots if root not in SYSTEM_ROOTS))
        try:
            for path in map(os.fsencode, dict.fromkeys(paths)):
                self._held[path] = kernel.open_beneath_no_symlink(path)
        except OSError:
            self.close()
            raise

    def identities(self) -> dict[bytes, tuple[int, int]]:
        """Device and inode by path."""
        return {path: ((status := os.fstat(held)).st_dev, status.st_ino) for path, held in self._held.items()}

    def close(self) -> None:
        """Give them up. Idempotent."""
        for held in self._held.values():
            os.close(held)
        self._held.clear()
