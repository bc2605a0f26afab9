"""Named profiles of plans: data in ``sandbox/profiles/``, one file each.

A profile says whether the project may be changed, whether somebody is asked about hosts, and what a plan gets on top:
limits, and caches of the project's own.
"""

# Paths are text here.
# ruff: noqa: PTH103, PTH118

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Final

from localgpt.sandbox.faults import NotConfined, PlanInvalid
from localgpt.sandbox.names import shipped_file
from localgpt.sandbox.plan import Limits, Plan

NAMES: Final = ("workspace-write", "read-only", "build", "network")
_KEYS: Final = frozenset({"version", "summary", "writes", "asks_hosts", "limits", "caches"})


class UnknownProfile(PlanInvalid):
    """No profile has this name."""

    code = "sandbox.plan.profile"


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile. `asks_hosts`: whether a person is asked about hosts that were not named. `limits`: what it raises;
    `caches`: variable and the folder below the project's caches.
    """

    name: str
    summary: str
    writes: bool
    asks_hosts: bool
    limits: tuple[tuple[str, float], ...] = ()
    caches: tuple[tuple[str, str], ...] = ()

    def equip(self, plan: Plan, caches: str) -> Plan:
        """`plan`, which must be writable if the profile is, with this profile's limits and caches.

        Args:
            plan: made by `Plan.workspace_write` or `Plan.read_only` of the project.
            caches: absolute folder of the runtime's, in which each project gets one of its own.

        Raises:
            OSError: a folder cannot be made.
        """
        raised = {name: max(value, getattr(plan.limits, name)) for name, value in self.limits}
        if not self.caches or plan.cwd not in plan.write_roots:
            return replace(plan, limits=replace(plan.limits, **raised))
        own = own_caches(caches, plan.cwd)
        for _, folder in self.caches:
            os.makedirs(os.path.join(own, folder), mode=0o700, exist_ok=True)
        env = dict(plan.env) | {variable: os.path.join(own, folder) for variable, folder in self.caches}
        return replace(
            plan,
            limits=replace(plan.limits, **raised),
            write_roots=(*plan.write_roots, own),
            caches=(*plan.caches, own),
            env=tuple(env.items()),
        )


def own_caches(caches: str, project: str) -> str:
    """The folder of one project's caches, made if it is missing and nobody else's."""
    name = hashlib.sha256(os.fsencode(project)).hexdigest()[:24]
    os.makedirs(caches, mode=0o700, exist_ok=True)
    own = os.path.join(os.path.realpath(caches), name)
    os.makedirs(own, mode=0o700, exist_ok=True)
    return own


@cache
def profile(name: str) -> Profile:
    """The shipped profile called `name`.

    Raises:
        UnknownProfile: there is none.
        NotConfined: its file is missing or damaged.
    """
    if name not in NAMES:
        raise UnknownProfile(f"there is no profile {name!r}", cure=f"take one of {', '.join(NAMES)}")
    try:
        return _parsed(name, tomllib.loads(shipped_file(f"profiles/{name}.toml")))
    except (KeyError, TypeError, ValueError) as error:
        raise NotConfined(
            f"the shipped profile {name} is damaged: {error}", cure="install the program again"
        ) from error


def _parsed(name: str, tree: Mapping[str, object]) -> Profile:
    limits, caches = tree.get("limits", {}), tree.get("caches", {})
    if not tree.keys() <= _KEYS or tree["version"] != 1 or not isinstance(limits, dict) or not isinstance(caches, dict):
        raise ValueError("its keys or its version are not those of version 1")
    if not limits.keys() <= {each.name for each in fields(Limits)}:
        raise ValueError("it names a limit that there is not")
    return Profile(
        name,
        str(tree["summary"]),
        bool(tree["writes"]),
        bool(tree["asks_hosts"]),
        tuple(limits.items()),
        tuple(caches.items()),
    )
