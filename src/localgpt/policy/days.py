"""Days and hours in a person's words: ISO, numeric, with a month's name in a known language, and relative ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

from localgpt.policy.lexicon import Lexicon, Match

if TYPE_CHECKING:
    from localgpt.policy.words import Words

Day = tuple[int | None, int, int]  #: the year if it was said, month, day
Span = tuple[int, int]

_YEAR_FIRST: Final = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_YEAR_LAST: Final = re.compile(r"(?<![\d.])(\d{1,2})[./-](\d{1,2})[./-](\d{4}|\d{2})(?!\d)")
_NO_YEAR: Final = re.compile(r"(?<![\d.])(\d{1,2})\.\s?(\d{1,2})\.(?!\d)")
_HAN: Final = re.compile(r"(?:(\d{4})\s?年\s?)?(\d{1,2})\s?月\s?(\d{1,2})\s?[日号號]")
_WORD: Final = re.compile(r"\w+[.'’]?\w*|[-–]")
_FIGURE: Final = re.compile(r"(\d{1,2})(?:st|nd|rd|th|er|\.|º|ª|e)?$")
_YEAR: Final = re.compile(r"(?:19|20)\d\d")
_CLOCK: Final = re.compile(r"(?<!\d)(\d{1,2})[:h.時时点點](\d{2})(?!\d)\s?([ap])?")
_HOUR: Final = re.compile(r"(?<![\d:.])(\d{1,2})\s?(am\b|pm\b|a\.m\.|p\.m\.|uhr|h\b|時|时|点|點|heures?\b)")
_REACH: Final = 6  #: words on each side of a month's name
_WEEK: Final = 7


def read_days(text: str, spoken: Sequence[Lexicon]) -> tuple[frozenset[Day], list[Span]]:
    """The days that a folded text names, and where their figures stand."""
    first = (*_YEAR_FIRST.finditer(text), *_HAN.finditer(text))
    found: list[tuple[Day, Span]] = [((int(m[1]) if m[1] else None, int(m[2]), int(m[3])), m.span()) for m in first]
    for match in _YEAR_LAST.finditer(text):
        year = int(match[3]) + (2000 if len(match[3]) == 2 else 0)
        found += _either(year, int(match[1]), int(match[2]), match.span())
    found += [((None, int(match[2]), int(match[1])), match.span()) for match in _NO_YEAR.finditer(text)]
    for lexicon in spoken:
        if lexicon.match is not Match.SUBSTRING:
            found += _named(text, lexicon)
    real = [(day, span) for day, span in found if 1 <= day[1] <= 12 and 1 <= day[2] <= 31]
    return frozenset(day for day, _ in real), [span for _, span in real]


def _either(year: int, first: int, second: int, span: Span) -> list[tuple[Day, Span]]:
    """03/04/2025 is one day in some countries and another elsewhere: both count as said."""
    return [((year, second, first), span), ((year, first, second), span)]


def _named(text: str, lexicon: Lexicon) -> Iterator[tuple[Day, Span]]:
    """Days with a month's name: "May 15th, 2024", "13th to 17th of May", "15. Mai", "15 de mayo"."""
    words = [(match[0], match.span()) for match in _WORD.finditer(text)]
    for index, (word, _) in enumerate(words):
        month = lexicon.months.get(word.rstrip("."))
        if month is None:
            continue
        year = _year_after(words, index)
        for position in (*_figures(words, index, -1, lexicon), *_figures(words, index, 1, lexicon)):
            figure = _FIGURE.match(words[position][0])
            if figure:
                yield (year, month, int(figure[1])), words[position][1]


def _figures(words: Sequence[tuple[str, Span]], index: int, step: int, lexicon: Lexicon) -> list[int]:
    """The figures on one side of a month's name: at most two, with only glue between them and the name."""
    found: list[int] = []
    for distance in range(1, _REACH):
        position = index + step * distance
        if not 0 <= position < len(words) or len(found) == 2:
            break
        word = words[position][0]
        if _FIGURE.match(word):
            found.append(position)
        elif word.rstrip(".") not in lexicon.date_glue:
            break
    return found


def _year_after(words: Sequence[tuple[str, Span]], index: int) -> int | None:
    for word, _ in words[index + 1 : index + 8]:
        if _YEAR.fullmatch(word):
            return int(word)
    return None


def clocks(text: str) -> frozenset[str]:
    """The times of day that a folded text names, as HH:MM."""
    found = set()
    for match in _CLOCK.finditer(text):
        found |= _clock(int(match[1]), int(match[2]), afternoon=match[3] == "p")
    for match in _HOUR.finditer(text):
        found |= _clock(int(match[1]), 0, afternoon=match[2].startswith("p"))
    return frozenset(found)


def _clock(hour: int, minute: int, *, afternoon: bool) -> set[str]:
    if hour > 23 or minute > 59:
        return set()
    found = {f"{hour:02}:{minute:02}"}
    return found | {f"{hour + 12:02}:{minute:02}"} if afternoon and hour < 12 else found


def names_day(words: Words, day: str, today: str) -> bool:
    """Whether the user's words name an ISO day; relative ones need `today`, an ISO day or "".

    The year is not compared: a model may pick a wrong one, and which day was meant is not in doubt.
    """
    month, number = int(day[5:7]), int(day[8:10])
    if any((m, d) == (month, number) for _, m, d in words.days):
        return True
    if not today or not (words.offsets or words.weekdays):
        return False
    try:
        wanted, now = date.fromisoformat(day), date.fromisoformat(today[:10])
    except ValueError:
        return False
    distance = (wanted - now).days
    return distance in words.offsets or (0 <= distance <= _WEEK and wanted.weekday() in words.weekdays)
