"""The suite's command for another user, who may read neither this checkout nor this interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from localgpt.sandbox.probes import catalogue

_PYTHONS: Final = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")
_NEW_ENOUGH: Final = "import sys; sys.exit(sys.version_info < (3, 11))"


def command(folder: Path, user: int | None = None) -> tuple[list[str], dict[str, str]]:
    """Argument vector and environment of ``python -m localgpt.sandbox.probes``, to be started in ``/``.

    Args:
        folder: an empty or absent one that every user can read; the sandbox is copied there.
        user: id of the user it is to go on as (for root), None for the caller.

    Raises:
        LookupError: `user` may run no Python that is new enough.
    """
    package, target = Path(__file__).resolve().parents[2], folder / "src/localgpt"
    target.mkdir(parents=True)
    for name in ("__init__.py", "errors.py"):
        shutil.copy(package / name, target / name)
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package / "sandbox", target / "sandbox", ignore=compiled)
    shutil.copytree(catalogue.DATA, folder / "sandbox", ignore=compiled)
    argv = [sys.executable if user is None else _python_of(user), "-B", "-m", "localgpt.sandbox.probes"]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(target.parent),
        "HOME": "/nonexistent",
    }
    return argv + ([] if user is None else ["--user", str(user)]), environment


def _python_of(user: int) -> str:
    for python in _PYTHONS:
        try:
            done = subprocess.run(  # noqa: S603 -- an interpreter of a fixed place
                [python, "-c", _NEW_ENOUGH],
                user=user,
                group=user,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    raise LookupError(f"no Python 3.11 or newer that user {user} may run")
