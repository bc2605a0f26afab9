"""Text hidden in an encoding: base64, hexadecimal, percent signs, entities, ``\\u`` escapes, invisible characters.

Candidates are found by linear patterns that ASCII text in that encoding must fit, so that ordinary words and most
binary data are never decoded. What is decoded counts against one budget for the whole text, however deep it lies.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote

from localgpt.injection.findings import View
from localgpt.injection.linear import linear
from localgpt.injection.places import Span

MAX_DEPTH: Final = 3
MAX_PIECES: Final = 400  #: of one text and one encoding
MAX_PIECE_BYTES: Final = 64 << 10
BUDGET_BYTES: Final = 512 << 10

#: The first of four base64 digits holds the upper six bits of a byte below 128, so it is one of these.
_QUAD: Final = "[A-Za-f][A-Za-z0-9+/_-]{3}"
_BASE64: Final = rf"(?:{_QUAD}){{5}}(?:{_QUAD})*(?:\r?\n(?:{_QUAD})+)*[A-Za-z0-9+/_-]{{0,3}}"
_BYTE: Final = r"(?:\\x|0x|%|=)?[2-7][0-9a-fA-F](?:[ :,;]|\r?\n)?"
_REFERENCE: Final = r"[^&\n]{0,12}&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});"
_ESCAPED_CHAR: Final = r"[^\\\n]{0,12}\\(?:u[0-9a-fA-F]{4}|u\{[0-9a-fA-F]{1,6}\}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2})"
_PERCENT_BYTE: Final = r"[^\s%]{0,12}%[0-9a-fA-F]{2}"


def _repeated(unit: str, least: int, tail: str) -> str:
    return f"(?:{unit}){{{least}}}(?:{unit})*{tail}"


_HEX: Final = _repeated(_BYTE, 10, "")
_PERCENT: Final = _repeated(_PERCENT_BYTE, 3, r"[^\s%]{0,24}")
_ENTITY: Final = _repeated(_REFERENCE, 3, r"[^&\n]{0,24}")
_ESCAPE: Final = _repeated(_ESCAPED_CHAR, 3, r"[^\\\n]{0,24}")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{4,}")
_TAG_BYTES: Final = b"\xf3\xa0"  #: what every tag character and the longer selectors begin with in UTF-8
_SELECTOR_BYTES: Final = b"\xef\xb8"
_SELECTORS: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_ESCAPED: Final = re.compile(r"\\(?:[uU]([0-9a-fA-F]{4}(?:[0-9a-fA-F]{4})?)|u\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{2}))")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A piece of text and the span (code points) that it was decoded from."""

    view: View
    text: str
    span: Span


class Budget:
    """What may still be decoded of one text. `spent`: something was left undecoded."""

    def __init__(self, size_bytes: int = BUDGET_BYTES) -> None:
        self._left = size_bytes
        self.spent = False

    def take(self, size: int) -> bool:
        if size > self._left:
            self.spent = True
            return False
        self._left -= size
        return True


def decoded(text: str, budget: Budget) -> Iterator[Decoded]:
    """What can be decoded in `text`, one level deep, as far as the budget goes."""
    data = text.encode("utf-8", "replace")
    if _TAG_BYTES in data or _SELECTOR_BYTES in data:
        yield from _invisible(text, budget)
    locate = _positions(text, data)
    for view, pattern, decode in _ENCODINGS:
        matches = _compiled(pattern).finditer(data)
        for match in islice(matches, MAX_PIECES):
            start, end = match.span()
            piece = data[start : min(end, start + MAX_PIECE_BYTES)]
            if not budget.take(len(piece)):
                return
            found = decode(piece)
            if found and _is_text(found):
                yield Decoded(view, found, (locate(start), locate(end)))
        if next(matches, None) is not None:
            budget.spent = True


def _invisible(text: str, budget: Budget) -> Iterator[Decoded]:
    for match in islice(_TAGS.finditer(text), MAX_PIECES):
        if budget.take(len(match[0])):
            yield Decoded(View.TAGS, "".join(chr(ord(c) - 0xE0000) for c in match[0]), match.span())
    for match in islice(_SELECTORS.finditer(text), MAX_PIECES):
        if budget.take(len(match[0])):
            spelled = bytes(ord(c) - 0xFE00 if ord(c) < 0x10000 else ord(c) - 0xE0100 + 16 for c in match[0])
            found = spelled.decode("utf-8", "replace")
            if _is_text(found):
                yield Decoded(View.SELECTORS, found, match.span())


def _positions(text: str, data: bytes) -> Callable[[int], int]:
    if len(text) == len(data):
        return lambda position: position
    return lambda position: len(data[:position].decode("utf-8", "ignore"))


def _is_text(found: str) -> bool:
    """Whether most of it can be printed: what was no encoding decodes to noise."""
    good = sum(map(str.isprintable, found[:512])) + found[:512].count("\n")
    return len(found) >= 6 and good * 20 >= min(len(found), 512) * 19


def _from_base64(piece: bytes) -> str:
    packed = re.sub(rb"\s", b"", piece).replace(b"-", b"+").replace(b"_", b"/")
    try:
        return base64.b64decode(packed[: len(packed) // 4 * 4] + _tail(packed)).decode("utf-8", "ignore")
    except (binascii.Error, ValueError):
        return ""


def _tail(packed: bytes) -> bytes:
    rest = packed[len(packed) // 4 * 4 :]
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""


def _from_hex(piece: bytes) -> str:
    digits = re.sub(rb"\\x|0x|[^0-9a-fA-F]", b"", piece)
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode()).decode("utf-8", "ignore")


def _from_percent(piece: bytes) -> str:
    return unquote(piece.decode("utf-8", "ignore"), errors="ignore")


def _from_entities(piece: bytes) -> str:
    return html.unescape(piece.decode("utf-8", "ignore"))


def _from_escapes(piece: bytes) -> str:
    return _ESCAPED.sub(_unescaped, piece.decode("utf-8", "ignore"))


def _unescaped(match: re.Match[str]) -> str:
    code = int(match[1] or match[2] or match[3], 16)
    return chr(code) if code < 0xD800 or 0xE000 <= code < 0x110000 else ""


_ENCODINGS: Final[tuple[tuple[View, str, Callable[[bytes], str]], ...]] = (
    (View.BASE64, _BASE64, _from_base64),
    (View.HEX, _HEX, _from_hex),
    (View.PERCENT, _PERCENT, _from_percent),
    (View.ENTITIES, _ENTITY, _from_entities),
    (View.ESCAPES, _ESCAPE, _from_escapes),
)


@cache
def _compiled(pattern: str) -> Any:  # noqa: ANN401 -- re2 has no types
    return linear(pattern.encode())
