"""What a walk through folders leaves out: secrets by their names, and what the user's rules deny to be read.

Part of the confined file worker: standard library only, relative imports only. Names and patterns mean what they mean
to the policy where it denies: case and composition make no difference.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Any, Final

_NOTHING: Final[dict[str, list[str]]] = {"names": [], "but_not": [], "paths": []}


class Skip:
    """A request's `skip`, and how much of it was met. `names` and `but_not` match one part, `paths` are absolute."""

    def __init__(self, request: dict[str, Any]) -> None:
        asked = request.get("skip") or _NOTHING
        self._names = [_part(fold(str(glob))) for glob in asked["names"]]
        self._but_not = [_part(fold(str(glob))) for glob in asked["but_not"]]
        self._paths = [_path(fold(str(glob))) for glob in asked["paths"]]
        self.count = 0

    def keep(self, folder: str, entries: list[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
        """`entries` of `folder` (absolute) without those to leave out, which are counted."""
        kept = [entry for entry in entries if not self._is_met(folder, entry.name)]
        self.count += len(entries) - len(kept)
        return kept

    @property
    def notice(self) -> str:
        """What to say of it, "" when nothing was left out."""
        return f"; {self.count} left out, as secrets or by the policy" if self.count else ""

    def _is_met(self, folder: str, name: str) -> bool:
        part = fold(name)
        if any(glob.fullmatch(part) for glob in self._names) and not any(g.fullmatch(part) for g in self._but_not):
            return True
        if not self._paths:
            return False
        path = fold(f"{folder.rstrip('/')}/{name}")
        return any(glob.fullmatch(path) for glob in self._paths)


def fold(text: str) -> str:
    """The spelling under which a case-insensitive, normalising file system would find the same file."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _part(glob: str) -> re.Pattern[str]:
    return re.compile(_expression(glob), re.DOTALL)


def _path(glob: str) -> re.Pattern[str]:
    """`**` is any number of parts, `*` and `?` stay inside one; a folder that is met covers everything beneath."""
    pieces = ["(?:/[^/]*)*" if piece == "**" else "/" + _expression(piece) for piece in glob.strip("/").split("/")]
    return re.compile("".join(pieces) + "(?:/.*)?", re.DOTALL)


def _expression(glob: str) -> str:
    runs = re.sub(r"\*+", "*", glob)
    return "".join("[^/]*" if c == "*" else "[^/]" if c == "?" else re.escape(c) for c in runs)
