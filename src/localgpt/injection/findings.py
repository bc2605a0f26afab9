"""What a scan reports. Findings advise a person; nothing is ever allowed because a scan found nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What was noticed."""

    PHRASE = "phrase"  #: words that try to give a model orders
    CONTROL_TOKEN = "control-token"  # noqa: S105 -- a chat template's token, not a password
    BOUNDARY = "boundary"  #: a guess at the wrapper of foreign content
    HIDDEN = "hidden"  #: characters that no reader sees
    BIDI = "bidi"  #: characters that reorder what a reader sees
    TAGS = "tags"  #: ASCII spelled in invisible tag characters
    TERMINAL = "terminal"  #: a terminal command beyond colours and cursor movement


class View(StrEnum):
    """The form of the text in which it was noticed."""

    WRITTEN = "written"  #: as it stands
    VISIBLE = "visible"  #: without invisible characters, look-alike letters folded
    TAGS = "tags"  #: the ASCII that tag characters spell


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed in `text[start:end]` of the original text (code points)."""

    kind: Kind
    start: int
    end: int
    view: View
