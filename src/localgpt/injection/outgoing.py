"""What a model wrote, before it is shown, sent or stored: no fetches, no programs in links, no secrets, no canary.

Text is changed as little as its reader needs: a link keeps its words and shows its whole host, an image becomes words,
a secret becomes a mark that names its kind. Nothing here is a boundary: what may be sent at all is the policy's matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from localgpt.injection.cleaning import CrossesNeutralisedError, Pass
from localgpt.injection.places import Span
from localgpt.injection.secrets_found import secrets_in

_LINK: Final = re.compile(
    r"(!?)\[([^\[\]]{0,1000})\]\(\s{0,8}<?([^\s()<>]{1,4096}(?:\([^\s()<>]{0,1000}\)[^\s()<>]{0,1000})?)>?"
    r"(?:\s{1,8}(?:\"[^\"]{0,500}\"|'[^']{0,500}'))?\s{0,8}\)"
)
_IMAGE_TAG: Final = re.compile(
    r"<(?:img|iframe|script|link|object|embed|video|audio|source|form)\b[^<>]{0,4096}>", re.IGNORECASE
)
_DEFINITION: Final = re.compile(r"^ {0,3}\[([^\[\]\n]{1,300})\]:\s{0,4}<?(\S{1,4096}?)>?(?:\s.*)?$", re.MULTILINE)
_ADDRESS: Final = re.compile(r"(?<![\w/.])(?:javascript|vbscript|data):[^\s<>\"')\]]{1,65536}", re.IGNORECASE)
_MOST_PASSES: Final = 8
_PROGRAMS: Final = frozenset({"javascript", "vbscript", "data"})
_SHOWN_SCHEMES: Final = frozenset({"http", "https", "mailto", "ftp"})


class Leak(StrEnum):
    """What was taken out or rewritten."""

    IMAGE = "image"  #: it would have been fetched, and its address says something to whoever serves it
    LINK = "link"  #: its words hid where it leads
    PROGRAM = "program"  #: a ``javascript:`` or ``data:`` address
    SECRET = "secret"  #: a key, a token  # noqa: S105 -- a kind, not a password
    CANARY = "canary"  #: words of the system prompt that nobody outside should have


@dataclass(frozen=True, slots=True)
class Screened:
    """`text` may be shown, sent and stored; `leaks` say what was done, with places in what the model wrote."""

    text: str
    leaks: tuple[tuple[Leak, Span, str], ...]


def screen(text: str, *, canaries: tuple[str, ...] = ()) -> Screened:
    """Screen what a model wrote.

    Args:
        text: Markdown, of any length and content. Screening what is screened changes nothing more.
        canaries: strings of the system prompt that must not leave; found also with other spacing and case.
    """
    leaks: list[tuple[Leak, Span, str]] = []
    passes: list[Pass] = []
    now = text
    # What is taken out can bring together what was apart, so it is looked at again until nothing is found.
    while len(passes) < _MOST_PASSES and (
        edits := _disjoint([*_secrets(now), *_canaries(now, canaries), *_links(now)])
    ):
        leaks += [(leak, _origin(passes, span, len(text)), what) for span, leak, _, what in edits]
        passes.append(Pass(now, [(*span, new) for span, _, new, _ in edits]))
        now = passes[-1].result()
    return Screened(now, tuple(leaks))


def _origin(passes: list[Pass], span: Span, size: int) -> Span:
    try:
        for each in reversed(passes):
            span = each.back(*span)
    except CrossesNeutralisedError:
        return 0, size
    return span


_Edit = tuple[Span, Leak, str, str]


def _disjoint(edits: list[_Edit]) -> list[_Edit]:
    """In order; of two that overlap, the one that begins first, and of those the longer."""
    out: list[_Edit] = []
    for edit in sorted(edits, key=lambda each: (each[0][0], -each[0][1])):
        if not out or edit[0][0] >= out[-1][0][1]:
            out.append(edit)
    return out


def _secrets(text: str) -> Iterator[_Edit]:
    for secret in secrets_in(text):
        yield secret.span, Leak.SECRET, f"[{secret.kind} redacted]", secret.kind


def _canaries(text: str, canaries: tuple[str, ...]) -> Iterator[_Edit]:
    for canary in canaries:
        loose = r"[\s*_`~.-]{0,4}".join(map(re.escape, canary))
        for match in re.finditer(loose, text, re.IGNORECASE) if canary else ():
            yield match.span(), Leak.CANARY, "[canary redacted]", "canary"


def _links(text: str) -> Iterator[_Edit]:
    for match in _LINK.finditer(text):
        image, words, address = match.groups()
        host = _host(address)
        if _secret_inside(address):
            continue  # the address as a whole is rewritten below
        if image:
            yield (
                match.span(),
                Leak.IMAGE,
                f"[image not loaded: {words or 'without a name'}, {host or 'no address'}]",
                host,
            )
        elif _scheme(address) in _PROGRAMS:
            yield match.span(), Leak.PROGRAM, f"{words} [link removed]", _scheme(address)
        elif words and host and host.lower() not in words.lower() and _scheme(address) in _SHOWN_SCHEMES:
            yield match.span(), Leak.LINK, f"{words} ({address})", host
    for match in _IMAGE_TAG.finditer(text):
        yield match.span(), Leak.IMAGE, "[embedded content removed]", "html"
    for match in _DEFINITION.finditer(text):
        if _scheme(match[2]) in _PROGRAMS:
            yield match.span(), Leak.PROGRAM, f"[{match[1]}]: about:blank", _scheme(match[2])
    for match in _ADDRESS.finditer(text):
        yield match.span(), Leak.PROGRAM, "[address removed]", match[0].partition(":")[0].lower()


def _secret_inside(address: str) -> bool:
    return next(secrets_in(address), None) is not None


def _scheme(address: str) -> str:
    return address.partition(":")[0].lower()[:32] if ":" in address[:32] else ""


def _host(address: str) -> str:
    """The whole host of an address, "" when it has none."""
    try:
        parts = urlsplit(address)
        return parts.path if parts.scheme.lower() == "mailto" else parts.hostname or ""
    except ValueError:
        return ""
