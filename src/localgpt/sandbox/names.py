"""Names that other programs obey: which of them are protected, and which files the host executes later.

The lists are data, ``sandbox/names.toml``. Comparison is without regard to case, composition and invisible characters,
because a file system, or the next machine that the project is copied to, may do the same.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from localgpt.sandbox.faults import NotConfined

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_ANY_EXECUTE: Final = 0o111


@dataclass(frozen=True, slots=True)
class Names:
    """The shipped lists; see the comments of the file for what each means."""

    held: tuple[str, ...]
    found: tuple[str, ...]
    git_held: tuple[str, ...]
    git_found: tuple[str, ...]
    not_searched: frozenset[str]
    not_searched_in_git: frozenset[str]
    git_harmless: tuple[str, ...]
    git_shared: tuple[str, ...]
    executed: tuple[str, ...]
    executed_folders: tuple[str, ...]


@cache
def shipped_names() -> Names:
    """Read the lists once.

    Raises:
        NotConfined: the file is missing or damaged.
    """
    try:
        tree = tomllib.loads(shipped_file("names.toml"))
        protected, git, executed = tree["protected"], tree["git"], tree["executed-later"]
        return Names(
            held=tuple(protected["held"]),
            found=tuple(protected["found"]),
            git_held=tuple(protected["git_held"]),
            git_found=tuple(protected["git_found"]),
            not_searched=frozenset(map(fold, protected["not_searched"])),
            not_searched_in_git=frozenset(map(fold, protected["not_searched_in_git"])),
            git_harmless=tuple(git["harmless"]),
            git_shared=tuple(git["shared"]),
            executed=tuple(executed["names"]),
            executed_folders=tuple(executed["folders"]),
        )
    except (KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise NotConfined(f"the shipped list of names is damaged: {error}", cure="install the program again") from error


def shipped_file(name: str) -> str:
    """Text of one data file of ``sandbox/``, in the installed package or the source tree.

    Raises:
        NotConfined: it is not there.
    """
    for directory in (_PACKAGE / "data" / "sandbox", _PACKAGE.parent.parent / "sandbox"):
        try:
            return (directory / name).read_text("utf-8")
        except OSError:
            continue
    raise NotConfined(f"the shipped file {name} is missing", cure="install the program again")


def fold(name: str) -> str:
    """The spelling under which a careless file system would find the same file."""
    return name.lower() if name.isascii() else _fold(name)


@lru_cache(maxsize=8192)
def _fold(name: str) -> str:
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", visible).casefold())


class ProtectedNames:
    """Finds in a path the first part that is a protected name. Names are relative, of one or more parts."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_first: dict[str, list[tuple[str, ...]]] = {}
        for name in names:
            parts = tuple(map(fold, name.split("/")))
            self._by_first.setdefault(parts[0], []).append(parts)

    def find(self, relative: str) -> str | None:
        """`relative` up to and with the protected name in it, None when there is none."""
        parts = relative.split("/")
        for index, part in enumerate(parts):
            for name in self._by_first.get(fold(part), ()):
                end = index + len(name)
                if tuple(map(fold, parts[index:end])) == name:
                    return "/".join(parts[:end])
        return None

    @property
    def last_parts(self) -> frozenset[str]:
        """The folded last part of each name: what is called otherwise is no protected name, but may lie in one."""
        return frozenset(name[-1] for names in self._by_first.values() for name in names)


def is_executed_later(relative: str, mode: int) -> bool:
    """Whether the host is likely to execute this file later: by its name, its folder or its mode."""
    parts = fold(relative).split("/")
    if mode & _ANY_EXECUTE or _executed_names().match(parts[-1]):
        return True
    return len(parts) > 1 and ("/".join(parts[-3:-1]) in _executed_folders() or parts[-2] in _executed_folders())


@cache
def _executed_names() -> re.Pattern[str]:
    return re.compile("|".join(translate(fold(name)) for name in shipped_names().executed))


@cache
def _executed_folders() -> frozenset[str]:
    return frozenset(map(fold, shipped_names().executed_folders))
