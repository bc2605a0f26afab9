"""Checks of the installation: interpreter, other packages of the same name, where it all lies, space on the disk."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from localgpt.cli.checks.finding import Finding, fail, of_error, ok, warn
from localgpt.cli.state import State
from localgpt.errors import LocalGptError

_DISTRIBUTION: Final = "localgpt-agent"
_FOREIGN: Final = "localgpt"  # the public index's package of this name is somebody else's
_LEAST_FREE: Final = 64 << 20
_COMFORTABLE: Final = 512 << 20


def findings(state: State) -> Iterator[Finding]:
    """Run every check of this group."""
    yield _python()
    yield _compiled()
    yield from _name(metadata_names(), state.environ.get("PATH", ""))
    yield _place(state)
    yield from _disk(state)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] < (3, 15):
        return fail("python", f"Python {version} is not supported", "install Python 3.11 to 3.14")
    return ok("python", f"Python {version} at {sys.executable}")


def _compiled() -> Finding:
    cached = Path(__file__).parent / "__pycache__"
    if cached.is_dir():
        return ok("bytecode", "compiled")
    return warn(
        "bytecode",
        "not compiled: every start is slower",
        f"{sys.executable} -m compileall -q {Path(__file__).parents[2]}",
    )


def metadata_names() -> frozenset[str]:
    """Names of the installed distributions, as their metadata spell them, in lower case."""
    return frozenset((d.metadata["Name"] or "").lower() for d in metadata.distributions())


def _name(installed: frozenset[str], search_path: str) -> Iterator[Finding]:
    if _FOREIGN in installed:
        yield fail(
            "name",
            f"the distribution {_FOREIGN!r} is installed beside {_DISTRIBUTION!r}: it belongs to somebody else and "
            "both claim the package and the command",
            f"{sys.executable} -m pip uninstall {_FOREIGN} && {sys.executable} -m pip install --force-reinstall "
            f"{_DISTRIBUTION}",
        )
    others = other_commands(search_path, own_command())
    if others:
        yield warn(
            "command",
            f"another command of this name is on PATH: {others[0]}",
            f"call {own_command() or sys.executable + ' -m localgpt'}, or remove the other one",
        )
    elif _FOREIGN not in installed:
        yield ok("name", f"{_DISTRIBUTION} only")


def own_command() -> Path | None:
    """Where the command of this installation is."""
    beside = Path(sys.executable).with_name("localgpt")
    return beside if beside.exists() else None


def other_commands(search_path: str, own: Path | None) -> list[Path]:
    """Find executables called ``localgpt`` on `search_path` that are not (a link to) `own`."""
    mine = {os.path.realpath(own)} if own is not None else set()
    mine.add(os.path.realpath(sys.argv[0]))
    found = []
    for folder in search_path.split(os.pathsep):
        candidate = Path(folder or ".") / "localgpt"
        if candidate.is_file() and os.access(candidate, os.X_OK) and os.path.realpath(candidate) not in mine:
            found.append(candidate)
    return found


def _place(state: State) -> Finding:
    from localgpt.monitor.project import check_project

    try:
        folder = check_project(Path.cwd(), state.base_paths)
    except LocalGptError as error:
        return of_error("project", error, mark=warn("", "").mark)
    except OSError as error:
        return fail("project", f"the current folder is gone: {error.strerror}", "cd to a folder that exists")
    return ok("project", f"{folder} can be a project")


def _disk(state: State) -> Iterator[Finding]:
    for name, directory in (("data", state.base_paths.data_dir), ("state", state.base_paths.state_dir)):
        there = next(d for d in (directory, *directory.parents) if d.exists())
        free = shutil.disk_usage(there).free
        text = f"{free >> 20} MiB free for {name} ({there})"
        if free < _LEAST_FREE:
            yield fail("disk", text, "free some space: without it no decision can be logged, so nothing runs")
        elif free < _COMFORTABLE:
            yield warn("disk", text, "free some space before fetching a model")
        else:
            yield ok("disk", text)
