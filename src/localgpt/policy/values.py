"""What a scalar is: a number, a day, an address, or plain text. Values are compared by what they are.

A value has one or more *keys*, pairs of a type and a canonical spelling. `13` has a number's key and a text's key and
nothing of the day "June 13": that was how an id of a file once passed for something the user had typed.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias

Key: TypeAlias = tuple[str, str]
Scalar: TypeAlias = "bool | int | float | str | None"

MAX_KEY_CHARS: Final = 512  #: a longer text is nobody's name, address or id

_DAY: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_EMAIL: Final = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_REST: Final = r"[^\s<>\"'`|\\^{}\[\]()]"
_URL: Final = re.compile(rf"(?:[a-z][a-z0-9+.-]{{1,15}}://|www\.){_REST}{{1,2000}}", re.IGNORECASE)
_BARE: Final = re.compile(
    rf"(?<![\w@.-])(?:[\w-]{{1,63}}\.){{1,8}}[a-z]{{2,24}}(?:[:/?#]{_REST}{{0,2000}})?(?![\w@-])", re.IGNORECASE
)
_ACCOUNT: Final = re.compile(
    r"(?<!\w)(?:[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{2,4}){2,8}|0x[0-9a-fA-F]{40}|bc1[a-z0-9]{25,60}|[A-Z]{2}\d{10,30})(?!\w)"
)
_DOTS: Final = "dot|punkt|point|punto|ponto|точка|点|點|ドット|نقطة"
_SPELLED: Final = re.compile(
    rf"(?<!\w)([\w-]{{1,63}})\s*[\[({{]?\s*(?:{_DOTS})\s*[\])}}]?\s*([a-z]{{2,10}})(?!\w)", re.IGNORECASE
)
_BRACKETED: Final = re.compile(r"(?<![\w])([\w-]{1,63})\s*[\[({]\s*\.\s*[\])}]\s*([a-z]{2,10})(?![\w])", re.IGNORECASE)
_INNER_DOT: Final = re.compile(r"\w\.\w")
_HAS_FIGURES: Final = re.compile(r"\d\d|0x|bc1")
_DOT_WORDS: Final = tuple(word.casefold() for word in _DOTS.split("|"))
_BRACKET: Final = re.compile(r"[\[({]\s*\.")
#: Endings that mean a file and no place on the net.
_FILE_ENDINGS: Final = (
    "doc docx xls xlsx ppt pptx pdf txt csv tsv png jpg jpeg gif svg json xml html htm log yaml yml toml ini cfg "
    "odt ods rtf tex ipynb sql js ts css java go rb c h cpp"
)
_FILES: Final = frozenset(_FILE_ENDINGS.split())
_TRAILING: Final = ".,;:!?…"


def fold(text: str) -> str:
    """The text as it is compared: compatibility forms unified, case folded, white space joined."""
    if text.isascii():
        return " ".join(text.casefold().split())
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def number(text: str) -> str | None:
    """The canonical spelling of a decimal number, or None."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value.adjusted()) > 30:
        return None
    return format(value.normalize() + 0, "f")


def keys_of(value: Scalar) -> tuple[Key, ...]:
    """Every key of a scalar, the most telling first. Empty and Boolean values have none: they name nothing."""
    if value is None or isinstance(value, bool):
        return ()
    if not isinstance(value, str):
        canonical = number(repr(value))
        return () if canonical is None else (("number", canonical), ("text", canonical))
    text = value.strip()
    if not text or len(text) > MAX_KEY_CHARS:
        return ()
    if day := _DAY.fullmatch(text):
        return (
            ("day", text[:10]),
            *([("moment", f"{text[:10]} {day[4]}:{day[5]}")] if day[4] else []),
            ("text", fold(text)),
        )
    if _NUMBER.fullmatch(text) and (canonical := number(text)) is not None:
        return (("number", canonical), ("text", fold(text)))
    found = address(text)
    return (found, ("text", fold(text))) if found else (("text", fold(text)),)


def address(text: str) -> Key | None:
    """The key of a text that is wholly one address: mail, URL or account."""
    if _EMAIL.fullmatch(text):
        return ("mail", text.casefold())
    if _ACCOUNT.fullmatch(text):
        return ("account", re.sub(r"[ -]", "", text).upper())
    if _URL.fullmatch(text) or (_BARE.fullmatch(text) and not _is_file(text)):
        return ("url", canonical_url(text))
    return None


