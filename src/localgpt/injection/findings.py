"""What a scan reports. Findings advise a person; nothing is ever allowed because a scan found nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What was noticed."""

    PHRASE = "phrase"  #: words that try to give a model orders
    WORDING = "wording"  #: a stretch that the classifier takes for an order to a model
    CONTROL_TOKEN = "control-token"  # noqa: S105 -- a chat template's token, not a password
    BOUNDARY = "boundary"  #: a guess at the wrapper of foreign content
    HIDDEN = "hidden"  #: characters that no reader sees
    CONCEALED = "concealed"  #: HTML that a browser does not show
    BIDI = "bidi"  #: characters that reorder what a reader sees
    TAGS = "tags"  #: ASCII spelled in invisible tag characters
    MIXED = "mixed-script"  #: one word in letters of two scripts that look alike
    MARKS = "marks"  #: more combining marks on a letter than any script needs
    TERMINAL = "terminal"  #: a terminal command beyond colours and cursor movement
    LINK = "link"  #: an image or link that would carry something away, or that runs code
    UNREAD = "unread"  #: more encoded text than the budget allows to look at


class View(StrEnum):
    """The form of the text in which it was noticed."""

    WRITTEN = "written"  #: as it stands
    VISIBLE = "visible"  #: without invisible characters, look-alike letters folded
    MARKUP = "markup"  #: without tags
    PACKED = "packed"  #: letters only, digits read as letters
    REVERSED = "reversed"  #: from its end
    ROT13 = "rot13"
    TAGS = "tags"  #: the ASCII that tag characters spell
    SELECTORS = "selectors"  #: the bytes that variation selectors spell
    BASE64 = "base64"
    HEX = "hex"
    PERCENT = "percent"
    ENTITIES = "entities"
    ESCAPES = "escapes"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed in `text[start:end]` of the original text (code points).

    `milli`: how much it looks like an attack, in thousandths of a logit above the threshold; below zero it is worth
    showing and no more. `detail`: one word on what it was ("override", "comment").
    """

    kind: Kind
    start: int
    end: int
    view: View
    milli: int = -99_999
    detail: str = ""

    @property
    def score(self) -> float:
        """The same between 0 and 1, rounded to three places; 0.5 is the threshold."""
        return probability(self.milli)


@dataclass(frozen=True, slots=True)
class Report:
    """What a scan made of one text. `milli` as in `Finding`, of the text as a whole."""

    findings: tuple[Finding, ...]
    milli: int

    @property
    def flagged(self) -> bool:
        """Whether somebody should look at it. Never a reason to drop it, nor to trust it when false."""
        return self.milli >= 0

    @property
    def score(self) -> float:
        return probability(self.milli)


def probability(milli: int) -> float:
    """The logistic function of thousandths of a logit, to three places."""
    return round(1 / (1 + math.exp(-max(-20_000, min(20_000, milli)) / 1000)), 3)
