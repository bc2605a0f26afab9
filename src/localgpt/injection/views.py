"""The forms of a text that are searched: as it looks, without markup, without anything but letters, turned, decoded.

Views are for matching and never for a context. Each can say which characters of the original a finding came from.
All are made in linear time; what is decoded has a budget, and a text that goes beyond it says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from localgpt.injection.findings import View
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


def views(text: str) -> Iterator[Seen]:
    """Every view of `text` but those that have to be decoded."""
    shape = _shape(text)
    plain = len(shape) == len(text)  # byte for byte, so that positions are the text's own
    written = _same if plain else Shrunk(text, _shape).span
    yield Seen(View.WRITTEN if text.isascii() else View.VISIBLE, shape, written)
    unmarked = _MARKUP.sub("", text) if "<" in text else text
    back: Locate = _same
    if len(unmarked) != len(text):
        back = Cut([match.span() for match in _MARKUP.finditer(text)]).span
        shape = _shape(unmarked)
        yield Seen(View.MARKUP, shape, _chain(Shrunk(unmarked, _shape).span, back))
    yield Seen(View.PACKED, pack(shape), _chain(Shrunk(unmarked, _packed_shape).span, back), packed=True)
    turned = _shape(unmarked[::-1])
    size = len(unmarked)
    reverse = Shrunk(unmarked[::-1], _shape).span
    yield Seen(View.REVERSED, turned, _chain(_turn(reverse, size), back), guess=True)
    yield Seen(View.ROT13, shape.translate(_ROT13), _chain(Shrunk(unmarked, _shape).span, back), guess=True)


def _same(start: int, end: int) -> Span:
    return start, end


def _chain(inner: Locate, outer: Locate) -> Locate:
    return inner if outer is _same else lambda start, end: outer(*inner(start, end))


def _turn(inner: Locate, size: int) -> Locate:
    def span(start: int, end: int) -> Span:
        first, last = inner(start, end)
        return size - last, size - first

    return span
