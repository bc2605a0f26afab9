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
_RULES: Final[tuple[_Rule, ...]] = (
    ("private key", re.compile(_ARMOUR), lambda _: True),
    ("Anthropic key", re.compile(r"\bsk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{20,200}"), _is_random),
    ("OpenRouter key", re.compile(r"\bsk-or-v1-[0-9a-f]{48,80}"), _is_random),
    ("OpenAI key", re.compile(r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,200}"), _is_random),
    ("GitHub token", re.compile(r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,255}"), _github),
    ("GitHub token", re.compile(r"\bgithub_pat_[A-Za-z0-9_]{50,255}"), _is_random),
    ("GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,64}"), _is_random),
    ("AWS key id", re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"), _is_random),
    ("Google key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}"), _is_random),
    ("Google token", re.compile(r"\bya29\.[A-Za-z0-9_-]{30,300}"), _is_random),
    ("xAI key", re.compile(r"\bxai-[A-Za-z0-9]{60,100}"), _is_random),
    ("Groq key", re.compile(r"\bgsk_[A-Za-z0-9]{40,80}"), _is_random),
    ("Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{30,60}"), _is_random),
    ("Slack token", re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}"), _is_random),
    ("Slack webhook", re.compile(r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{30,100}"), _is_random),
    ("Stripe key", re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{20,120}"), _is_random),
    ("Telegram token", re.compile(r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b"), _is_random),
    ("npm token", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"), _is_random),
    ("PyPI token", re.compile(r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,300}"), _is_random),
    ("age key", re.compile(r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}"), lambda _: True),
    ("Brave key", re.compile(r"\bBSA[A-Za-z0-9_-]{26,32}\b"), _is_random),
    ("Tavily key", re.compile(r"\btvly-[A-Za-z0-9-]{20,60}"), _is_random),
    ("web token", re.compile(r"\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}", re.ASCII), _jwt),
    ("password in an address", re.compile(_USERINFO), _is_random),
    ("secret", re.compile(_ASSIGNED, re.IGNORECASE), _is_key),
)  # fmt: skip


def secrets_in(text: str) -> Iterator[Secret]:
    """Every secret in `text`, rule by rule; spans may overlap. One right behind another is found too."""
    for kind, pattern, holds in _RULES:
        for match in pattern.finditer(text):
            group = 1 if pattern.groups else 0
            if holds(match[group]):
                yield Secret(kind, match.span(group))
                yield from _following(text, match.end(group))


def _following(text: str, at: int) -> Iterator[Secret]:
    found = True
    while found and text[at : at + 1].isalnum():
        rest, found = text[at : at + 512], False
        for kind, pattern, holds in _RULES:
            match = pattern.match(rest)
            group = 1 if pattern.groups else 0
            if match and holds(match[group]):
                start, end = match.span(group)
                yield Secret(kind, (at + start, at + end))
                at, found = at + end, True
                break
