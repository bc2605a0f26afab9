"""Look-alike characters folded to ASCII, one for one, so that positions stay. For matching only, never for the context.

Source: Unicode confusables.txt (the single-character part that concerns Latin letters and the signs of chat templates).
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from typing import Final

_LETTERS: Final = {
    "a": "аαɑ", "b": "Ьƅ", "c": "сϲ", "d": "ԁ", "e": "еҽ", "g": "ɡց", "h": "һհ", "i": "іιıɩ", "j": "јϳ", "k": "κк",
    "l": "ӏⅼ", "m": "м", "n": "ոп", "o": "оοօ", "p": "рρ", "q": "ԛ", "r": "гᴦ", "s": "ѕꜱ", "t": "тτ", "u": "υս",
    "v": "ѵν", "w": "ԝω", "x": "хχ", "y": "уγ", "z": "ᴢ", "A": "АΑ", "B": "ВΒ", "C": "СϹ", "E": "ЕΕ", "H": "НΗ",
    "I": "ІΙӀ", "J": "Ј", "K": "КΚ", "M": "МΜ", "N": "Ν", "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ",
    "X": "ХΧ", "Y": "ҮΥ", "Z": "Ζ",
}  # fmt: skip
_SIGNS: Final = {
    "<": "〈⟨《≺˂ᐸ❮﹤⧼", ">": "〉⟩》≻˃ᐳ❯﹥⧽", "|": "∣│┃ǀ❘❙⏐", "/": "⁄∕╱", "_": "▁‗﹍﹎", "[": "❲⦗", "]": "❳⦘",
    ":": "：﹕∶ː",
    " ": "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
}  # fmt: skip


@cache
def table() -> dict[int, int]:
    """From look-alike to ASCII, as `str.translate` takes it."""
    found = {0xFF01 + i: 0x21 + i for i in range(94)}
    for block in (range(0x1D400, 0x1D800), range(0x24B6, 0x24EA), range(0x2100, 0x2150)):
        for code in block:
            plain = unicodedata.normalize("NFKC", chr(code))
            if len(plain) == 1 and plain.isascii():
                found[code] = ord(plain)
    for plain, alike in (*_LETTERS.items(), *_SIGNS.items()):
        found.update(dict.fromkeys(map(ord, alike), ord(plain)))
    return found


def fold(text: str) -> str:
    """`text` with look-alikes as ASCII; the same length."""
    if text.isascii() or distinct(text).isdisjoint(_looked_for()):
        return text
    return text.translate(_filled())


@lru_cache(maxsize=8)
def distinct(text: str) -> frozenset[str]:
    """The characters of a text: looking here first spares most texts every search for rare ones."""
    return frozenset(text)


@cache
def _looked_for() -> frozenset[str]:
    return frozenset(map(chr, table()))


class _Filled(dict[int, int]):
    """Remembers what stays as it is: `str.translate` pays for an exception at every character that is missing."""

    def __missing__(self, code: int) -> int:
        self[code] = code
        return code


@cache
def _filled() -> _Filled:
    return _Filled(table())


def lower(text: str) -> str:
    """Lower case of the same length (U+0130 is the one character whose lower case is longer)."""
    return text.replace("İ", "i").lower()
