"""The session's record of typed values: what stood where, with which authority. A result makes a new record.

Provenance is looked up here, never taken from what a model says. Only the best authority of a value is kept, so that
the order of results and their repetition do not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from localgpt.labels import Confidentiality, Integrity
from localgpt.policy import lexicon as lex
from localgpt.policy.authority import Authority, Json, Mark, Source
from localgpt.policy.days import read_days
from localgpt.policy.values import MAX_KEY_CHARS, Key, Scalar, addresses, fold, keys_of, number
from localgpt.policy.words import Words, says_name

_POINTED_CHARS: Final = 256 * 1024  #: of strangers' texts that the user pointed at, kept to find names in
_TEXT_CHARS: Final = 64 * 1024  #: of one text that are searched for days and numbers
_DEPTH: Final = 12
_NUMBER: Final = re.compile(r"(?<![\w.,-])-?\d(?:[\d.,]*\d)?(?!\w)")
_TOKEN: Final = re.compile(r"\w+")
_PARTS: Final = re.compile(r"[\n,;:|\t]+")
_LABELLED: Final = 2  #: parts of "label: value", which is no list
_NAME_CHARS: Final = 4  #: a shorter name singles nothing out


@dataclass(frozen=True, slots=True)
class Record:
    """What the session's results held.

    `marks`: the best mark of each value. `pointed`: folded strangers' texts in what the user pointed at, with their
    origins. `vocabulary`: the words of all strangers' texts. `urls`: every address that stood verbatim. `today`: what a
    clock said.
    """

    marks: Mapping[Key, Mark] = field(default_factory=dict)
    pointed: tuple[tuple[str, str], ...] = ()
    vocabulary: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    today: str = ""


EMPTY: Final = Record()


@dataclass(frozen=True, slots=True)
class Leaf:
    """One scalar of a result, with the names of the fields it lies in, outermost first."""

    path: tuple[str, ...]
    value: Scalar


@dataclass(frozen=True, slots=True)
class Result:
    """What a call returned, before it is entered. `keyed`: the authority of what it was looked up with.

    `keys`: the folded texts it was looked up with. `mine`: who belongs to the own zone.
    """

    source: Source
    value: Json
    origin: str
    keyed: Authority
    keys: frozenset[str]
    mine: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()


def enter(record: Record, words: Words, result: Result) -> Record:
    """The record after a result of a source."""
    source = result.source
    objects = [tuple(leaves(each)) for each in split(result.value)]
    chosen = _chosen(words, result, objects)
    book = _Book(dict(record.marks), result.origin)
    for index, each in enumerate(objects):
        inside = _is_internal(result, each)
        for leaf in each:
            _enter_leaf(book, result, leaf, _level(result, leaf, chosen=index == chosen), inside=inside)
    pointed = (*record.pointed, *((text, result.origin) for text in book.pointed))
    return replace(
        record,
        marks=MappingProxyType(book.marks),
        pointed=_bounded(tuple(dict.fromkeys(pointed))),
        vocabulary=record.vocabulary | book.vocabulary,
        urls=record.urls | book.urls,
        today=_clock(source, result.value) or record.today,
    )


def enter_made(record: Record, source: Source, value: Json, origin: str) -> Record:
    """The record after an effect: the ids of what it made or touched can be used further; nothing else is learnt."""
    marks = dict(record.marks)
    for leaf in leaves(value):
        if leaf.path and leaf.path[-1] in source.ids and isinstance(leaf.value, (str, int)):
            _keep(marks, ("id", fold(str(leaf.value))), Mark(Authority.SELECTED, origin))
    return replace(record, marks=MappingProxyType(marks))


# --- taking results apart ---------------------------------------------------------------------------------------


def split(value: Json) -> list[Json]:
    """The objects of a result: the items of its list, the values of a map of objects, or the whole."""
    if isinstance(value, list):
        return list(value)
    if not isinstance(value, dict) or not value:
        return [value]
    lists = [item for item in value.values() if isinstance(item, list) and item and isinstance(item[0], dict)]
    if len(lists) == 1 and not any(isinstance(item, dict) for item in value.values()):
        return list(lists[0])
    if all(isinstance(item, dict) and item for item in value.values()):
        return [{"name": key, **item} for key, item in value.items() if isinstance(item, dict)]
    return [value]


def leaves(value: Json, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every scalar of a JSON value, keys of maps included: an address may stand as a key."""
    if isinstance(value, dict) and len(path) < _DEPTH:
        for key, item in value.items():
            if path:
                yield Leaf(path, key)
            yield from leaves(item, (*path, key))
    elif isinstance(value, list) and len(path) < _DEPTH:
        for item in value:
            yield from leaves(item, path)
    elif not isinstance(value, (dict, list)):
        yield Leaf(path, value)


