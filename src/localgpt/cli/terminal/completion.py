"""What the Tab key offers: slash commands, names of models, and file names below the project.

File names are foreign: those that would not print exactly as they are are not offered.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localgpt.cli.terminal.escape import is_plain

_MAX_OFFERED: Final = 60
_MAX_LOOKED_AT: Final = 5000


@dataclass(frozen=True, slots=True)
class Offer:
    """One completion: `text` replaces the last `replaces` characters before the cursor."""

    text: str
    replaces: int
    meta: str = ""


class Offers:
    """Finds completions for the text before the cursor."""

    def __init__(self, project: Path, commands: Sequence[tuple[str, str]], models: Callable[[], Sequence[str]]) -> None:
        self._project = project
        self._commands = commands
        self._models = models

    def find(self, before: str, *, asked: bool) -> list[Offer]:
        """Completions; file names only when `asked` (the Tab key), since looking for them costs time."""
        if before.startswith("/") and "\n" not in before and " " not in before:
            return [
                Offer(f"/{name}", len(before), what) for name, what in self._commands if name.startswith(before[1:])
            ]
        if before.startswith("/model "):
            word = before.removeprefix("/model ").lstrip()
            return [Offer(name, len(word)) for name in self._models() if name.startswith(word) and is_plain(name)]
        return list(itertools.islice(self._files(before), _MAX_OFFERED)) if asked else []

    def _files(self, before: str) -> Iterator[Offer]:
        word = before.removeprefix("!").split("\n")[-1].split(" ")[-1]
        directory, _, start = word.rpartition("/")
        try:
            base = Path(f"{directory}/").expanduser() if word.startswith(("/", "~")) else self._project / directory
            with os.scandir(base) as entries:
                names = sorted(_named(entry) for entry in itertools.islice(entries, _MAX_LOOKED_AT))
        except (OSError, RuntimeError):
            return
        for name in names:
            if name.startswith(start) and (start or not name.startswith(".")) and is_plain(name):
                yield Offer(name, len(start))


def _named(entry: os.DirEntry[str]) -> str:
    try:
        return f"{entry.name}/" if entry.is_dir() else entry.name
    except OSError:
        return entry.name
