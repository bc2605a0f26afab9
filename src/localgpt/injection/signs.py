"""What is suspicious whatever it says: forged structure, concealed characters, links that carry something away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any, Final

from localgpt.injection.findings import Finding, Kind, View
from localgpt.injection.folding import fold
from localgpt.injection.linear import linear
from localgpt.injection.places import Cut, characters
from localgpt.injection.tokens import control_tokens, wrapper_tags
from localgpt.injection.visible import (
    BIDI,
    decoded_tags,
    idle_runs,
    invisible_runs,
    strip_invisible,
    terminal_strings,
)

_MOST: Final = 1000  #: of each kind
_ZERO_WIDTH: Final = re.compile(
    "[\u200b-\u200d\u2060-\u2064\ufe00-\ufe0f\U000e0100-\U000e01ef\u115f\u1160\u3164\uffa0\u034f]"
)
_MARKS: Final = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{5,}+")
_LATIN: Final = "[A-Za-z]"
_ALIKE: Final = "[\u0370-\u03ff\u0400-\u04ff\u0500-\u052f\u13a0-\u13ff]"
#: A letter of another script inside a Latin word, or the other way round.
_MIXED: Final = re.compile(
    f"{_ALIKE}(?:(?<={_LATIN}{_ALIKE})(?={_LATIN})|(?<={_LATIN}{_LATIN}{_ALIKE})|{_ALIKE}{_LATIN}(?={_ALIKE}))"
)
#: An image or link whose address has a place for something to be filled in, or that is a program itself.
_CARRIES: Final = (
    rb"\]\(\s{0,3}<?https?://[^\s()<>\[\]{}$%]{3,200}[?&/=#]"
    rb"(?:\{|\$\{|\[|%7[bB]|<|\{\{|%s|SECRET|DATA|PASSWORD|API_?KEY)"
)
_RUNS: Final = (
    rb"(?i)(?:\]\(|\]:|href\s{0,2}=|src\s{0,2}=|<)\s{0,3}[\"'<]?\s{0,3}"
    rb"(?:javascript|vbscript|data:text/html|data:application)"
)
_CLIPBOARD: Final = re.compile("[\x1b\x9d]\\]?52;")


def signs(text: str) -> Iterator[Finding]:
    """Everything of this module in `text`; positions are the original's."""
    yield from forged(text)
    yield from _links(text)


def forged(text: str) -> Iterator[Finding]:
    """What cleaning takes out or rewrites; without the patterns' library, for processes that cannot load it."""
    yield from _structure(text)
    for start, end in islice(terminal_strings(text), _MOST):
        clipboard = _CLIPBOARD.match(text, start) is not None
        worth, detail = (1500, "clipboard") if clipboard else (-2000, "")
        yield Finding(Kind.TERMINAL, start, end, View.WRITTEN, worth, detail)
    if not text.isascii():
        yield from _characters(text)


@cache
def _links_pattern() -> tuple[Any, Any]:
    return linear(_CARRIES), linear(_RUNS)


def _links(text: str) -> Iterator[Finding]:
    data = text.encode("utf-8", "replace")
    carries, runs = _links_pattern()
    for match in islice(carries.finditer(data), _MOST):
        yield Finding(Kind.LINK, *characters(data, match.span()), View.WRITTEN, 500, "carries")
    for match in islice(runs.finditer(data), _MOST):
        markdown = match[0].startswith(b"]")  # in HTML, `javascript:void(0)` is an old habit
        yield Finding(Kind.LINK, *characters(data, match.span()), View.WRITTEN, 300 if markdown else -1500, "runs")


def _structure(text: str) -> Iterator[Finding]:
    visible = strip_invisible(text)
    folded = fold(visible)
    found = [(Kind.BOUNDARY, 1000, span) for span in islice(wrapper_tags(folded), _MOST)]
    found += [(Kind.CONTROL_TOKEN, -2500, span) for span in islice(control_tokens(folded), _MOST)]
    hides = len(visible) != len(text)
    places = Cut(list(invisible_runs(text)) if hides and found else [])
    for kind, milli, (start, end) in found:
        span = places.span(start, end)
        split = span[1] - span[0] != end - start
        view = View.VISIBLE if hides or folded[start:end] != visible[start:end] else View.WRITTEN
        # Nobody splits a token with invisible characters by chance.
        yield Finding(kind, *span, view, 1500 if split else milli, "split" if split else "")


def _characters(text: str) -> Iterator[Finding]:
    for start, end in islice(idle_runs(text), _MOST):
        run = text[start:end]
        if spelled := decoded_tags(run):
            yield Finding(Kind.TAGS, start, end, View.TAGS, 2000 if sum(map(str.isalpha, spelled)) > 3 else -1500)
        if BIDI.search(run):
            yield Finding(Kind.BIDI, start, end, View.WRITTEN, -2500)
        if _ZERO_WIDTH.search(run):  # a soft hyphen or a byte order mark alone is everyday text
            yield Finding(Kind.HIDDEN, start, end, View.WRITTEN, 500 if end - start > 15 else -2500)
    for match in islice(_MARKS.finditer(text), _MOST):
        yield Finding(Kind.MARKS, *match.span(), View.WRITTEN, -2500)
    for match in islice(_MIXED.finditer(text), _MOST):
        yield Finding(Kind.MIXED, *match.span(), View.WRITTEN, -2500)