def confidentiality(source: Source, value: Json) -> Confidentiality:
    """The highest level of the fields that a result really has."""
    levels = {_confidentiality(source, leaf) for leaf in leaves(value) if leaf.value not in (None, "")}
    return max(levels, key=list(Confidentiality).index, default=Confidentiality.PUBLIC)


def _confidentiality(source: Source, leaf: Leaf) -> Confidentiality:
    if source.secret.intersection(leaf.path):
        return Confidentiality.SECRET
    if source.public.intersection(leaf.path):
        return Confidentiality.PUBLIC
    return source.confidentiality


def integrity(source: Source, value: Json) -> Integrity:
    """Untrusted as soon as a stranger's text is in the result; empty results and attested fields taint nothing."""
    if source.integrity is not Integrity.UNTRUSTED:
        return source.integrity
    strange = any(
        isinstance(leaf.value, str) and leaf.value.strip() and not source.attested.intersection(leaf.path)
        for leaf in leaves(value)
    )
    return Integrity.UNTRUSTED if strange else Integrity.ATTESTED


# --- which object the user's words lead to ----------------------------------------------------------------------


def _chosen(words: Words, result: Result, objects: Sequence[Sequence[Leaf]]) -> int | None:
    """The one object that the look-up names exactly, that the user's words name, or the extreme that they ask for."""
    if result.keyed >= Authority.POINTED and len(objects) == 1:
        return 0
    if result.keyed >= Authority.POINTED:
        named = [i for i, each in enumerate(objects) if _names(result.source, each) & result.keys]
        if named:
            return named[0] if len(named) == 1 else None
    said = [i for i, each in enumerate(objects) if any(_says(words, name) for name in _names(result.source, each))]
    if said:
        return said[0] if len(said) == 1 else None
    return _extreme(words, result.source, objects)


def _says(words: Words, name: str) -> bool:
    return len(name) >= _NAME_CHARS and says_name(words, name)


def _names(source: Source, each: Sequence[Leaf]) -> set[str]:
    return {
        fold(leaf.value)
        for leaf in each
        if isinstance(leaf.value, str)
        and (not leaf.path or leaf.path[-1] in source.names)
        and len(leaf.value) >= _NAME_CHARS
    }


def _extreme(words: Words, source: Source, objects: Sequence[Sequence[Leaf]]) -> int | None:
    """The object that the user asked for as the largest, least, latest or earliest, by attested fields only."""
    for name, day, sign in (
        ("greatest", False, 1), ("least", False, -1), ("latest", True, 1), ("earliest", True, -1),
    ):  # fmt: skip
        if name in words.extremes and len(objects) > 1:
            measured = [_measure(source, each, day=day) for each in objects]
            fields = set.intersection(*(set(each) for each in measured))
            if len(fields) == 1:
                (field,) = fields
                return _single([each[field] for each in measured], sign)
    return None


def _measure(source: Source, each: Sequence[Leaf], *, day: bool) -> dict[str, Any]:
    return {
        leaf.path[-1]: leaf.value
        for leaf in each
        if leaf.path
        and leaf.path[-1] in source.attested
        and leaf.path[-1] not in source.ids
        and (_is_day(leaf.value) if day else _is_number(leaf.value))
    }


def is_figure(text: str) -> bool:
    """Whether a text is a number or a day and nothing else."""
    return keys_of(text)[0][0] in {"number", "day"} if keys_of(text) else True


def _is_number(value: Scalar) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_day(value: Scalar) -> bool:
    return isinstance(value, str) and any(kind == "day" for kind, _ in keys_of(value))


def _single(values: Sequence[Any], sign: int) -> int | None:
    best = max(values) if sign > 0 else min(values)
    where = [index for index, value in enumerate(values) if value == best]
    return where[0] if len(where) == 1 else None


def _is_internal(result: Result, each: Sequence[Leaf]) -> bool:
    """Whether a member of the own zone wrote the object, by a field that the system filled."""
    source = result.source
    senders = [
        fold(leaf.value)
        for leaf in each
        if isinstance(leaf.value, str)
        and leaf.path
        and leaf.path[-1] in source.senders
        and leaf.path[-1] in source.attested
    ]
    return bool(senders) and all(
        sender in result.mine or sender.rpartition("@")[2] in result.domains for sender in senders
    )


