"""A small linear classifier over hashed words, in whole numbers, so that every CPU gives the same score.

Features of a window of words: each word, its beginning and its end; each pair of neighbours, each pair with one word
between, each three in a row. All are hashed into one table of signed bytes (`data/classifier.bin`). The score of a
text is that of its highest window, so that a long document does not dilute one sentence.

The training script (scripts/injection/train.py) computes the same features; docs/model-card.md says what it learned
from and what it is worth. The score advises: nothing is allowed because it is low.
"""

from __future__ import annotations

import json
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate
from math import isqrt
from operator import add, xor
from typing import Final

from localgpt.injection.skeleton import skeleton

BITS: Final = 20
_MASK: Final = (1 << BITS) - 1
_MIX: Final = (2654435761, 2246822519, 3266489917, 668265263, 374761393)
#: Scripts without spaces give one word a character; digits are all the same number; signs come in runs of four;
#: what is no text at all is no word, so that it cannot drown one.
_WORD: Final = re.compile(
    "[a-z]{1,20}+(?![^\x00-\x7f])"  # what most words are; the rest finds the same, and takes three times as long
    "|[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\\W\\d_]{1,20}|\\d{1,20}"
    "|[^\\w\\s\\x00-\\x1f\\x7f-\\x9f\ufffd]{1,4}|_{1,8}"
)
_REMEMBERED: Final = 100_000  #: words whose hashes are kept
_FEATURES: Final = 6  #: a word
#: Groups that would reach beyond the text: three of its last word and two of the word before.
_MISSING: Final = {0: 5, 1: 2}


def word_hashes(word: str) -> tuple[int, int, int, int, int, int, int, int]:
    """Places of one word in the table: itself, its beginning, its end, and five masks for its places in groups."""
    plain = "0" if word[0].isdigit() else word
    whole = zlib.crc32(plain.encode("utf-8", "replace"))
    first = zlib.crc32(f"<{plain[:4]}".encode("utf-8", "replace"))
    last = zlib.crc32(f">{plain[-4:]}".encode("utf-8", "replace"))
    a, b, c, d, e = ((whole * factor >> 20) & _MASK for factor in _MIX)
    return whole & _MASK, first & _MASK, last & _MASK, a, b, c, d, e


def words(shape: str) -> list[str]:
    """The words of a skeleton."""
    return _WORD.findall(shape)


def word_spans(shape: str) -> Iterator[tuple[int, int]]:
    """Where they stand."""
    return (match.span() for match in _WORD.finditer(shape))


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a text: its words, and its score in thousandths of a logit."""

    first: int
    last: int
    milli: int


class _Known(dict[str, int]):
    """A number for each word, which is its place in the columns: its own weight, and its five masks."""

    def __init__(self, weights: array[int]) -> None:
        super().__init__()
        self._weights = weights
        self.own: list[int] = []
        self.masks: tuple[list[int], ...] = ([], [], [], [], [])

    def __missing__(self, word: str) -> int:
        whole, first, last, *masks = word_hashes(word)
        self.own.append(self._weights[whole] + self._weights[first] + self._weights[last])
        for column, mask in zip(self.masks, masks, strict=True):
            column.append(mask)
        number = self[word] = len(self.own) - 1
        return number


class Classifier:
    """Scores texts; immutable but for a bounded memory of words."""

    def __init__(self, data: bytes) -> None:
        """Take the weights: one line of JSON, then a table of signed bytes."""
        head, _, table = data.partition(b"\n")
        header = json.loads(head)
        self._weights = array("b", table)
        self._scale = int(header["scale"])
        self._bias = int(header["bias_milli"])
        self.windows: tuple[int, ...] = tuple(header["windows"])
        self.threshold: int = int(header["threshold_milli"])
        self.version: str = str(header["version"])
        self._known = _Known(self._weights)
        if len(self._weights) != 1 << BITS:
            raise ValueError("the classifier's table has another size")

    def scores(self, shape: str) -> Iterator[Window]:
        """Every window of a skeleton, of each length that the classifier knows."""
        found = words(shape)
        if found:
            sums = list(accumulate(self._weighed(found), initial=0))
            seen = set()
            for span in spans(len(found), self.windows):
                if span not in seen:
                    seen.add(span)
                    yield Window(*span, self._milli(sums[span[1]] - sums[span[0]], *span, len(found)))

    def _weighed(self, found: list[str]) -> Iterable[int]:
        """The weight of each word with the groups that it begins."""
        if len(self._known) > _REMEMBERED:
            self._known = _Known(self._weights)
        known = self._known
        numbers = list(map(known.__getitem__, found))
        own = map(known.own.__getitem__, numbers)
        a, b, c, d, e = (list(map(column.__getitem__, numbers)) for column in known.masks)
        weight = self._weights.__getitem__
        pairs = list(map(xor, a, b[1:]))
        apart = map(xor, c, d[2:])
        threes = map(xor, pairs, e[2:])
        with_pairs = map(add, own, [*map(weight, pairs), 0])
        return map(add, map(add, with_pairs, [*map(weight, apart), 0, 0]), [*map(weight, threes), 0, 0])

    def _milli(self, total: int, first: int, last: int, count: int) -> int:
        missing = _MISSING.get(count - last, 0) if count > 1 else 3
        features = _FEATURES * (last - first) - missing
        return total * self._scale // isqrt(max(1, features) << 16) + self._bias


def spans(count: int, lengths: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Windows of each length over `count` words, half overlapping; the last one ends with the text."""
    for length in lengths:
        yield from ((start, start + length) for start in range(0, count - length, length // 2))
        yield max(0, count - length), count


@cache
def classifier() -> Classifier:
    """The one that is shipped, loaded at its first use."""
    return Classifier(files("localgpt.injection").joinpath("data/classifier.bin").read_bytes())


def score(text: str) -> int:
    """The highest window of `text`, in thousandths of a logit above the threshold; below zero is unremarkable."""
    loaded = classifier()
    return max((window.milli for window in loaded.scores(skeleton(text))), default=-99_999) - loaded.threshold
