"""What a text looks like, for matching only: lower case, look-alikes folded, marks and invisible characters gone.

The table is data (`data/skeleton.txt`, made by scripts/injection/skeleton.py from Unicode's NFKD and confusables), so
that the same text has the same skeleton under every Python. Characters map one by one: the skeleton of two texts
joined is their skeletons joined.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

_BLOCK: Final = 128  #: most of most texts is ASCII, and is passed over in blocks


class _Table(dict[int, int | str]):
    """What is not listed stays as it is. Remembered when asked for: a table without it costs an exception each time."""

    def __missing__(self, code: int) -> int:
        self[code] = code
        return code


@cache
def _table() -> _Table:
    entries = files("localgpt.injection").joinpath("data/skeleton.txt").read_text("utf-8").split("\n")
    return _Table({ord(entry[0]): entry[1:] for entry in entries if entry})


def skeleton(text: str) -> str:
    """`text` as it looks; of another length."""
    lowered = text.lower()
    if lowered.isascii():
        return lowered
    table = _table()
    parts = (lowered[at : at + _BLOCK] for at in range(0, len(lowered), _BLOCK))
    return "".join(part if part.isascii() else part.translate(table) for part in parts)
