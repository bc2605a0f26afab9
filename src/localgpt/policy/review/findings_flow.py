"""What can be said against a policy's tables about flows."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from localgpt.labels import Confidentiality
from localgpt.policy.authority import FlowRules
from localgpt.policy.lexicon import known_grants
from localgpt.policy.review.finding import Finding, Severity

#: Domains in which anybody can have an address: a zone of them is a zone of strangers.
_PUBLIC_MAIL: Final = frozenset({
    "126.com", "163.com", "aol.com", "fastmail.com", "gmail.com", "gmx.com", "gmx.de", "gmx.net", "googlemail.com",
    "hotmail.com", "hotmail.fr", "icloud.com", "laposte.net", "libero.it", "live.com", "mail.com", "mail.ru", "me.com",
    "msn.com", "naver.com", "orange.fr", "outlook.com", "posteo.de", "proton.me", "protonmail.com", "qq.com",
    "t-online.de", "tutanota.com", "web.de", "yahoo.co.jp", "yahoo.com", "yandex.ru", "zoho.com",
})  # fmt: skip
#: Second-level registries: a zone of one is a country.
_REGISTRIES: Final = frozenset({"ac", "co", "com", "edu", "gov", "ne", "net", "or", "org"})
_MANY_BITS: Final = 256


def review_flow(flow: FlowRules) -> Iterator[Finding]:
    """Zones and clearances that open too much, limits and grants that do nothing."""
    for domain in flow.zone.domains:
        if domain in _PUBLIC_MAIL or _is_registry(domain):
            yield _too_wide(f"the own zone holds {domain}, where anybody can be", "list the members by name")
    if flow.zone.clearance is Confidentiality.SECRET:
        yield _too_wide(
            "the own zone is cleared for secrets: everybody in it may be sent every key", "private is enough"
        )
    for name, level in flow.clearances.items():
        if level is Confidentiality.SECRET:
            yield _too_wide(f"{name} is cleared for secrets", "private is enough for a provider")
    if flow.bits_per_task > _MANY_BITS or flow.bits_per_origin_and_day > _MANY_BITS:
        yield _too_wide(
            f"more than {_MANY_BITS} bits may be told by fetches: that is a password", "16 and 64 are usual"
        )
    for name, limit in flow.limits.items():
        if limit.per_call > limit.per_day:
            message = f"the limit of {name} for one call is never reached: a day's is lower"
            yield Finding("check.unreachable-grant", Severity.WARNING, message, cure="lower it, or raise the day's")
    for grant in sorted(flow.grants - known_grants()):
        near = get_close_matches(grant, known_grants(), n=1)
        cure = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(sorted(known_grants()))}"
        message = f"no tool can need the grant {grant!r}"
        yield Finding("check.unreachable-grant", Severity.WARNING, message, cure=cure)


def _is_registry(domain: str) -> bool:
    labels = domain.split(".")
    return len(labels) == 2 and labels[0] in _REGISTRIES and len(labels[1]) == 2


def _too_wide(message: str, cure: str) -> Finding:
    return Finding("check.too-wide", Severity.WARNING, message, cure=cure)
