"""Verb lexicons: which capabilities the user's own words grant, in the languages that `policies/lexicon/` knows.

Nothing here grants anything by itself: a grant only opens the checks of destinations, objects and values. A language
that no lexicon knows leads to questions, never to permission.

Pattern language: `a|b` alternatives (each one word or several), ` .. ` a gap inside one sentence, ` . ` no gap, `*`
at a word's end any ending, `^` the start of a sentence, `!a,b` any word but these.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from localgpt.policy.shipped import broken, shipped_directory
from localgpt.policy.values import fold

GAP_WORDS: Final = 12
GAP_CHARS: Final = 24
_START: Final = "^"
_WORD: Final = re.compile(r"\w+(?:['’.-]\w+)*|[#$€£№]|n[°º]")
_SENTENCE: Final = re.compile(r"[.!?;:\n](?=\s|$)|[。！？；\n]")
_ARABIC_PREFIXES: Final = ("وال", "فال", "بال", "لل", "ال", "و", "ف", "ب", "ل", "ك")
_ARABIC_MARKS: Final = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u0640]")
_SHORT_WORDS: Final = 64  #: a request in no language that is known by its common words may still hold a known pattern
_FEW_WORDS: Final = 4  #: in a prompt so short one known word is enough
_MIN_SHARE: Final = 0.15  #: of a prompt's words that a lexicon must know for the prompt to be in its language


class Match(StrEnum):
    """How a language's words are found."""

    WORDS = "words"
    PREFIXED = "prefixed"
    SUBSTRING = "substring"


@dataclass(frozen=True, slots=True)
class Part:
    """One step of a pattern: alternatives, and how far before them the previous step may end."""

    gap: int
    options: tuple[tuple[str, ...], ...]
    first: frozenset[str] | None = None  #: the first words of all options, when none has an open end


