"""Wrap foreign text so that a model can tell where it begins and ends, and nothing inside can pretend otherwise."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from localgpt.errors import LocalGptError
from localgpt.injection.findings import Finding
from localgpt.injection.folding import fold, lower
from localgpt.injection.signs import forged
from localgpt.injection.tokens import neutralise
from localgpt.injection.visible import strip_idle, strip_terminal

MAX_CHARS: Final = 50_000  #: of one value in the context
_TAIL_SHARE: Final = 4  #: of what is kept of a long text, one part in four is its end
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BOUNDARY: Final = re.compile("[0-9a-f]{32}")


class Wrapper(StrEnum):
    """The names of the boundaries; all are one flat level, and none may stand inside another."""

    EXTERNAL = "external_content"
    TOOL = "tool_output"
    MEMORY = "memory_context"


class BoundaryOccursError(LocalGptError):
    """The boundary that was asked for stands in the content, or is not 128 bits in lower-case hex."""

    code: ClassVar[str] = "injection.boundary"


@dataclass(frozen=True, slots=True)
class Bound:
    """`text` is ready for a context; `findings` are what is forged or concealed in the original; `scan` finds more."""

    text: str
    boundary: str
    findings: tuple[Finding, ...]
    omitted_chars: int = 0


def bound(
    text: str,
    *,
    source: str,
    boundary: str | None = None,
    max_chars: int = MAX_CHARS,
    wrapper: Wrapper = Wrapper.EXTERNAL,
    label: str = "",
) -> Bound:
    """Clean `text` and wrap it between two lines that carry an unguessable boundary.

    Args:
        text: foreign text of any length and content; lone surrogates become U+FFFD.
        source: where it is from, for the opening line; foreign too, and cleaned.
        boundary: 32 lower-case hex digits; None draws 128 random bits that do not occur in the text.
        wrapper: which name the boundary has.
        label: integrity and confidentiality, for the opening line; the runtime's own words.
        max_chars: a longer text keeps its beginning and its end, with a marker between them.

    Raises:
        BoundaryOccursError: when the given `boundary` occurs in the text or is of another form.
    """
    kept, omitted = _clipped(text, max_chars)
    inside, count = neutralise(clean(kept))
    mark = _drawn(inside) if boundary is None else _checked(boundary, inside)
    note = f' note="{count} control tokens shown with ‹ › ⟦ ⟧"' if count else ""
    labelled = f' label="{_source(label)}"' if label else ""
    opening = f'<{wrapper} id={mark} source="{_source(source)}"{labelled}{note}>'
    whole = f"{opening}\n{inside}\n</{wrapper} id={mark}>"
    return Bound(whole, mark, tuple(forged(text)), omitted)


def clean(text: str) -> str:
    """`text` as a reader would see it: no terminal control, nothing invisible that hides something.

    Control tokens are still in it; `neutralise` rewrites them.
    """
    if not text.isascii():
        text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
    return strip_idle(strip_terminal(text))


def clean_line(text: str, max_chars: int) -> str:
    """`text` on one line of at most `max_chars`, cleaned and neutralised: a name, a title, an origin."""
    line = " ".join(clean(text[: 4 * max_chars]).split())
    return neutralise(line)[0][:max_chars]


def _source(source: str) -> str:
    line = clean_line(source, 120)
    return "".join(char if char not in '"<>&' and fold(char) not in '"<>&' else "'" for char in line) or "unnamed"


def _clipped(text: str, max_chars: int) -> tuple[str, int]:
    if len(text) <= max_chars:
        return text, 0
    tail = max_chars // _TAIL_SHARE
    omitted = len(text) - max_chars
    return f"{text[: max_chars - tail]}\n[… {omitted} characters left out here …]\n{text[-tail:]}", omitted


def _drawn(inside: str) -> str:
    folded = lower(fold(inside))
    while (mark := secrets.token_hex(16)) in folded:
        pass
    return mark


def _checked(boundary: str, inside: str) -> str:
    if not _BOUNDARY.fullmatch(boundary) or boundary in lower(fold(inside)):
        raise BoundaryOccursError("the boundary occurs in the content, or is not 32 lower-case hex digits")
    return boundary
