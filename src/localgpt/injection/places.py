"""From positions in what was made of a text back to positions in the text, computed only when something was found."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from itertools import accumulate
from typing import Final

_BLOCK: Final = 1024

Span = tuple[int, int]
#: From a span in a view to the span in the text that it came from.
Locate = Callable[[int, int], Span]


class Shrunk:
    """Places in ``shrink(text)``, where `shrink` works on each character by itself, so that its lengths add up."""

    def __init__(self, text: str, shrink: Callable[[str], bytes]) -> None:
        self._text = text
        self._shrink = shrink

    @cached_property
    def _ends(self) -> list[int]:
        text, shrink = self._text, self._shrink
        return list(accumulate(len(shrink(text[i : i + _BLOCK])) for i in range(0, len(text), _BLOCK)))

    def at(self, position: int) -> int:
        """Index of the character that made the byte at `position`."""
        block = bisect_right(self._ends, position)
        if block == len(self._ends):
            return len(self._text)
        start = block * _BLOCK
        rest = position - (self._ends[block - 1] if block else 0)
        low, high = 0, min(_BLOCK, len(self._text) - start)
        while low < high:
            middle = (low + high) // 2
            if len(self._shrink(self._text[start : start + middle + 1])) > rest:
                high = middle
            else:
                low = middle + 1
        return start + low

    def span(self, start: int, end: int) -> Span:
        """The characters that made the bytes from `start` to `end`."""
        return self.at(start), min(len(self._text), self.at(end - 1) + 1)


class Cut:
    """Places in a text of which spans were taken out."""

    def __init__(self, spans: list[Span]) -> None:
        self._at: list[int] = []
        self._gone = [0]
        for start, end in spans:
            self._at.append(start - self._gone[-1])
            self._gone.append(self._gone[-1] + end - start)

    def at(self, position: int) -> int:
        """Where the character at `position` stood."""
        return position + self._gone[bisect_right(self._at, position)]

    def span(self, start: int, end: int) -> Span:
        """Where a stretch stood, what was taken out of its middle included."""
        return self.at(start), self.at(end - 1) + 1


def characters(data: bytes, span: Span) -> Span:
    """The code points behind a span of UTF-8."""
    start, end = span
    first = start if data[:start].isascii() else len(data[:start].decode("utf-8", "ignore"))
    return first, first + len(data[start:end].decode("utf-8", "ignore"))