def addresses(text: str) -> tuple[Key, ...]:
    """Every address inside a text, also those that are spelled to look like none ("evil dot com").

    Each pattern is tried only on a text that has what it cannot do without: most texts have nothing of it.
    """
    found: dict[Key, None] = {}
    lowered = text.casefold()
    if "@" in text:
        found.update({("mail", match[0].rstrip(_TRAILING).casefold()): None for match in _EMAIL.finditer(text)})
    if "://" in text or "www." in lowered:
        found.update({("url", canonical_url(match[0])): None for match in _URL.finditer(text)})
    if _INNER_DOT.search(text):
        bare = (match[0] for match in _BARE.finditer(text))
        found.update({("url", canonical_url(each)): None for each in bare if not _is_file(each)})
    if _HAS_FIGURES.search(text):
        found.update({("account", re.sub(r"[ -]", "", match[0]).upper()): None for match in _ACCOUNT.finditer(text)})
    spelled = [_SPELLED] if any(word in lowered for word in _DOT_WORDS) else []
    for pattern in (*spelled, *([_BRACKETED] if _BRACKET.search(text) else ())):
        found.update({("url", canonical_url(f"{m[1]}.{m[2]}")): None for m in pattern.finditer(text)})
    return tuple(found)


def canonical_url(text: str) -> str:
    """Scheme, `www.` and a closing slash or full stop do not make another address; everything else does."""
    text = text.rstrip(_TRAILING)
    scheme, separator, rest = text.partition("://")
    rest = rest if separator and scheme.casefold() in {"http", "https"} else text
    host, slash, path = rest.partition("/")
    host = host.casefold()
    path = path.rstrip("/")
    return host.removeprefix("www.") + (slash + path if path else "")


def host_of(url: str) -> str:
    """The host of a canonical URL, without user and port."""
    return re.split(r"[/?#]", url.partition("://")[2] or url, maxsplit=1)[0].rpartition("@")[2].partition(":")[0]


def _is_file(text: str) -> bool:
    name = re.split(r"[/?#:]", text, maxsplit=1)
    return len(name) == 1 and name[0].rpartition(".")[2].casefold() in _FILES


# --- whole words ------------------------------------------------------------------------------------------------


def stands_in(needle: str, text: str) -> bool:
    """Whether `needle` stands in `text` as a whole; both folded. Never cut out of an address, a path or a longer word.

    Scripts that are written without spaces have no word borders: there the needle may stand anywhere.
    """
    start = text.find(needle) if needle else -1
    while start >= 0:
        end = start + len(needle)
        if _free_before(text, start, needle[0]) and _free_after(text, end, needle[-1]):
            return True
        start = text.find(needle, start + 1)
    return False


_JOINING: Final = "@.-_/\\+#~%&=:"
#: Letters that Arabic and Hebrew write onto the next word: and, so, in, for, as, the.
_PREFIXES: Final = frozenset("وفبلكאהובלכמש")


def _free_before(text: str, start: int, first: str) -> bool:
    if start == 0:
        return True
    before = text[start - 1]
    if _spaceless(first) or _spaceless(before):
        return True
    if before.isalnum() or before == "_":
        return before in _PREFIXES and (start < 2 or not text[start - 2].isalnum() or text[start - 2] in _PREFIXES)
    return not (before in _JOINING and start > 1 and text[start - 2].isalnum())


def _free_after(text: str, end: int, last: str) -> bool:
    if end == len(text):
        return True
    after = text[end]
    if _spaceless(last) or _spaceless(after):
        return True
    if after.isalnum() or after == "_":
        return False
    return not (after in _JOINING and end + 1 < len(text) and text[end + 1].isalnum())


def _spaceless(character: str) -> bool:
    """Han, kana, Hangul (its particles are written onto the word), Thai, Lao, Khmer, Burmese."""
    code = ord(character)
    return (
        0x3040 <= code <= 0x30FF
        or 0x3400 <= code <= 0x4DBF
        or 0x4E00 <= code <= 0x9FFF
        or 0xAC00 <= code <= 0xD7AF
        or 0x0E00 <= code <= 0x0EFF
        or 0x1000 <= code <= 0x109F
        or 0x1780 <= code <= 0x17FF
        or 0x20000 <= code <= 0x323AF
    )
