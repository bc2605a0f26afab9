"""Secrets in text: provider keys and tokens by their prefix, checksum and randomness, private keys by their armour.

Rules want a prefix that nobody writes by chance, or a name that announces a secret followed by something random. A hit
in documentation ("sk-...", "YOUR_KEY", repeated letters) is none: placeholders are not random.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from localgpt.injection.places import Span

_LEAST_BITS: Final = 3.0  #: of entropy a character: words have less, keys in base 62 have 4 to 5.5
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Secret:
    """`kind` in plain words; `span` in code points."""

    kind: str
    span: Span


def _is_random(body: str) -> bool:
    return entropy(body) >= _LEAST_BITS


def _is_key(body: str) -> bool:
    return entropy(body) >= 4.0 and any(map(str.isdigit, body))


def entropy(text: str) -> float:
    """Bits a character, of the text's own distribution."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) if size else 0.0


def _github(token: str) -> bool:
    """The last six characters of a GitHub token are the CRC-32 of the rest, in base 62."""
    body, check = token.split("_", 1)[1][:-6], token[-6:]
    value, out = zlib.crc32(body.encode()), ""
    while value:
        value, digit = divmod(value, 62)
        out = _BASE62[digit] + out
    return out.rjust(6, "0") == check or _is_random(body)  # older tokens have no checksum


def _jwt(token: str) -> bool:
    head = token.split(".", maxsplit=1)[0]
    try:
        return b'"alg"' in base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except (binascii.Error, ValueError):
        return False


_ARMOUR: Final = (
    r"-----BEGIN (?:[A-Z]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^-]{0,16384}-----END [A-Z ]{1,40}-----|(?:\s{0,2}[A-Za-z0-9+/=]{12,80}){0,200})"
)
_ASSIGNED: Final = (
    r"(?:api[_-]?key|secret|token|passw(?:or)?d|access[_-]?key|auth)[\"']?\s{0,4}[:=]\s{0,4}[\"']?"
    r"([A-Za-z0-9+/_=.~-]{20,200})"
)
_USERINFO: Final = r"\b[a-z][a-z0-9+.-]{1,16}://[^\s/:@<>\"']{1,64}:([^\s/@<>\"']{6,128})@"
_Rule = tuple[str, re.Pattern[str], Callable[[str], bool]]
#: Each pattern's first group, or the whole match, is what is redacted.
_SOURCES: Final[tuple[tuple[str, str, int, Callable[[str], bool]], ...]] = (
    ("private key", _ARMOUR, 0, lambda _: True),
    ("Anthropic key", r"\bsk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{20,200}", 0, _is_random),
    ("OpenRouter key", r"\bsk-or-v1-[0-9a-f]{48,80}", 0, _is_random),
    ("OpenAI key", r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,200}", 0, _is_random),
    ("GitHub token", r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,255}", 0, _github),
    ("GitHub token", r"\bgithub_pat_[A-Za-z0-9_]{50,255}", 0, _is_random),
    ("GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,64}", 0, _is_random),
    ("AWS key id", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b", 0, _is_random),
    ("Google key", r"\bAIza[A-Za-z0-9_-]{35}", 0, _is_random),
    ("Google token", r"\bya29\.[A-Za-z0-9_-]{30,300}", 0, _is_random),
    ("xAI key", r"\bxai-[A-Za-z0-9]{60,100}", 0, _is_random),
    ("Groq key", r"\bgsk_[A-Za-z0-9]{40,80}", 0, _is_random),
    ("Hugging Face token", r"\bhf_[A-Za-z0-9]{30,60}", 0, _is_random),
    ("Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}", 0, _is_random),
    ("Slack webhook", r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{30,100}", 0, _is_random),
    ("Stripe key", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{20,120}", 0, _is_random),
    ("Telegram token", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b", 0, _is_random),
    ("npm token", r"\bnpm_[A-Za-z0-9]{36}\b", 0, _is_random),
    ("PyPI token", r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,300}", 0, _is_random),
    ("age key", r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}", 0, lambda _: True),
    ("Brave key", r"\bBSA[A-Za-z0-9_-]{26,32}\b", 0, _is_random),
    ("Tavily key", r"\btvly-[A-Za-z0-9-]{20,60}", 0, _is_random),
    ("web token", r"\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}", re.ASCII, _jwt),
    ("password in an address", _USERINFO, 0, _is_random),
    ("secret", _ASSIGNED, re.IGNORECASE, _is_key),
)  # fmt: skip


@cache
def _rules() -> tuple[_Rule, ...]:
    return tuple((kind, re.compile(source, flags), holds) for kind, source, flags, holds in _SOURCES)


def secrets_in(text: str) -> Iterator[Secret]:
    """Every secret in `text`, rule by rule; spans may overlap. One right behind another is found too."""
    for kind, pattern, holds in _rules():
        for match in pattern.finditer(text):
            group = 1 if pattern.groups else 0
            if holds(match[group]):
                yield Secret(kind, match.span(group))
                yield from _following(text, match.end(group))


def _following(text: str, at: int) -> Iterator[Secret]:
    found = True
    while found and text[at : at + 1].isalnum():
        rest, found = text[at : at + 512], False
        for kind, pattern, holds in _rules():
            match = pattern.match(rest)
            group = 1 if pattern.groups else 0
            if match and holds(match[group]):
                start, end = match.span(group)
                yield Secret(kind, (at + start, at + end))
                at, found = at + end, True
                break