Pattern = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words of one language."""

    language: str
    match: Match
    grants: Mapping[str, tuple[Pattern, ...]]
    delegate: tuple[Pattern, ...]
    not_delegate: frozenset[str]
    common: frozenset[str]
    negators: frozenset[str]
    id_markers: frozenset[str]
    months: Mapping[str, int]
    date_glue: frozenset[str]
    days: Mapping[str, int]
    weekdays: Mapping[str, int]
    extremes: Mapping[str, tuple[str, ...]]
    affirm: frozenset[str]
    links: frozenset[str]


def sentences(text: str) -> list[str]:
    """The sentences of a folded text. A full stop inside a name, a number or an address ends none."""
    return [part for part in _SENTENCE.split(text) if part.strip()]


def tokens(sentence: str) -> list[str]:
    """The words of one folded sentence."""
    return _WORD.findall(sentence)


# --- loading ----------------------------------------------------------------------------------------------------


@cache
def lexicons() -> tuple[Lexicon, ...]:
    """Every shipped lexicon.

    Raises:
        BuiltinBroken: one is missing or damaged.
    """
    return tuple(_load(path) for path in sorted(shipped_directory("lexicon").glob("*.toml")))


@cache
def known_grants() -> frozenset[str]:
    """The names of all capabilities that some lexicon has words for."""
    return frozenset(name for lexicon in lexicons() for name in lexicon.grants)


def _load(path: Path) -> Lexicon:
    try:
        return parse_lexicon(path.read_bytes())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, ValueError, TypeError) as error:
        raise broken(f"lexicon/{path.name}: {error}") from error


def parse_lexicon(data: bytes) -> Lexicon:
    """Parse one lexicon.

    Raises:
        KeyError, ValueError, TypeError, UnicodeDecodeError, tomllib.TOMLDecodeError: it is not one.
    """
    tree = tomllib.loads(data.decode("utf-8"))
    match, words = Match(tree["match"]), tree["words"]
    return Lexicon(
        language=tree["language"],
        match=match,
        grants=MappingProxyType({name: patterns(lines, match) for name, lines in tree["grants"].items()}),
        delegate=patterns(tree["delegate"]["patterns"], match),
        not_delegate=_folded(tree["delegate"]["not_after"]),
        common=_folded(words["common"]),
        negators=_folded(words["negators"]),
        id_markers=_folded(words["id_markers"]),
        months=_numbered(words["months"], first=1),
        date_glue=_folded(words["date_glue"]),
        days=MappingProxyType({fold(word): offset for word, offset in words["days"].items()}),
        weekdays=_numbered(words["weekdays"], first=0),
        extremes=MappingProxyType({name: tuple(map(fold, words[name])) for name in EXTREMES}),
        affirm=_folded(words["affirm"]),
        links=_folded(words["links"]),
    )


EXTREMES: Final = ("greatest", "least", "latest", "earliest")


def _folded(words: Sequence[str]) -> frozenset[str]:
    return frozenset(fold(word) for word in words)


def _numbered(groups: Sequence[Sequence[str]], *, first: int) -> Mapping[str, int]:
    return MappingProxyType({fold(word): number for number, group in enumerate(groups, first) for word in group})


def patterns(lines: Sequence[str], match: Match) -> tuple[Pattern, ...]:
    """Compile a list of pattern lines."""
    return tuple(_pattern(line, match) for line in lines)


def _pattern(line: str, match: Match) -> Pattern:
    wide = GAP_CHARS if match is Match.SUBSTRING else GAP_WORDS
    parts, gap = [], 0
    for piece in re.split(r" (\.\.|\.) ", f" {line} "):
        if piece in {".", ".."}:
            gap = wide if piece == ".." else 0
            continue
        options = tuple(tuple(fold(option).split(" ")) for option in piece.strip().split("|"))
        if not all(option and all(option) for option in options):
            raise ValueError(f"an empty alternative in {line!r}")
        first = [option[0] for option in options]
        plain = not any(word.endswith("*") or word[0] in "!^" for word in first)
        parts.append(Part(gap, options, frozenset(first) if plain and match is Match.WORDS else None))
    return tuple(parts)


# --- finding ----------------------------------------------------------------------------------------------------


def spoken(text: str) -> tuple[Lexicon, ...]:
    """The lexicons whose language a folded text is written in; none when it is in no known one."""
    words = tokens(text)
    found = tuple(lexicon for lexicon in lexicons() if _share(lexicon, text, words) >= _MIN_SHARE)
    if found or len(words) > _SHORT_WORDS:  # a long text without a language is a paste, not a request
        return found
    return tuple(lexicon for lexicon in lexicons() if any(any(granted(lexicon, s, {})) for s in sentences(text)))


def _share(lexicon: Lexicon, text: str, words: Sequence[str]) -> float:
    if not words:
        return 0.0
    if lexicon.match is Match.SUBSTRING:
        letters = [c for c in text if c.isalpha()]
        own = sum(1 for c in letters if _is_script(lexicon.language, c))
        return own / len(letters) if letters and _speaks(lexicon, text) else 0.0
    found = sum(1 for word in words if word in lexicon.common or (_plain(word) in lexicon.common))
    return found / len(words) if found > 1 or len(words) <= _FEW_WORDS else 0.0


def _is_script(language: str, character: str) -> bool:
    code = ord(character)
    han = 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF
    return han or (language == "ja" and 0x3040 <= code <= 0x30FF)


def _speaks(lexicon: Lexicon, text: str) -> bool:
    """Kana make a text Japanese; Han without kana make it Chinese."""
    return any("\u3040" <= c <= "\u30ff" for c in text) == (lexicon.language == "ja")


def granted(lexicon: Lexicon, sentence: str, extra: Mapping[str, tuple[Pattern, ...]]) -> Iterator[str]:
    """The grants that one folded sentence without quotations gives."""
    words = tokens(sentence)
    present = frozenset(words) | frozenset(map(_plain, words))
    for name, group in (*lexicon.grants.items(), *extra.items()):
        likely = (p for p in group if all(part.first is None or part.first & present for part in p))
        if any(_holds(lexicon, pattern, sentence, words) for pattern in likely):
            yield name


def delegates(lexicon: Lexicon, sentence: str) -> bool:
    """Whether a sentence tells the model to do what some text says."""
    words = tokens(sentence)
    if any(word in lexicon.not_delegate for word in words) or (
        lexicon.match is Match.SUBSTRING and any(word in sentence for word in lexicon.not_delegate)
    ):
        return False
    return any(_holds(lexicon, pattern, sentence, words) for pattern in lexicon.delegate)


def _holds(lexicon: Lexicon, pattern: Pattern, sentence: str, words: Sequence[str]) -> bool:
    if lexicon.match is Match.SUBSTRING:
        return _in_text(lexicon, pattern, sentence)
    return any(
        not _negated(lexicon, words, start) and _follow(lexicon, pattern, 1, words, end)
        for start, end in _starts(lexicon, pattern[0], words, range(len(words)))
    )


def _starts(lexicon: Lexicon, part: Part, words: Sequence[str], where: Iterable[int]) -> Iterator[tuple[int, int]]:
    for start in where:
        for option in part.options:
            if option == (_START,):
                if start == 0:
                    yield 0, 0
            elif _option_at(lexicon, option, words, start):
                yield start, start + len(option)


def _follow(lexicon: Lexicon, pattern: Pattern, index: int, words: Sequence[str], end: int) -> bool:
    if index == len(pattern):
        return True
    part = pattern[index]
    where = range(end, min(end + part.gap + 1, len(words)))
    return any(_follow(lexicon, pattern, index + 1, words, stop) for _, stop in _starts(lexicon, part, words, where))


def _option_at(lexicon: Lexicon, option: Sequence[str], words: Sequence[str], start: int) -> bool:
    if start + len(option) > len(words):
        return False
    return all(_is_word(lexicon.match, wanted, words[start + i]) for i, wanted in enumerate(option))


@lru_cache(maxsize=1 << 16)
def _is_word(match: Match, wanted: str, word: str) -> bool:
    if _fits(wanted, word) or _fits(wanted, _plain(word)):
        return True
    if match is not Match.PREFIXED:
        return False
    bare = _ARABIC_MARKS.sub("", word)
    return _fits(wanted, bare) or any(
        bare.startswith(prefix) and _fits(wanted, bare[len(prefix) :]) for prefix in _ARABIC_PREFIXES
    )


def _fits(wanted: str, word: str) -> bool:
    if wanted[0] == "!":
        return word not in wanted[1:].split(",")
    return word.startswith(wanted[:-1]) if wanted.endswith("*") and len(wanted) > 1 else word == wanted


def _plain(word: str) -> str:
    """The word behind an elided article: l'événement, d'abord."""
    return re.split("['’]", word)[-1]


def _negated(lexicon: Lexicon, words: Sequence[str], start: int) -> bool:
    return start > 0 and words[start - 1] in lexicon.negators


def _in_text(lexicon: Lexicon, pattern: Pattern, sentence: str) -> bool:
    for start, end in _spans(pattern[0], sentence, 0, len(sentence)):
        around = sentence[max(0, start - 3) : start] if lexicon.language == "zh" else sentence[end : end + 8]
        if any(negator in around for negator in lexicon.negators):
            continue
        if _follow_text(pattern, 1, sentence, end):
            return True
    return False


def _follow_text(pattern: Pattern, index: int, sentence: str, end: int) -> bool:
    if index == len(pattern):
        return True
    part = pattern[index]
    return any(
        _follow_text(pattern, index + 1, sentence, stop) for _, stop in _spans(part, sentence, end, end + part.gap)
    )


def _spans(part: Part, sentence: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Where an alternative begins between two places, with its end."""
    for option in part.options:
        needle = " ".join(option)
        start = sentence.find(needle, first, last + len(needle))
        while start >= 0:
            yield start, start + len(needle)
            start = sentence.find(needle, start + 1, last + len(needle))


def own_grants(tables: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, tuple[Pattern, ...]]]:
    """Grants that a declaration brings with it, by language and name: `[grant.order] en = ["order", "buy"]`."""
    found: dict[str, dict[str, tuple[Pattern, ...]]] = {}
    by_language = {lexicon.language: lexicon for lexicon in lexicons()}
    for name, lines in tables.items():
        for language, words in lines.items():
            match = by_language[language].match if language in by_language else Match.WORDS
            found.setdefault(language, {})[name] = patterns(words, match)
    return found
