"""HTML as a person sees it: what a browser does not show is found, and left out where it is asked for.

Not a parser: tags are found one by one in linear time, and an element is concealed from the tag that says so to its
end tag. What this takes for shown and a browser hides is shown to the model inside its boundary like all foreign text;
what this takes for hidden is reported.

Source: HTML Living Standard, 13.2.5 (comments, raw text elements); CSS 2.2 for the properties.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from localgpt.injection.folding import lower
from localgpt.injection.places import Span

MAX_SPANS: Final = 4000
MAX_TAGS: Final = 20_000  #: with attributes, of one text
#: Elements whose content is never text on the page.
_UNSHOWN: Final = frozenset({"script", "style", "template", "noscript", "head", "title", "object", "iframe", "svg"})
_VOID: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_BREAKS: Final = frozenset(
    {"p", "div", "br", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "hr",
     "header", "footer", "blockquote", "pre", "dt", "dd", "title"}
)  # fmt: skip
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]{0,31})([^<>]{0,4096})>")
_START: Final = re.compile(
    r"<(?:!--|(?=[a-z])(?:(script|style|template|noscript|head|title|object|iframe|svg)(?=[\s>/])([^<>]{0,4096})>"
    r"|([a-z][a-z0-9-]{0,31})(\s[^<>]{1,4096})>))",
)
_STYLE: Final = re.compile(
    r"display\s{0,4}:\s{0,4}none|visibility\s{0,4}:\s{0,4}(?:hidden|collapse)|opacity\s{0,4}:\s{0,4}(?:0?\.0+|0)(?![.\d])"
    r"|font-size\s{0,4}:\s{0,4}(?:0|0?\.\d|1)(?:px|pt|em|rem|%)?(?![.\d])|(?:max-)?(?:height|width)\s{0,4}:\s{0,4}0(?:px)?(?![.\d%])"
    r"|text-indent\s{0,4}:\s{0,4}-\d{3,}|(?:left|top|right|bottom|margin-left)\s{0,4}:\s{0,4}-\d{3,}|clip\s{0,4}:\s{0,4}rect\(0"
    r"|clip-path\s{0,4}:\s{0,4}inset\((?:50|100)%|transform\s{0,4}:\s{0,4}scale\(0",
    re.IGNORECASE,
)
_COLOUR: Final = re.compile(
    r"(?<![-\w])(color|background(?:-color)?)\s{0,4}[:=]\s{0,4}[\"']?([#\w]{3,20}(?:\([^)]{0,40}\))?)", re.IGNORECASE
)
_HIDDEN: Final = re.compile(
    r"(?:^|\s)(?:hidden(?=[\s/=]|$)|aria-hidden\s{0,2}=\s{0,2}[\"']?true|type\s{0,2}=\s{0,2}[\"']?hidden)",
    re.IGNORECASE,
)
_SPOKEN: Final = re.compile(
    r"(?:^|\s)(alt|title|aria-label|aria-description|content|placeholder|data-[a-z-]{1,24})\s{0,2}=\s{0,2}(\"[^\"]*\"|'[^']*')",
    re.IGNORECASE,
)
_WHITE: Final = frozenset({"white", "#fff", "#ffffff", "#fefefe", "transparent", "rgba(0,0,0,0)", "rgb(255,255,255)"})


@dataclass(frozen=True, slots=True)
class Concealed:
    """A span that a browser does not show. `why`: "comment", "style", "hidden", "attribute", "element"."""

    start: int
    end: int
    why: str


def concealed(text: str) -> list[Concealed]:
    """What of an HTML text no reader sees, in order, the first `MAX_SPANS`."""
    found: list[Concealed] = []
    if "<" not in text:
        return found
    for each in _walk(text):
        if len(found) == MAX_SPANS:
            break
        found.append(each)
    return sorted(found, key=lambda each: (each.start, -each.end))


def is_html(text: str) -> bool:
    """Whether a text is a page or a piece of one, rather than prose or code with some tags in it."""
    head = text[:2048].lstrip("\ufeff \t\r\n").lower()
    if head.startswith(("<!doctype html", "<html", "<head", "<body", "<!--", "<div", "<p>", "<p ", "<table", "<span")):
        return True
    return "<body" in head or "</p>" in head


def visible_text(text: str) -> tuple[str, list[tuple[int, int, str]]]:
    """What a reader sees of HTML, and the edits that lead there: (start, end, replacement), in order."""
    cuts = _merged([(each.start, each.end) for each in concealed(text) if each.why != "attribute"])
    edits: list[tuple[int, int, str]] = []
    at = 0
    for start, end in [*cuts, (len(text), len(text))]:
        edits += _tag_edits(text, at, start)
        if end > start:
            edits.append((start, end, ""))
        at = end
    out, at = [], 0
    for start, end, new in edits:
        out += [text[at:start], new]
        at = end
    return "".join((*out, text[at:])), edits


def _tag_edits(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    for match in _TAG.finditer(text, start, end):
        name = match[2].lower()
        yield (*match.span(), "\n" if name in _BREAKS else "")


def _merged(spans: list[Span]) -> list[Span]:
    out: list[Span] = []
    for start, end in spans:
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def _walk(text: str) -> Iterator[Concealed]:
    """Comments by search, tags by pattern, each element that is not shown up to its end tag."""
    at, size, lowered, closes = 0, len(text), lower(text), True
    last: dict[str, int] = {}
    for _ in range(MAX_TAGS):
        match = _START.search(lowered, at)
        if match is None:
            return
        start, at = match.span()
        if not (match[1] or match[3]):
            end = text.find("-->", at) if closes else -1
            closes = end >= 0  # an open comment is looked for once; a browser hides the rest of the page
            at = end + 3 if closes else size
            yield Concealed(start, at, "comment")
            continue
        group = 2 if match[1] else 4
        name, attributes = (match[1] or match[3]), match[group]
        why = _why(name, attributes)
        if why and name not in _VOID and not attributes.endswith("/"):
            if name not in last:
                last[name] = lowered.rfind(f"</{name}")
            at = _closing(lowered, name, at) if at <= last[name] else _unclosed(lowered, name, at)
            yield Concealed(start, at, why)
        for spoken in _SPOKEN.finditer(attributes) if "=" in attributes else ():
            yield Concealed(
                match.start(group) + spoken.start(2) + 1, match.start(group) + spoken.end(2) - 1, "attribute"
            )


def _why(name: str, attributes: str) -> str:
    if name in _UNSHOWN:
        return "element"
    if not attributes:
        return ""
    if _HIDDEN.search(attributes):
        return "hidden"
    return "style" if _STYLE.search(attributes) or _same_colour(attributes) else ""


def _same_colour(attributes: str) -> bool:
    """White on the page's white, or text in the colour of its background."""
    colours = {
        m[1].lower().removesuffix("-color"): html.unescape(m[2]).lower().replace(" ", "")
        for m in _COLOUR.finditer(attributes)
    }
    text, ground = colours.get("color"), colours.get("background")
    return text is not None and (text == ground or (ground is None and text in _WHITE))


def _closing(lowered: str, name: str, at: int) -> int:
    """Where the element ends. Nested ones of its name are counted.

    Whatever happens, what was searched is passed over, so that the whole walk stays linear.
    """
    opening, closing = f"<{name}", f"</{name}"
    depth, position, end = 1, at, lowered.find(closing, at)
    while depth and end >= 0:
        depth += lowered.count(opening, position, end) - 1
        position = end + len(closing)
        end = lowered.find(closing, position) if depth else end
    stop = lowered.find(">", position)
    return stop + 1 if stop >= 0 else len(lowered)


def _unclosed(lowered: str, name: str, at: int) -> int:
    """Without an end tag an element goes to the next of its name."""
    following = lowered.find(f"<{name}", at)
    return following if following >= 0 and name not in _UNSHOWN else len(lowered)