# --- marks ------------------------------------------------------------------------------------------------------


class _Book:
    """The marks under construction."""

    def __init__(self, marks: dict[Key, Mark], origin: str) -> None:
        self.marks = marks
        self.origin = origin
        self.pointed: list[str] = []
        self.vocabulary: set[str] = set()
        self.urls: set[str] = set()

    def keep(self, key: Key, level: Authority) -> None:
        _keep(self.marks, key, Mark(level, self.origin))
        if key[0] == "url":
            self.urls.add(key[1])


def _keep(marks: dict[Key, Mark], key: Key, mark: Mark) -> None:
    """The higher authority stays; among equals the smaller origin, so that order does not matter."""
    known = marks.get(key)
    if known is None or (-mark.authority, mark.origin) < (-known.authority, known.origin):
        marks[key] = mark


def _level(result: Result, leaf: Leaf, *, chosen: bool) -> Authority:
    source = result.source
    if source.integrity is Integrity.DIRECTORY and chosen:
        return Authority.DIRECTORY if result.keyed >= Authority.POLICY else min(Authority.SELECTED, result.keyed)
    if source.integrity is not Integrity.UNTRUSTED or source.attested.intersection(leaf.path):
        return _lifted(result.keyed, Authority.SELECTED) if chosen else Authority.ATTESTED
    return Authority.POINTED if chosen else Authority.UNTRUSTED


def _lifted(keyed: Authority, best: Authority) -> Authority:
    """A look-up gives no more than its key had; what the user's words named themselves needs no key."""
    return Authority.POINTED if keyed in {Authority.POINTED, Authority.INTERNAL} else best


def _enter_leaf(book: _Book, result: Result, leaf: Leaf, level: Authority, *, inside: bool) -> None:
    strange = level in {Authority.UNTRUSTED, Authority.POINTED} and not result.source.attested.intersection(leaf.path)
    if leaf.path and leaf.path[-1] in result.source.ids and isinstance(leaf.value, (str, int)):
        book.keep(("id", fold(str(leaf.value))), level)
    for key in keys_of(leaf.value):
        book.keep(key, level)
    if not isinstance(leaf.value, str):
        return
    for key in addresses(leaf.value):
        book.keep(key, Authority.INTERNAL if inside and key[0] == "url" else level)
    if strange:
        _enter_text(book, leaf.value, level, typed=result.keyed >= Authority.SELECTED)
    elif len(leaf.value) <= _TEXT_CHARS:
        _enter_parts(book, leaf.value, level)


def _enter_text(book: _Book, text: str, level: Authority, *, typed: bool) -> None:
    """A stranger's text: its words are remembered. Days and numbers in all that the user's words found count as pointed
    at, being single typed values; whole texts only in the one record that they lead to."""
    folded = fold(text)
    book.vocabulary.update(_TOKEN.findall(folded))
    if level is Authority.POINTED:
        book.pointed.append(folded)
    if level is Authority.POINTED or typed:
        _enter_typed(book, folded)


def _enter_typed(book: _Book, folded: str) -> None:
    level = Authority.POINTED
    beginning = folded[:_TEXT_CHARS]
    days, spans = read_days(beginning, lex.lexicons())
    for year, month, day in days:
        for key in [("day", f"{year:04}-{month:02}-{day:02}")] if year else []:
            book.keep(key, level)
        book.keep(("date", f"{month:02}-{day:02}"), level)
    for match in _NUMBER.finditer(beginning):
        canonical = number(match[0].replace(",", ""))
        if canonical is not None and not any(start <= match.start() < end for start, end in spans):
            book.keep(("number", canonical), level)


def _enter_parts(book: _Book, text: str, level: Authority) -> None:
    """A system's text may be a list: "Hotels: A, B": each part is a value of its own, and none of several is chosen."""
    parts = [folded for folded in map(fold, _PARTS.split(text)) if 0 < len(folded) <= MAX_KEY_CHARS]
    for folded in parts:
        book.keep(("text", folded), level if len(parts) <= _LABELLED else min(level, Authority.ATTESTED))


def _bounded(texts: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    total, kept = 0, []
    for text, origin in sorted(texts, key=lambda each: (len(each[0]), each)):
        total += len(text)
        if total > _POINTED_CHARS:
            break
        kept.append((text, origin))
    return tuple(kept)


def _clock(source: Source, value: Json) -> str:
    if not source.clock:
        return ""
    for leaf in leaves(value):
        for kind, day in keys_of(leaf.value):
            if kind == "day":
                return day
    return ""
