"""Foreign text as it enters a context: nothing hidden, nothing a terminal or a tokenizer would act on, and a way back.

Cleaning goes through passes, each a list of edits of what the one before gave: HTML reduced to what a reader sees (when
asked for), line ends, terminal sequences, invisible characters, control tokens. The edits are kept, so that a stretch
of the clean text leads back to exactly the characters and bytes it came from; one that touches a neutralised place
leads nowhere, and an edit there is refused.
"""

from __future__ import annotations

import html as entities
import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

from localgpt.errors import LocalGptError
from localgpt.injection.concealed import visible_text
from localgpt.injection.places import Span
from localgpt.injection.tokens import neutral_edits
from localgpt.injection.visible import Edit, idle_edits, line_ends, strip_idle, strip_terminal, terminal_runs

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]+")
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});?")


class CrossesNeutralisedError(LocalGptError):
    """A stretch of cleaned text that does not stand like this in the original."""

    code: ClassVar[str] = "injection.crosses-neutralised"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """`text` is ready for a context, `original` is what it was made of. The way back is computed when it is asked for.

    `tokens` counts the control tokens and wrapper tags that are written with look-alikes.
    """

    text: str
    original: str
    tokens: int
    _passes: tuple[Pass, ...]

    def original_span(self, start: int, end: int) -> Span:
        """Where ``text[start:end]`` stands in the original, in code points.

        Raises:
            CrossesNeutralisedError: something was changed or taken out between its ends.
        """
        for each in reversed(self._passes):
            start, end = each.back(start, end)
        return start, end

    def original_bytes(self, start: int, end: int) -> Span:
        """The same in bytes of the original in UTF-8 (of `clean_bytes`: of those bytes).

        Raises:
            CrossesNeutralisedError
        """
        first, last = self.original_span(start, end)
        size = _size(self.original[:first])
        return size, size + _size(self.original[first:last])

    def edited(self, start: int, end: int, new: str) -> str:
        """The original with the characters behind ``text[start:end]`` replaced, everything else as it was.

        Raises:
            CrossesNeutralisedError
        """
        first, last = self.original_span(start, end)
        return self.original[:first] + new + self.original[last:]


class Pass:
    """The edits of one pass over `text`; found anew when a way back is asked for, unless they are known already."""

    def __init__(self, text: str, edits: list[Edit] | None, kind: str = "") -> None:
        self._text = text
        self._known = edits
        self._kind = kind

    @cached_property
    def _edits(self) -> list[Edit]:
        return _FIND[self._kind](self._text) if self._known is None else self._known

    @cached_property
    def _outputs(self) -> tuple[list[int], list[int]]:
        """Where each replacement begins and ends in what the pass gave."""
        begins, ends, shift = [], [], 0
        for start, end, new in self._edits:
            begins.append(start + shift)
            ends.append(start + shift + len(new))
            shift += len(new) - (end - start)
        return begins, ends

    def result(self) -> str:
        """What the pass gives."""
        return _applied(self._text, self._edits)[0]

    def back(self, start: int, end: int) -> Span:
        """From a span of what the pass gave to the span it came from.

        Raises:
            CrossesNeutralisedError
        """
        begins, ends = self._outputs
        first = bisect_right(ends, start)  # the first edit that ends behind `start`
        if first < len(begins) and begins[first] < end:
            raise CrossesNeutralisedError(
                f"between {start} and {end} the text was neutralised, so it is not in the original like this",
                cure="choose a stretch without ‹ › ⟦ ⟧ ¦ ꞉ and hidden characters, or replace the whole file",
            )
        return start + self._shift(first), end + self._shift(first)

    def _shift(self, count: int) -> int:
        """How much longer the original is in front of edit number `count`."""
        if count == 0:
            return 0
        return self._edits[count - 1][1] - self._outputs[1][count - 1]


def _surrogates(text: str) -> list[Edit]:
    return [(*match.span(), "\N{REPLACEMENT CHARACTER}") for match in _SURROGATE.finditer(text)]


_FIND: Final = {"surrogates": _surrogates, "lines": line_ends, "terminal": terminal_runs, "idle": idle_edits}


def cleaned(text: str, *, html: bool = False) -> Cleaned:
    """Clean `text` whole. Cleaning what is clean already changes nothing.

    Args:
        text: foreign text of any length and content; lone surrogates become U+FFFD.
        html: reduce tags, and what a browser does not show, to what a reader would see.
    """
    passes: list[Pass] = []
    now = text
    if html:
        now = _take(passes, now, *_page(now))
    if not now.isascii() and _SURROGATE.search(now):
        passes.append(Pass(now, None, "surrogates"))
        now = _SURROGATES.sub(lambda match: "\N{REPLACEMENT CHARACTER}" * len(match[0]), now)
    plain = strip_terminal(now)
    if plain is not now:
        passes.append(Pass(now, None, "lines"))
        passes.append(Pass(_lines(now), None, "terminal"))
    kept = strip_idle(plain)
    if len(kept) != len(plain):
        passes.append(Pass(plain, None, "idle"))
    count = 0
    while edits := neutral_edits(kept):
        count += len(edits)
        kept = _take(passes, kept, *_applied(kept, edits))
    return Cleaned(kept, text, count, tuple(passes))


def clean_bytes(data: bytes, *, html: bool = False) -> Cleaned:
    """Clean the bytes of a file: what is not UTF-8 is shown as U+FFFD and is kept byte for byte by every edit."""
    return cleaned(data.decode("utf-8", "surrogateescape"), html=html)


def _take(passes: list[Pass], before: str, after: str, edits: list[Edit]) -> str:
    if edits:
        passes.append(Pass(before, edits))
    return after


def _applied(text: str, edits: list[Edit]) -> tuple[str, list[Edit]]:
    parts, at = [], 0
    for start, end, new in edits:
        parts += [text[at:start], new]
        at = end
    return "".join((*parts, text[at:])), edits


def _page(text: str) -> tuple[str, list[Edit]]:
    """Tags and entities in one list of edits."""
    _, edits = visible_text(text)
    out: list[Edit] = []
    at = 0
    for edit in [*edits, (len(text), len(text), "")]:
        shown = ((match, entities.unescape(match[0])) for match in _ENTITY.finditer(text, at, edit[0]))
        out += [(*match.span(), char) for match, char in shown if char != match[0]]
        out += [edit] if edit[1] > edit[0] else []
        at = edit[1]
    return _applied(text, out)


def _lines(text: str) -> str:
    for end in ("\r\n", "\r", "\x0b", "\x0c", "\x85"):
        text = text.replace(end, "\n")
    return text


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape" if _SURROGATE.search(text) else "strict"))
