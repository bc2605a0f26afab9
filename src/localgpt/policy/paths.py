"""Comparing absolute paths with roots, names and glob patterns. Pure: nothing is looked up on disk.

Two readings exist on purpose. What *denies* compares without regard to case and Unicode composition, because some file
systems do so too; what *allows* compares exactly.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

_MAX_PATH = 4096


def is_resolved(path: str) -> bool:
    """Whether `path` is absolute, without empty, `.` or `..` parts, without control characters, and of sane length."""
    if path == "/":
        return True
    if not path.startswith("/") or len(path) > _MAX_PATH or any(c < " " or c == "\x7f" for c in path):
        return False
    return not {"", ".", ".."}.intersection(path[1:].split("/"))


def inside(path: str, root: str) -> bool:
    """Whether `path` is `root` or beneath it, compared exactly. An unresolved root contains nothing."""
    if not is_resolved(root):
        return False
    return path == root or path.startswith(root if root == "/" else root + "/")


def inside_any(path: str, roots: Iterable[str]) -> bool:
    """Whether one of `roots` contains `path`, compared exactly."""
    return any(inside(path, root) for root in roots)


def shadowed_by_any(path: str, roots: tuple[str, ...]) -> bool:
    """As `inside_any`, but without regard to case and composition: for what denies."""
    folded = _folded_roots(roots)
    return any(ancestor in folded for ancestor in _ancestors(fold(path)))


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """The spelling under which a case-insensitive, normalising file system would find the same file."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def has_name(path: str, names: tuple[str, ...], *, but_not: tuple[str, ...] = ()) -> bool:
    """Whether any part of `path` matches one of the name globs and none of the exceptions, without regard to case."""
    wanted, exceptions = _names(names), _names(but_not)
    return any(wanted.match(part) and not exceptions.match(part) for part in fold(path).split("/"))


@dataclass(frozen=True, slots=True)
class _Names:
    """Name globs, folded; plain names apart, because most are plain."""

    plain: frozenset[str]
    globs: tuple[str, ...]

    def match(self, part: str) -> bool:
        return part in self.plain or any(glob_part(glob, part) for glob in self.globs)


@lru_cache(maxsize=64)
def _names(names: tuple[str, ...]) -> _Names:
    folded = {fold(name) for name in names}
    globs = {name for name in folded if "*" in name or "?" in name}
    return _Names(frozenset(folded - globs), tuple(sorted(globs)))


@lru_cache(maxsize=64)
def _folded_roots(roots: tuple[str, ...]) -> frozenset[str]:
    return frozenset(fold(root) for root in roots if is_resolved(root))


def _ancestors(path: str) -> Iterator[str]:
    """`path` itself and every directory above it."""
    yield path
    while (slash := path.rfind("/")) > 0:
        path = path[:slash]
        yield path
    yield "/"


def glob_path(pattern: str, path: str) -> bool:
    """Match an absolute pattern against an absolute path: `**` is any number of parts, `*` and `?` stay inside one.

    A pattern that matches a directory matches everything beneath it. Time is linear in the product of the lengths.
    """
    parts = path.split("/")[1:]
    reachable = {0}
    for piece in pattern.split("/")[1:]:
        if piece == "**":
            reachable = set(range(min(reachable), len(parts) + 1)) if reachable else set()
        else:
            reachable = {i + 1 for i in reachable if i < len(parts) and glob_part(piece, parts[i])}
    return bool(reachable)


def glob_part(pattern: str, part: str) -> bool:
    """Match `*` (any run) and `?` (one character) within one name, in linear space and without backtracking blow-up."""
    star, restart, i, j = -1, 0, 0, 0
    while i < len(part):
        if j < len(pattern) and pattern[j] == "*":
            star, restart, j = j, i, j + 1
        elif j < len(pattern) and pattern[j] in {"?", part[i]}:
            i, j = i + 1, j + 1
        elif star >= 0:
            restart += 1
            i, j = restart, star + 1
        else:
            return False
    return not pattern[j:].strip("*")
