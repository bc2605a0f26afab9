"""The project folder of a session: which folders may be one, and which the user trusts."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from localgpt import canon
from localgpt.config import Paths
from localgpt.errors import ConfigError
from localgpt.policy import Scope, is_secret_name
from localgpt.policy.builtin import builtin_policy
from localgpt.policy.paths import fold, glob_path
from localgpt.sandbox.faults import RootNotGrantable
from localgpt.sandbox.toolchains import is_inside

_MAX_ENTRIES: Final = 5000
_MAX_DEPTH: Final = 8
_MAX_PROTECTED: Final = 200  #: each is a mount, and so is every folder above it
_NOT_SEARCHED: Final = frozenset({".git", "node_modules", ".venv", "venv", "target", "__pycache__"})
_KERNELS: Final = ("/proc", "/sys", "/dev", "/run")  #: processes, devices and sockets, never files of the user's
_PACKAGE: Final = Path(__file__).resolve().parent.parent


class ProjectRefused(ConfigError):  # noqa: N818 -- named after the condition
    """The folder cannot be a project, whatever the user says."""

    code = "project.refused"


class ProjectHoldsRuntime(ProjectRefused):
    """The interpreter, packages, configuration, state or key lie inside: the agent could rewrite what confines it."""

    code = "project.holds-runtime"


@dataclass(frozen=True, slots=True)
class Project:
    """One folder, resolved, and whether its files are the user's own."""

    path: Path
    trusted: bool
    extra: tuple[Path, ...] = ()

    @property
    def roots(self) -> tuple[str, ...]:
        return (str(self.path), *(str(path) for path in self.extra))


def runtime_places(paths: Paths) -> tuple[Path, ...]:
    """What this process runs from and believes: none of it may lie inside a write root."""
    places = (
        Path(sys.executable).parent,
        Path(sys.prefix),
        Path(os.path.realpath(sys.executable)),
        Path(sys.base_prefix),
        _PACKAGE,
        paths.config_dir,
        paths.data_dir,
        paths.state_dir,
        paths.cache_dir,
        paths.workspace,
        paths.device_key,
    )
    return tuple(dict.fromkeys(Path(os.path.realpath(place)) for place in places))


def own_places(paths: Paths) -> tuple[Path, ...]:
    """What no tool may change: all of `runtime_places` but the workspace, where the policy asks file by file."""
    workspace = Path(os.path.realpath(paths.workspace))
    kept = [place for place in runtime_places(paths) if not workspace.is_relative_to(place)]
    return (*kept, Path(os.path.realpath(paths.models_dir)))


def check_project(folder: Path, paths: Paths) -> Path:
    """Resolve `folder` and check that it may be a project.

    Raises:
        ProjectRefused: missing, not a folder, the root, the home or a folder that contains the home, or a place of
            the runtime's own.
        ProjectHoldsRuntime: it contains the interpreter, the packages, the configuration, the state or the key.
    """
    try:
        project = folder.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise ProjectRefused(
            f"the folder {folder} cannot be used: {error}", cure="start in a folder that exists"
        ) from error
    if not project.is_dir():
        raise ProjectRefused(f"{project} is not a folder", cure="start in a folder")
    home = Path(os.path.realpath(paths.home))
    if project == home or home.is_relative_to(project):
        what = "your home folder" if project == home else "a folder above your home"
        raise ProjectRefused(
            f"{project} is {what}; an agent that may write there could change how every program of yours starts",
            cure="mkdir -p ~/projects/first && cd ~/projects/first, then start again there",
        )
    for own in (paths.config_dir, paths.data_dir, paths.state_dir, paths.workspace):
        if project.is_relative_to(os.path.realpath(own)):
            raise ProjectRefused(
                f"{project} is inside {own}, which belongs to LocalGPT", cure="start in another folder"
            )
    for place in runtime_places(paths):
        if place.is_relative_to(project):
            raise ProjectHoldsRuntime(
                f"{project} contains {place}, which LocalGPT itself runs from or believes",
                cure="start in another folder, or install LocalGPT outside this one",
            )
    return project


