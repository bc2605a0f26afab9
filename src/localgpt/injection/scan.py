"""The advisory scan: what in a text looks like an attempt to command a model. Linear in the text's length.

The phrases are those of the first LocalGPT. A clean scan proves nothing and grants nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from localgpt.injection.findings import Finding, Kind, View
from localgpt.injection.folding import fold, lower
from localgpt.injection.tokens import control_tokens, wrapper_tags
from localgpt.injection.visible import BIDI, Positions, decoded_tags, idle_runs, strip_invisible, terminal_strings

MAX_FINDINGS: Final = 1000

#: Each begins with a literal, for which `re` searches fast, and no repetition is nested or unbounded.
_PHRASES: Final = tuple(
    re.compile(pattern.replace(" ", r"[\s*_~`]{1,20}+"))
    for pattern in (
        r"ignore (?:all )?(?:of )?(?:the |your |my )?(?:previous|prior|above|earlier) (?:instructions?|prompts?|rules)",
        r"disregard (?:all )?(?:of )?(?:the |your )?(?:previous|prior|above)",
        r"forget (?:everything|all|your) (?:instructions?|rules|you)",
        r"forget everything",
        r"you are now an? ",
        r"new instructions?:",
        r"system:? (?:prompt|override|command):",
        r"act as (?:if|you|an?) ",
        r"pretend (?:to be|you are)",
        r"from now on,? (?:you|ignore|forget)",
        r"bypass (?:your )?(?:safety|rules|restrictions)",
    )
)
_ZERO_WIDTH: Final = re.compile(
    "[\u200b-\u200d\u2060-\u2064\ufe00-\ufe0f\U000e0100-\U000e01ef\u115f\u1160\u3164\uffa0\u034f]"
)


def scan(text: str) -> tuple[Finding, ...]:
    """Findings in `text`, in order of their position, at most `MAX_FINDINGS`."""
    found = sorted(islice(_all(text), MAX_FINDINGS), key=lambda finding: (finding.start, finding.end))
    return tuple(found)


def _all(text: str) -> Iterator[Finding]:
    yield from (Finding(Kind.TERMINAL, *span, View.WRITTEN) for span in terminal_strings(text))
    for start, end in idle_runs(text):
        yield from _hidden(text, start, end)
    visible = strip_invisible(text)
    hides = len(visible) != len(text)
    folded = fold(visible)
    spans = (
        *((Kind.BOUNDARY, span) for span in wrapper_tags(folded)),
        *((Kind.CONTROL_TOKEN, span) for span in control_tokens(folded)),
        *((Kind.PHRASE, span) for span in _phrases(folded)),
    )
    positions = Positions(text if hides and spans else "")
    view = View.VISIBLE if hides or folded != visible else View.WRITTEN
    for kind, (start, end) in spans:
        yield Finding(kind, positions.original(start), positions.original(end - 1) + 1, view)


def _phrases(folded: str) -> Iterator[tuple[int, int]]:
    lowered = lower(folded)
    for pattern in _PHRASES:
        for match in pattern.finditer(lowered):
            start = match.start()
            if start == 0 or not lowered[start - 1].isalnum():
                yield match.span()


def _hidden(text: str, start: int, end: int) -> Iterator[Finding]:
    run = text[start:end]
    if spelled := decoded_tags(run):
        yield Finding(Kind.TAGS, start, end, View.TAGS)
        if any(True for _ in _phrases(spelled)):
            yield Finding(Kind.PHRASE, start, end, View.TAGS)
    if BIDI.search(run):
        yield Finding(Kind.BIDI, start, end, View.WRITTEN)
    if _ZERO_WIDTH.search(run):  # a soft hyphen or a byte order mark alone is everyday text
        yield Finding(Kind.HIDDEN, start, end, View.WRITTEN)
