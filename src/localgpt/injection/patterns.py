"""Phrases that order a model about, in some thirty languages, as linear-time patterns over skeletons.

`data/phrases.json` has them by language and family: a space stands for any separators, ``~`` for a short gap, and
``( | )`` and ``?`` are what they are in regular expressions. Each phrase goes through `skeleton` itself, so that it
meets the text on the same ground. Gaps are short on purpose: what a long one adds in states is what an attacker would
use to slow the search down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, Final

from localgpt.injection.linear import linear
from localgpt.injection.skeleton import skeleton

MAX_HITS: Final = 32  #: of one view
_SEPARATOR: Final = r"[\x00-\x2f\x3a-\x60\x7b-\x7f]"  #: every ASCII sign that is neither a letter nor a digit
_BETWEEN: Final = rf"{_SEPARATOR}+"
_WORDS: Final = rf"(?:[0-9a-z\x80-\xff]*{_BETWEEN}){{1,3}}"  #: the rest of this word, and at most two more
_LETTERS: Final = r"(?:[\xe0-\xef][\x80-\xbf]{2}|[\x00-\x7f]){0,6}"  #: where words are not set apart
_PACKED: Final = r".{0,10}"
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")


class Family(StrEnum):
    """What a phrase is after."""

    OVERRIDE = "override"  #: drop what you were told
    REVEAL = "reveal"  #: tell what you were told
    SECRECY = "secrecy"  #: do not tell the user
    TASK = "task"  #: here is a new task, here is somebody new who gives you orders
    ROLE = "role"  #: you are somebody else now; everyday words too, so it counts for little


_SPACED: Final = frozenset({Family.TASK, Family.ROLE})  #: not searched where words have no ends


def find(view: bytes, *, packed: bool = False, english: bool = False) -> Iterator[tuple[Family, int, int]]:
    """Byte spans of the first `MAX_HITS` phrases in a view.

    Args:
        view: a skeleton in UTF-8.
        packed: nothing but letters is left in it, digits read as letters.
        english: search the English phrases only, for views that are a guess.
    """
    # No groups: with them re2 would walk each match once more with a slower engine.
    for match in islice(_compiled(None, packed, english).finditer(view), MAX_HITS):
        start, end = match.span()
        found = view[start:end]
        family = next((f for f in Family if _compiled(f, packed, english).search(found)), Family.OVERRIDE)
        yield family, start, end


@cache
def _compiled(family: Family | None, packed: bool, english: bool) -> Any:  # noqa: ANN401 -- re2 has no types
    wanted = [
        phrase
        for language, families in _phrases().items()
        for name, phrases in families.items()
        if (not english or language == "en") and family in (None, name) and not (packed and name in _SPACED)
        for phrase in phrases
    ]
    alternatives = "|".join(_regex(phrase, packed=packed) for phrase in wanted)
    return linear((alternatives or r"\A\b\B").encode("latin-1"))


@cache
def _phrases() -> dict[str, dict[str, list[str]]]:
    loaded: dict[str, dict[str, list[str]]] = json.loads(
        files("localgpt.injection").joinpath("data/phrases.json").read_text("utf-8")
    )
    return loaded


def _regex(phrase: str, *, packed: bool) -> str:
    shape = skeleton(phrase)
    gap = _LETTERS if _UNSPACED.search(shape) else _WORDS
    if packed:  # signs are gone from it, and what was one of 1 and l has become i
        shape = shape.replace("['\"`]?", "").replace("[,.]", "").replace(" ?:", ":")
    signs = {" ": "" if packed else _BETWEEN, "~": _PACKED if packed else gap, "(": "(?:"}
    letters = {"l": "[il]", ":": ""} if packed else {}
    out = "".join((signs | letters).get(char, char) for char in shape)
    if not packed and shape.isascii():
        out = rf"\b(?:{out})[a-z]{{0,4}}"
    return out.encode().decode("latin-1")
