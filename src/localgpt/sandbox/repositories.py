"""Which files of a git repository make git execute something, and whether what a command wrote into one may stay.

Git obeys a repository that it finds above the folder it is started in: a `.git` folder, a `.git` file that names
another folder, or a folder that merely looks like one (a bare repository, or what lies in `.git/modules` and
`.git/worktrees`). Of each it obeys `config`, `config.worktree`, `hooks` and, if there is one, the repository that
`commondir` names.

Source: gitrepository-layout(5), githooks(5), setup.c of git ("is_git_directory").
"""

# Paths are text, and looked up through a descriptor.
# ruff: noqa: PTH112, PTH118, PTH119, PTH120

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Final

from localgpt.sandbox.gitconfig import NotUnderstood, Setting, not_harmless, parse_config
from localgpt.sandbox.names import fold

_CONFIGS: Final = frozenset({"config", "config.worktree"})
_POINTERS: Final = frozenset({".git", "commondir"})
_PARTS: Final = frozenset({"head", "objects", "refs"})
NAMES: Final = _CONFIGS | _POINTERS | _PARTS | {"hooks"}  #: folded; beside what lies in a folder called hooks
_OBEYED: Final = ("config", "config.worktree", "commondir", "hooks")
_GITDIR: Final = "gitdir:"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`look_at`: absolute paths that this place makes matter. `leads_to`: where git would go on, "" for nowhere."""

    harmless: bool = True
    look_at: tuple[str, ...] = ()
    leads_to: str = ""


def may_matter(path: str) -> bool:
    """Whether, by its name, git could obey it when its folder is a repository."""
    parent, _, name = path.rpartition("/")
    name = fold(name)
    return name in NAMES or fold(parent.rpartition("/")[2]) == "hooks"


def obeyed_now(path: str, folder: int) -> bool:
    """Whether git obeys this file, given the folder that it is in as it is now."""
    name = fold(path.rpartition("/")[2])
    if name in _CONFIGS | {"commondir", "hooks"}:
        return _is_repository(path, folder)
    return name == ".git" or (_in_hooks(path) and _above_is_repository(path, folder))


def judge(path: str, folder: int, name: str, now: tuple[int, bytes | None] | None, known: bytes | None) -> Verdict:
    """What to make of a changed place.

    Args:
        path: the place, absolute.
        folder: a descriptor of its folder.
        name: its name there.
        now: mode and content (of a link: its target; None: too large); None for a folder.
        known: its content before, None when it is new.
    """
    folded = fold(name)
    if folded == ".git" or (folded == "commondir" and _has(folder, "HEAD")):
        return _pointer(path, folded, now)
    if folded in _CONFIGS and _is_repository(path, folder):
        return Verdict(_is_regular(now) and now is not None and _stays_harmless(now[1], known))
    if folded == "hooks" and _is_repository(path, folder):
        return Verdict(now is None, (path,) if now is None else ())
    if folded in _PARTS and _is_repository(path, folder):
        return Verdict(look_at=tuple(f"{os.path.dirname(path)}/{each}" for each in _OBEYED))
    if _in_hooks(path) and _above_is_repository(path, folder):
        return Verdict(now is None or folded.endswith(".sample"))
    return Verdict()


def hooks_elsewhere(root: str) -> tuple[str, ...]:
    """Files and folders that the configuration of the repository at `root` names as hooks, or as more configuration."""
    try:
        with open(os.path.join(root, ".git", "config"), "rb") as file:  # noqa: PTH123 -- a FIFO cannot be a repository's
            settings = parse_config(file.read(1 << 20).decode("utf-8", "surrogateescape"))
    except (OSError, NotUnderstood):
        return ()
    found = []
    for each in settings:
        if (each.section, each.name) == ("core", "hookspath"):
            found.append(os.path.join(root, each.value))
        elif each.section in {"include", "includeif"} and each.name == "path":
            found.append(os.path.join(root, ".git", each.value))
    return tuple(os.path.normpath(path) for path in found if "\0" not in path)


def read_file(folder: int, name: str, most: int) -> tuple[bytes | None, bytes]:
    """Content of a regular file, None when it is larger than `most`, and its SHA-256.

    No link is followed, and no pipe waited for.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(most + 1)
        digest = hashlib.sha256(content)
        while len(content) > most and (more := file.read(1 << 20)):
            digest.update(more)
    return (content if len(content) <= most else None), digest.digest()


def _pointer(path: str, folded: str, now: tuple[int, bytes | None] | None) -> Verdict:
    """A `.git` file or a `commondir`: both name a folder that git obeys."""
    if now is None:
        return Verdict()
    if not _is_regular(now) or now[1] is None:
        return Verdict(harmless=False)
    said = now[1].decode("utf-8", "surrogateescape").rstrip("\r\n")
    if folded == ".git":
        if not said.startswith(_GITDIR):
            return Verdict()  # git refuses it
        said = said.removeprefix(_GITDIR).lstrip(" ")
    target = os.path.realpath(os.path.join(os.path.dirname(path), said)) if "\0" not in said else ""
    if not os.path.isdir(target):
        return Verdict(harmless=False)  # it could be made later, where nobody looks
    return Verdict(look_at=(target, *(f"{target}/{each}" for each in _OBEYED)), leads_to=target)


def _stays_harmless(now: bytes | None, known: bytes | None) -> bool:
    """Whether a configuration holds nothing but harmless settings and those that it held before."""
    try:
        return now is not None and _doubtful(now) <= (frozenset() if known is None else _doubtful(known))
    except NotUnderstood:
        return False


def _doubtful(content: bytes) -> frozenset[Setting]:
    return not_harmless(parse_config(content.decode("utf-8", "surrogateescape")))


def _is_regular(now: tuple[int, bytes | None] | None) -> bool:
    return now is not None and stat.S_ISREG(now[0])


def _in_hooks(path: str) -> bool:
    return fold(path.rpartition("/")[0].rpartition("/")[2]) == "hooks"


def _above_is_repository(path: str, folder: int) -> bool:
    above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return _is_repository(os.path.dirname(path), above)
    finally:
        os.close(above)


def _is_repository(path: str, folder: int) -> bool:
    """Whether git could take the folder that `path` is in for a repository, or for what one shares with its worktrees.

    One of the right name is, whatever it lacks: it may be completed where nobody looks for the rest.
    """
    if fold(os.path.basename(os.path.dirname(path))) == ".git":
        return True
    return (_has(folder, "objects") and _has(folder, "refs")) or (_has(folder, "HEAD") and _has(folder, "commondir"))


def _has(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True
