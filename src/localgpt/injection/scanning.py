"""The advisory scan: what in a text looks like an attempt to command a model. Linear in the text's length.

Every view of the text is searched for phrases, the classifier reads it in windows, and what can be decoded is scanned
the same way, three levels deep at most. A clean scan proves nothing and grants nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from localgpt.injection.classifier import Window, classifier, word_spans, words
from localgpt.injection.concealed import Concealed, concealed
from localgpt.injection.decoding import MAX_DEPTH, Budget, decoded
from localgpt.injection.findings import Finding, Kind, Report, View
from localgpt.injection.patterns import Family, find
from localgpt.injection.places import Shrunk, Span
from localgpt.injection.signs import signs
from localgpt.injection.skeleton import skeleton
from localgpt.injection.views import Seen, has_markup, views
from localgpt.injection.weights import ENCODED, FAMILY, HIDDEN_IN_HTML, NOT_PROSE, NOT_READ, NOTED, OBFUSCATED, UNMARKED

MAX_FINDINGS: Final = 1000
_AROUND: Final = 300  #: characters on each side of a phrase that the classifier reads with it
_MOST_WORDINGS: Final = 20
_NOTHING: Final = -99_999
_BROKEN_WORD: Final = re.compile(
    r"[a-z][^a-z\s]{1,40}[a-z]|\b[a-z]\b|[a-z][0-9@$!|][a-z]|[0-9@$!|][a-z]{2}|[a-z]{2}[0-9@$!|]"
)


def scan(text: str, *, use_classifier: bool = True) -> Report:
    """Findings in `text` by position, at most `MAX_FINDINGS`, and what they come to.

    Args:
        text: foreign text of any length and content.
        use_classifier: False leaves out what costs most; phrases and signs are still found.
    """
    budget = Budget()
    found, milli = _scan(text, budget, 0, use_classifier=use_classifier)
    if budget.spent:
        found.append(Finding(Kind.UNREAD, 0, len(text), View.WRITTEN, NOT_READ))
    found.sort(key=lambda each: -each.milli)
    kept = sorted(found[:MAX_FINDINGS], key=lambda each: (each.start, each.end))
    return Report(tuple(kept), max((milli, *(each.milli for each in kept))))


def _scan(text: str, budget: Budget, depth: int, *, use_classifier: bool) -> tuple[list[Finding], int]:
    """Findings, and the highest window of the classifier, which counts for the whole text and is none of them."""
    unseen = concealed(text) if has_markup(text) else []
    shown = skeleton(text)
    found = list(_phrases(text, shown, use_classifier=use_classifier))
    milli = _NOTHING
    if use_classifier:
        milli, wordings = _wordings(text, shown)
        found += wordings
    found = [_lifted(each, unseen) for each in found]
    found += [*signs(text), *_told(text, unseen)]
    for piece in decoded(text, budget) if depth < MAX_DEPTH else ():
        inside, inner = _scan(piece.text, budget, depth + 1, use_classifier=use_classifier)
        worst = max(inside, key=lambda each: each.milli, default=None)
        if worst is None or worst.milli < inner:
            worst = Finding(Kind.WORDING, 0, len(piece.text), View.VISIBLE, inner)
        spoken = worst.kind is Kind.PHRASE or (worst.kind is Kind.WORDING and _is_prose(piece.text))
        bonus = ENCODED if spoken else NOT_PROSE
        if worst.milli + bonus >= NOTED:
            found.append(Finding(worst.kind, *piece.span, piece.view, worst.milli + bonus, worst.detail))
    return found, milli


def _is_prose(text: str) -> bool:
    """Whether it has spaces where prose has them: the classifier has little to say about digits in rows."""
    return text.count(" ") * 12 >= len(text)


def explained(text: str) -> Iterator[tuple[View, list[str], str]]:
    """Every view of `text`: the families of the phrases found in it, and the beginning of what it shows."""
    for seen in views(text, skeleton(text)):
        families = [family.value for family, _, _ in find(seen.data, packed=seen.packed, english=seen.guess)]
        yield seen.view, families, seen.data[:400].decode("utf-8", "ignore")
    for piece in decoded(text, Budget()):
        yield piece.view, [each.detail for each in scan(piece.text).findings if each.milli >= 0], piece.text[:400]


# --- phrases -----------------------------------------------------------------------------------------------------


def _phrases(text: str, shown: str, *, use_classifier: bool) -> Iterator[Finding]:
    plain: list[Span] = []  # where the phrase is there for all to read
    for seen in views(text, shown):
        for family, start, end in find(seen.data, packed=seen.packed, english=seen.guess):
            span = seen.locate(start, end)
            if any(a < span[1] and span[0] < b for a, b in plain):
                continue
            if seen.view in {View.WRITTEN, View.VISIBLE, View.MARKUP}:
                plain.append(span)
            yield Finding(
                Kind.PHRASE, *span, seen.view, _weight(text, seen, family, span, use_classifier), family.value
            )


def _weight(text: str, seen: Seen, family: Family, span: Span, use_classifier: bool) -> int:
    start, end = span
    written = text[start:end]
    obfuscated = _obfuscation(seen.view, written)
    if not use_classifier:
        return FAMILY[family] + UNMARKED + obfuscated
    around = text[max(0, start - _AROUND) : end + _AROUND]
    unreadable = obfuscated and seen.view in {View.PACKED, View.REVERSED, View.ROT13}
    return FAMILY[family] + obfuscated + (UNMARKED if unreadable else _best(around))


def _obfuscation(view: View, written: str) -> int:
    """What it is worth that a phrase can be read in this view only."""
    shape = skeleton(written)
    if view is View.PACKED:
        return OBFUSCATED if len(_BROKEN_WORD.findall(shape)) > 2 else 0
    if view is View.WRITTEN or (view is View.VISIBLE and not _disguised(written)):
        return 0
    return OBFUSCATED


def _disguised(written: str) -> bool:
    """Whether it is a phrase in ASCII letters that was written with something else."""
    shape = skeleton(written)
    plain = written.lower()
    return shape.isascii() and shape != plain and sum(a != b for a, b in zip(shape, plain, strict=False)) > 4


# --- the classifier ----------------------------------------------------------------------------------------------


def _best(text: str) -> int:
    loaded = classifier()
    return max((window.milli for window in loaded.scores(skeleton(text))), default=_NOTHING) - loaded.threshold


def _wordings(text: str, shown: str) -> tuple[int, list[Finding]]:
    """The highest window, and those at or above the threshold; of windows that overlap, the highest."""
    loaded = classifier()
    windows = sorted(loaded.scores(shown), key=lambda window: -window.milli)
    taken: list[Window] = []
    for window in windows[: 8 * _MOST_WORDINGS]:
        overlaps = any(each.first < window.last and window.first < each.last for each in taken)
        if window.milli >= loaded.threshold and len(taken) < _MOST_WORDINGS and not overlaps:
            taken.append(window)
    spans = _characters(text, shown, taken)
    found = [
        Finding(Kind.WORDING, *span, View.VISIBLE, window.milli - loaded.threshold)
        for window, span in zip(taken, spans, strict=True)
    ]
    return (windows[0].milli - loaded.threshold if windows else _NOTHING), found


def _characters(text: str, shown: str, windows: list[Window]) -> list[Span]:
    """Where the words of windows stand in the text; the words are gone through once."""
    if not windows:
        return []
    wanted = {i for window in windows for i in (window.first, window.last - 1)}
    places = {i: span for i, span in enumerate(islice(word_spans(shown), max(wanted) + 1)) if i in wanted}
    spans = [(places[window.first][0], places[window.last - 1][1]) for window in windows]
    if text.isascii():
        return spans
    back = Shrunk(text, lambda part: skeleton(part).encode("utf-32-le", "replace"))
    return [back.span(4 * start, 4 * end) for start, end in spans]


# --- HTML --------------------------------------------------------------------------------------------------------


def _lifted(finding: Finding, unseen: list[Concealed]) -> Finding:
    """A finding counts for more where no reader sees it."""
    for each in unseen:
        if each.start <= finding.start and finding.end <= each.end and each.why != "element":
            return Finding(
                finding.kind, finding.start, finding.end, finding.view, finding.milli + HIDDEN_IN_HTML, each.why
            )
    return finding


def _told(text: str, unseen: list[Concealed]) -> Iterator[Finding]:
    """Concealed words, whatever they say; scripts and styles are no words."""
    for each in islice((e for e in unseen if e.why in {"style", "hidden", "comment"}), 100):
        if len(words(skeleton(text[each.start : each.start + 400]))) > 12:
            yield Finding(Kind.CONCEALED, each.start, each.end, View.MARKUP, _NOTHING + 1, each.why)
