"""What Landlock alone shall grant (rung B), where a denied path cannot be hidden under a mount.

Landlock can only grant, and a grant on a directory holds for everything beneath. A read root with a denied path inside
is therefore granted entry by entry along the way to that path; a write root cannot be, because new entries would belong
to no grant.
"""

# A plan holds paths as text, which is compared and never touched through an object.
# ruff: noqa: PTH112

from __future__ import annotations

import os
from collections.abc import Iterator

from localgpt.sandbox import landlock
from localgpt.sandbox.faults import DeniedNotEnforceable
from localgpt.sandbox.plan import Plan
from localgpt.sandbox.toolchains import is_inside

Grant = tuple[bytes, int]


def landlock_grants(plan: Plan, private: str) -> list[Grant]:
    """Paths and rights for `plan`, with `private` as the command's own temporary directory.

    Raises:
        DeniedNotEnforceable: a denied path lies inside a write root.
    """
    denied = [path for path in plan.denied if _matters(path)]
    for path in denied:
        for root in plan.write_roots:
            if is_inside(path, root):
                raise DeniedNotEnforceable(
                    f"{path} is denied but lies inside {root}, and without a mount namespace it cannot be hidden there",
                    cure="move it out of the project, or run on a host that allows user namespaces",
                )
    open_ = [root for root in plan.write_roots if not any(is_inside(root, path) for path in plan.denied)]
    writes = [(os.fsencode(path), landlock.WRITE | landlock.EXECUTE) for path in (*open_, private)]
    reads = [grant for root in plan.read_roots for grant in _without(root, denied)]
    return [*reads, *writes]


def _matters(path: str) -> bool:
    """Whether this user could open `path` if Landlock let it: otherwise the file's own mode denies it already."""
    try:
        return os.access(path, os.R_OK) or os.lstat(path).st_uid == os.geteuid()
    except OSError:
        return False


def _without(root: str, denied: list[str]) -> Iterator[Grant]:
    if any(is_inside(root, path) for path in denied):
        return
    inside = [path for path in denied if is_inside(path, root)]
    if not inside:
        yield os.fsencode(root), landlock.READ_EXECUTE
        return
    if not any(os.path.isdir(path) for path in inside):
        yield os.fsencode(root), landlock.READ_DIR  # names may be listed: stat shows them anyway
    for entry in os.scandir(root):
        if not entry.is_symlink():  # a link is followed to its target, which has its own grant or none
            yield from _without(entry.path, inside)
