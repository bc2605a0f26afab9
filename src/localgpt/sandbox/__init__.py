"""Confinement of commands and of the runtime's own processes. Importable alone: standard library only.

    with Executor(Plan.workspace_write("/path/of/project")) as executor:
        done = executor.run(["sh", "-c", "make test"])

Names are loaded on first use, because the zygote imports submodules of this package and must start in milliseconds.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localgpt.sandbox.executor import Executor
    from localgpt.sandbox.host import HostReport, probe_host
    from localgpt.sandbox.plan import Limits, Plan
    from localgpt.sandbox.pool import Pool
    from localgpt.sandbox.proof import Proof, Rung
    from localgpt.sandbox.rules import Sockets
    from localgpt.sandbox.running import Completed
    from localgpt.sandbox.selfplan import SelfPlan, confine_self

_HOME = {
    "Completed": "running",
    "Executor": "executor",
    "HostReport": "host",
    "Limits": "plan",
    "Plan": "plan",
    "Pool": "pool",
    "Proof": "proof",
    "Rung": "proof",
    "SelfPlan": "selfplan",
    "Sockets": "rules",
    "confine_self": "selfplan",
    "probe_host": "host",
}

__all__ = [
    "Completed", "Executor", "HostReport", "Limits", "Plan", "Pool", "Proof", "Rung", "SelfPlan", "Sockets",
    "confine_self", "probe_host",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 -- not what a zygote loads

    if sys.platform in {"win32", "cygwin"}:  # the modules below would not even load
        from localgpt.sandbox import cures, faults  # noqa: PLC0415 -- as above

        advice = cures.elsewhere(sys.platform)
        raise faults.PlatformUnsupported(advice.reason, cure=advice.cure)
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
