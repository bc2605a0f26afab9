"""Characters that no reader sees: taken out where they hide something, kept where a script or an emoji needs them.

Source: Unicode 16 (Default_Ignorable_Code_Point); UTS #51 (emoji sequences); UAX #9 (bidi controls); ECMA-48 and
xterm's ctlseqs (terminal control sequences).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from localgpt.injection.folding import distinct

_IGNORABLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_EMOJI: Final = "[\U0001f000-\U0001faff\u2190-\u2bff\u00a9\u00ae\u203c\u2049\u2122\u2139\u3030\u303d\u3297\u3299\u20e3]"
_JOINING: Final = "[\u0600-\u08ff\u0900-\u109f\u1780-\u17ff]"  # Arabic and its kin; the Indic scripts and Khmer
_RIGHT_TO_LEFT: Final = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
_IDEOGRAPH: Final = "[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_SELECTOR: Final = "[\ufe00-\ufe0f\U000e0100-\U000e01ef]"  # a run of them carries hidden bytes; one alone does its job

#: What an invisible character must stand between to be honest work. Looked at after it was consumed, so that each
#: branch begins with a look behind at it and what precedes it.
_HONEST: Final = "|".join(
    (
        f"(?:(?<={_EMOJI}\u200d)|(?<={_EMOJI}\ufe0f\u200d))(?={_EMOJI})",
        f"(?<={_EMOJI}[\ufe0e\ufe0f])(?!{_SELECTOR})",
        "(?<=[0-9#*]\ufe0f)(?=\u20e3)",
        f"(?<={_JOINING}[\u200c\u200d])(?![\x00-\x1f!-~{_IGNORABLE}])",
        f"(?<=[\u200e\u200f\u061c])(?:(?<={_RIGHT_TO_LEFT}.)|(?<={_RIGHT_TO_LEFT}..)|(?=.?{_RIGHT_TO_LEFT}))",
        f"(?<={_IDEOGRAPH}[\ufe00-\ufe02\U000e0100-\U000e01ef])(?!{_SELECTOR})",
        "(?<=[\u1820-\u18aa][\u180b-\u180e])",
    )
)
Edit = tuple[int, int, str]  #: what is replaced, from and to, and by what

_ANY: Final = re.compile(f"[{_IGNORABLE}]+")
_IDLE: Final = re.compile(f"[{_IGNORABLE}](?!{_HONEST})")
BIDI: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
_TAG: Final = re.compile("[\U000e0020-\U000e007e]")
#: England, Scotland and Wales: the tag sequences that Unicode recommends for interchange
_FLAGS: Final = tuple(
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in name) + "\U000e007f" for name in ("gbeng", "gbsct", "gbwls")
)
_FLAG: Final = re.compile(f"({'|'.join(_FLAGS)})")

MAX_STRING: Final = 4096  #: of a terminal string; longer ones are text whose introducer is taken out
#: Every repetition ends at the next control character, so that the time is linear. A string without its terminator
#: loses only its introducer: what follows stays readable.
_STRING: Final = f"[^\x07\x1b\x80-\x9f]{{0,{MAX_STRING}}}+(?:\x07|\x1b\\\\|\x9c)"
_LINE_END: Final = re.compile("\r\n?|[\x0b\x0c\x85]")
_TERMINAL: Final = re.compile(
    "[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x8f\x91-\x97\x99\x9a\x9c]++|\x1b+(?=\x1b)|[\x1b\x90\x98\x9b\x9d-\x9f](?:"
    f"(?<=\x1b)(?:\\[[0-?]*+[ -/]*+[@-~]|[\\]P^_X]{_STRING}|[ -/]*+[0-~])"
    f"|(?<=\x9b)[0-?]*+[ -/]*+[@-~]|(?<=[\x90\x98\x9d-\x9f]){_STRING})?"
)
_STRINGS: Final = (re.compile(f"\x1b[\\]P^_X]{_STRING}"), re.compile(f"[\x90\x98\x9d-\x9f]{_STRING}"))
_PLAIN_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\r\x7f-\x9f]")


@cache
def _ignorable() -> frozenset[str]:
    parts = re.findall("(.)(?:-(.))?", _IGNORABLE, re.DOTALL)
    return frozenset(chr(code) for first, last in parts for code in range(ord(first), ord(last or first) + 1))


def hides(text: str) -> bool:
    """Whether any invisible character is in it."""
    return not text.isascii() and not distinct(text).isdisjoint(_ignorable())


def strip_idle(text: str) -> str:
    """Take out the invisible characters that do no honest work where they stand.

    Joiners inside emoji and inside words that are spelled with them, marks beside right-to-left letters, single
    variation selectors and flags stay.
    """
    if not hides(text):
        return text
    if not any(flag in text for flag in _FLAGS):
        return _IDLE.sub("", text)
    return "".join(part if part in _FLAGS else _IDLE.sub("", part) for part in _FLAG.split(text))


def strip_invisible(text: str) -> str:
    """Take out every invisible character: for matching only."""
    return _ANY.sub("", text) if hides(text) else text


def idle_runs(text: str) -> list[tuple[int, int]]:
    """Spans of what `strip_idle` takes out, neighbours joined, at most 1,000."""
    spans: list[tuple[int, int]] = []
    if not hides(text):
        return spans
    flags = {i for m in _FLAG.finditer(text) for i in range(*m.span())}
    for match in _IDLE.finditer(text):
        start, end = match.span()
        if start in flags:
            continue
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        elif len(spans) == 1000:
            break
        else:
            spans.append((start, end))
    return spans


def invisible_runs(text: str) -> Iterator[tuple[int, int]]:
    """Spans of what `strip_invisible` takes out."""
    return (match.span() for match in _ANY.finditer(text))


def decoded_tags(run: str) -> str:
    """The ASCII that tag characters in `run` spell."""
    return "".join(chr(ord(c) - 0xE0000) for c in _TAG.findall(run))


def strip_terminal(text: str) -> str:
    """Take out terminal control sequences, C0 and C1; line ends of any kind become a line feed."""
    if _PLAIN_CONTROLS.search(text) is None:
        return text
    for end in ("\r\n", "\r", "\x0b", "\x0c", "\x85"):
        text = text.replace(end, "\n")
    return _TERMINAL.sub("", text)


def line_ends(text: str) -> list[Edit]:
    """The edits that `strip_terminal` makes first: line ends."""
    return [(*match.span(), "\n") for match in _LINE_END.finditer(text)]


def terminal_runs(text: str) -> list[Edit]:
    """The edits that it makes then, in what the first ones gave."""
    return [(*match.span(), "") for match in _TERMINAL.finditer(text)]


def idle_edits(text: str) -> list[Edit]:
    """The edits that `strip_idle` makes."""
    flags = [match.span() for match in _FLAG.finditer(text)]
    spared = {i for span in flags for i in range(*span)}
    return [(*match.span(), "") for match in _IDLE.finditer(text) if match.start() not in spared]


def terminal_strings(text: str) -> Iterator[tuple[int, int]]:
    """Spans of operating-system commands and their kin: window titles, links, the clipboard. No colours."""
    return (match.span() for pattern in _STRINGS for match in pattern.finditer(text))