def check_roots(read: Iterable[str], write: Iterable[str], scope: Scope, places: Iterable[Path]) -> None:
    """Check folders that a configuration or one call adds to a plan; the project itself is `check_project`'s.

    What is read may hold secrets, which the plan denies one by one, but not the home: too much of it has no name here.

    Raises:
        RootNotGrantable: a folder of the kernel's; the home or one above it; or, for writing, one that holds a place of
            the runtime's own or a file that programs run at their start.
    """
    own = [str(place) for place in places]
    read, write = [os.path.realpath(path) for path in read], [os.path.realpath(path) for path in write]
    for root in (*read, *write):
        for kernel in _KERNELS:
            if is_inside(root, kernel) or is_inside(kernel, root):
                raise RootNotGrantable(f"{root} would open {kernel} to commands", cure="name a folder of files")
        if is_inside(scope.home, root):
            raise RootNotGrantable(f"{root} would open the home folder to commands", cure="name a folder further down")
    kept = [path for path in (*own, *scope.protected) if not is_inside(path, scope.project)]
    for root in write:
        for path in kept:
            if is_inside(path, root) or is_inside(root, path):
                raise RootNotGrantable(
                    f"{root} would let commands change {path}, which other programs run or believe",
                    cure="name a folder that holds nothing but your files",
                )


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, nearest to the top first. `complete` is False when it ended at one of its bounds.

    `secrets`: by their names, or because a rule denies to read them. `protected`: because a rule denies to write them.
    """

    secrets: tuple[str, ...]
    protected: tuple[str, ...]
    complete: bool


def search(roots: Iterable[str], unreadable: Iterable[str] = (), unwritable: Iterable[str] = ()) -> Found:
    """Find the files of a project that commands must not reach, or must not change.

    Bounded to `_MAX_ENTRIES` entries and `_MAX_DEPTH` folders deep, because it runs before every command; what lies
    beyond, or in folders of installed packages, is denied to the file tools and not hidden from commands.

    Args:
        roots: the project's folders.
        unreadable: absolute patterns of what rules deny to read.
        unwritable: the same for writing.
    """
    read, write = _Patterns(unreadable), _Patterns(unwritable)
    secrets = [path for path in read.plain if os.path.lexists(path)]
    protected = [*write.plain]
    entries, complete = 0, True
    folders = [(root, 0) for root in roots]
    while folders:
        folder, depth = folders.pop(0)
        try:
            with os.scandir(folder) as listing:
                children = list(itertools.islice(listing, _MAX_ENTRIES + 1))
        except OSError:
            continue
        for child in children:
            entries += 1
            if entries > _MAX_ENTRIES:
                return Found(tuple(secrets), tuple(protected), complete=False)
            if is_secret_name(child.name) or read.match(child.path):
                secrets.append(child.path)
                continue
            if write.match(child.path) and len(protected) < _MAX_PROTECTED:
                protected.append(child.path)
            if child.name not in _NOT_SEARCHED and child.is_dir(follow_symlinks=False):
                complete = complete and depth < _MAX_DEPTH
                if depth < _MAX_DEPTH:
                    folders.append((child.path, depth + 1))
    return Found(tuple(secrets), tuple(protected), complete)


class _Patterns:
    """Absolute patterns of deny rules: those that name one path, and the others."""

    def __init__(self, patterns: Iterable[str]) -> None:
        given = tuple(patterns)
        self._globs = tuple(fold(pattern) for pattern in given if set("*?") & set(pattern))
        self.plain = tuple(pattern for pattern in given if not set("*?") & set(pattern))

    def match(self, path: str) -> bool:
        """Without regard to case, as every rule that denies."""
        return bool(self._globs) and any(glob_path(pattern, fold(path)) for pattern in self._globs)


def protected_files(roots: Iterable[str]) -> tuple[str, ...]:
    """Where a project's protected names are, or would be: what others run when they work in it, and what guides them.

    `.git` is one only as a file, which says where the real one is: git itself must write into the folder.
    """
    table = builtin_policy().table
    names = [*table.project_protected, *(name for name in table.protected_names if name != ".git")]
    links = [path for root in roots if Path(path := f"{root}/.git").is_file()]
    return (*(f"{root}/{name}" for root in roots for name in names), *links)


class Trust(StrEnum):
    """What the user said of a folder."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    UNKNOWN = "unknown"


class TrustStore:
    """The user's answers, one canonical JSON object of paths; damaged or unreadable means that nothing is trusted."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def look_up(self, folder: Path) -> Trust:
        """What was said of exactly this folder; one inside a trusted folder may be a stranger's clone."""
        said = self._read().get(os.fsencode(folder).hex())
        return Trust.UNKNOWN if said is None else Trust(said)

    def remember(self, folder: Path, answer: Trust) -> None:
        """Write the answer down, durable before it counts."""
        known = self._read() | {os.fsencode(folder).hex(): answer.value}
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(canon.encode(dict(known)))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._file)

    def _read(self) -> dict[str, str]:
        try:
            value = canon.decode_object(self._file.read_bytes())
        except (OSError, canon.NotCanonical):
            return {}
        answers = {trust.value for trust in Trust}
        return {key: said for key, said in value.items() if isinstance(said, str) and said in answers}
