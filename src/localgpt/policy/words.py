"""What the user said: grants, days, numbers, addresses, names, read once when a turn begins.

The user's words are what was typed or confirmed. Whatever stood in a paste, a file or an answer is not in here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from localgpt.policy import lexicon as lex
from localgpt.policy.days import Day, clocks, read_days
from localgpt.policy.lexicon import Lexicon, Match, Pattern
from localgpt.policy.values import Key, addresses, fold, number, stands_in

_PAIRS: Final = (("“", "”"), ("‘", "’"), ("«", "»"), ("„", "“"), ("「", "」"), ("『", "』"), ("《", "》"))
_SAME: Final = ('"', "`")
_QUOTES: Final = re.compile(
    r"(?<!\w)'([^'\n]{1,400}?)'(?!\w)"
    + "".join(f"|{mark}([^{mark}\\n]{{1,400}}){mark}" for mark in _SAME)
    + "".join(f"|{start}([^{end}\\n]{{1,400}}){end}" for start, end in _PAIRS)
)
_PLACEHOLDER: Final = " \ufffc "
_NUMBER: Final = re.compile(r"(?<![\w.,:/-])-?\d(?:[\d.,']*\d)?(?![\w:/@])")
_SHORT_FIGURE: Final = re.compile(r"(?<![\w.,:/-])\d{1,5}(?![\w:/@]|[.,]\d)")
_SEVERAL: Final = re.compile(r"\b\d+ [^.,;\n]{0,20}")  #: "the 10 most recent" singles nothing out
_GLUED: Final = re.compile(r"([a-z0-9][.!?])([A-Z][a-z])")  #: a forgotten space, as in "example.org.They"
_SHORT_ID_DIGITS: Final = 5
MOST_CHARS: Final = 8192
_AFFIRM_WORDS: Final = 5

Grants = Mapping[str, Mapping[str, tuple[Pattern, ...]]]


@dataclass(frozen=True, slots=True)
class Words:
    """Everything the decision needs of the user's words.

    `text`: all turns, folded. `grants`: of the present request. `clear` is False when its language is unknown.
    `delegated`: it tells the model to do what some text says. `extremes`: "greatest", "least", "latest", "earliest".
    `kinds`: which types of address the user gave. `offsets` and `weekdays`: days named from today.
    `links`: they speak of links.
    """

    text: str = ""
    quoted: frozenset[str] = frozenset()
    grants: frozenset[str] = frozenset()
    delegated: bool = False
    clear: bool = True
    addresses: frozenset[Key] = frozenset()
    days: frozenset[Day] = frozenset()
    offsets: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    clocks: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    extremes: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    common: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    links: bool = False


NO_WORDS: Final = Words()


def read_words(turns: Sequence[str], own: Grants | None = None) -> Words:
    """Read the user's words. `turns`: what was typed so far, the present request last. `own`: declared grants.

    Of each turn the first `MOST_CHARS` characters are read: what is longer is no request that somebody typed, and a
    value beyond them has no authority. Values keep their authority over turns; grants are those of the present request,
    and of the one before when the present one only says "yes".
    """
    turns = [turn[:MOST_CHARS] for turn in turns]
    texts = [_fold_lines(turn) for turn in turns]
    if not texts:
        return Words()
    present = texts[-1]
    if len(texts) > 1 and _affirms(present):
        present = f"{texts[-2]}\n{present}"
    everything = "\n".join(texts)
    spoken = lex.spoken(_unquoted(present))
    every = {lexicon.language: lexicon for text in texts for lexicon in lex.spoken(_unquoted(text))}.values()
    grants, delegated = _grants(present, spoken, own or {})
    typed = "\n".join(turns)  # not folded: the letters of an account are capitals
    found = {*addresses(typed), *addresses(_GLUED.sub(r"\1 \2", typed))}
    days, taken = read_days(everything, tuple(every))
    return Words(
        text=fold(everything),
        quoted=frozenset(map(fold, quotations(everything))),
        grants=grants,
        delegated=delegated,
        clear=bool(spoken),
        addresses=frozenset(found),
        days=days,
        offsets=frozenset(_said(every, "days", everything)),
        weekdays=frozenset(_said(every, "weekdays", everything)),
        clocks=clocks(everything),
        numbers=_numbers(_blank(everything, taken)),
        ids=_ids(everything, every),
        extremes=_extremes(present, spoken),
        tokens=frozenset(token for sentence in lex.sentences(everything) for token in lex.tokens(sentence)),
        common=frozenset().union(*(lexicon.common for lexicon in every)),
        kinds=frozenset(kind for kind, _ in found),
        links=any(_says(lexicon, word, everything) for lexicon in every for word in lexicon.links),
    )


def _fold_lines(text: str) -> str:
    """Fold each line by itself: a sentence may end where a line ends."""
    return "\n".join(fold(line) for line in text.splitlines())


def quotations(text: str) -> list[str]:
    """What stands between quotation marks."""
    return [next(group for group in match.groups() if group is not None) for match in _QUOTES.finditer(text)]


def _unquoted(text: str) -> str:
    """The text without quotations: a quoted title is no request."""
    return _QUOTES.sub(_PLACEHOLDER, text)


def _affirms(text: str) -> bool:
    if not 0 < len(lex.tokens(text)) <= _AFFIRM_WORDS:
        return False
    return any(stands_in(yes, text) for lexicon in lex.lexicons() for yes in lexicon.affirm)


def _grants(text: str, spoken: Sequence[Lexicon], own: Grants) -> tuple[frozenset[str], bool]:
    grants: set[str] = set()
    delegated = False
    for sentence in lex.sentences(_unquoted(text)):
        for lexicon in spoken:
            grants.update(lex.granted(lexicon, sentence, own.get(lexicon.language, {})))
            delegated = delegated or lex.delegates(lexicon, sentence)
    return frozenset(grants), delegated


def _says(lexicon: Lexicon, word: str, text: str) -> bool:
    return word in text if lexicon.match is Match.SUBSTRING else stands_in(word, text)


def _said(spoken: Iterable[Lexicon], table: str, text: str) -> set[int]:
    return {
        number_ for lexicon in spoken for word, number_ in getattr(lexicon, table).items() if _says(lexicon, word, text)
    }


def _extremes(text: str, spoken: Iterable[Lexicon]) -> frozenset[str]:
    return frozenset(
        name
        for lexicon in spoken
        for name, options in lexicon.extremes.items()
        if any(_says(lexicon, option, _SEVERAL.sub(" ", text)) for option in options)
    )


# --- numbers and ids --------------------------------------------------------------------------------------------


def _blank(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text without the figures of its days, so that they count as nothing else."""
    letters = list(text)
    for start, end in spans:
        letters[start:end] = " " * (end - start)
    return "".join(letters)


