"""The forms of a text that are searched: as it looks, without markup, without anything but letters, turned, decoded.

Views are for matching and never for a context. Each can say which characters of the original a finding came from.
All are made in linear time; what is decoded has a budget, and a text that goes beyond it says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from localgpt.injection.findings import View
from localgpt.injection.linear import linear
from localgpt.injection.places import Cut, Locate, Shrunk, Span
from localgpt.injection.skeleton import skeleton

_MARKUP: Final = re.compile(r"<[!/?a-zA-Z][^<>]{0,256}>")
_ROT13: Final = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyz", b"nopqrstuvwxyzabcdefghijklm")
#: Digits and signs that are written for letters; 1 and l both become i, as the packed patterns expect.
_LEET: Final = bytes.maketrans(b"0134578@$!|l", b"oieastbasiii")
_SIGNS: Final = bytes(c for c in range(128) if not chr(c).isalnum() and chr(c) not in "@$!|")


@dataclass(frozen=True, slots=True)
class Seen:
    """One view: a skeleton in UTF-8. `packed`: letters only. `guess`: it may be nonsense, so only English is tried."""

    view: View
    data: bytes
    locate: Locate
    packed: bool = False
    guess: bool = False


def _shape(text: str) -> bytes:
    return skeleton(text).encode("utf-8", "replace")


def pack(shape: bytes) -> bytes:
    """Letters only: `1gn0r3   p.r.e.v` becomes `ignoreprev`."""
    return shape.translate(_LEET, _SIGNS)


def _packed_shape(text: str) -> bytes:
    return pack(_shape(text))


@cache
def _a_tag() -> Any:  # noqa: ANN401 -- re2 has no types
    return linear(rb"<[!/?a-zA-Z]")


def has_markup(text: str) -> bool:
    """Whether anything in it could be a tag."""
    return "<" in text and _a_tag().search(text.encode("utf-8", "replace")) is not None


def views(text: str, shown: str) -> Iterator[Seen]:
    """Every view of `text` but those that have to be decoded; `shown` is its skeleton."""
    shape = shown.encode("utf-8", "replace")
    locate: Locate = _same if text.isascii() else Shrunk(text, _shape).span
    yield Seen(View.WRITTEN if text.isascii() else View.VISIBLE, shape, locate)
    bare, back = text, _same
    if has_markup(text) and len(bare := _MARKUP.sub("", text)) != len(text):
        back = Cut([match.span() for match in _MARKUP.finditer(text)]).span
        shown = skeleton(bare)
        shape = shown.encode("utf-8", "replace")
        locate = _chain(_same if bare.isascii() else Shrunk(bare, _shape).span, back)
        yield Seen(View.MARKUP, shape, locate)
    packed = Shrunk(bare, _packed_shape).span
    yield Seen(View.PACKED, pack(shape), _chain(packed, back), packed=True)
    turned = shown[::-1].encode("utf-8", "replace")
    yield Seen(View.REVERSED, turned, _turned(turned, locate), guess=True)
    yield Seen(View.ROT13, shape.translate(_ROT13), locate, guess=True)


def _same(start: int, end: int) -> Span:
    return start, end


def _chain(inner: Locate, outer: Locate) -> Locate:
    if outer is _same:
        return inner
    return outer if inner is _same else lambda start, end: outer(*inner(start, end))


def _turned(turned: bytes, locate: Locate) -> Locate:
    """A view from the end has the bytes of each character in their order, so places are counted in characters."""

    def span(start: int, end: int) -> Span:
        after = turned[end:].decode("utf-8", "ignore")
        first = len(after.encode())
        return locate(first, first + end - start)

    return span
