"""What a text looks like, for matching only: lower case, look-alikes folded, marks and invisible characters gone.

The table is data (`data/skeleton.txt`, made by scripts/injection/skeleton.py from Unicode's NFKD and confusables), so
that the same text has the same skeleton under every Python. Characters map one by one: the skeleton of two texts
joined is their skeletons joined.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

_SIZE: Final = 0x1FC00  #: beyond lie no letters but rare ideographs, and the tags, which `visible` handles


@cache
def _table() -> list[int | str | None]:
    # A list, not a dictionary: `str.translate` pays for an exception at every character that a dictionary lacks.
    table: list[int | str | None] = list(range(_SIZE))
    for entry in files("localgpt.injection").joinpath("data/skeleton.txt").read_text("utf-8").split("\n"):
        if entry:
            table[ord(entry[0])] = entry[1:]
    return table


def skeleton(text: str) -> str:
    """`text` as it looks; of another length."""
    lowered = text.lower()
    return lowered if lowered.isascii() else lowered.translate(_table())