def _numbers(text: str) -> frozenset[str]:
    """The numbers that stand alone, in every reading of their points and commas."""
    found = set()
    for match in _NUMBER.finditer(text):
        plain = match[0].replace("'", "")
        found |= {number(plain.replace(",", "")), number(plain.replace(".", "").replace(",", "."))}
    return frozenset(canonical for canonical in found if canonical is not None)


def _ids(text: str, spoken: Iterable[Lexicon]) -> frozenset[str]:
    """Short figures that the user calls an id: only after "id", "number", "#" and the like is `13` one."""
    markers = {marker for lexicon in spoken for marker in lexicon.id_markers} | {"#", "id"}
    found = set()
    for match in _SHORT_FIGURE.finditer(text):
        before = text[max(0, match.start() - 24) : match.start()].rstrip(" :'\"=")
        if any(before.endswith(marker) and _apart(before, marker) for marker in markers):
            found.add(match[0])
    return frozenset(found)


def _apart(before: str, marker: str) -> bool:
    rest = before[: len(before) - len(marker)]
    return not (marker[0].isalnum() and marker.isascii() and rest[-1:].isalnum() and rest[-1:].isascii())


# --- names ------------------------------------------------------------------------------------------------------


def says_name(words: Words, name: str) -> bool:
    """Whether the user said this folded name, as a whole.

    A plain word of the language is nobody's name unless it stands in quotation marks: else whoever calls a channel
    "message" could be written to.
    """
    if name in words.quoted:
        return True
    return not _is_plain(words, name) and stands_in(name, words.text)


def _is_plain(words: Words, name: str) -> bool:
    return len(name) < 2 or all(part in words.common for part in name.split(" "))


def says_id(words: Words, text: str) -> bool:
    """Whether the user gave this folded id. A short figure must have been called one, a longer id is unmistakable."""
    if text.isdigit() and len(text) <= _SHORT_ID_DIGITS:
        return text in words.ids
    return says_name(words, text)


def made_of_words(words: Words, text: str) -> bool:
    """Whether a folded text has only words that the user said, and not only such as say nothing."""
    parts = [token for sentence in lex.sentences(text) for token in lex.tokens(sentence)]
    return bool(parts) and all(part in words.tokens for part in parts) and any(p not in words.common for p in parts)
