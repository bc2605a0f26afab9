"""Whether one rule speaks of everything that another speaks of. Sound: yes is certain, no may mean "cannot tell"."""

from __future__ import annotations

from typing import Final

from localgpt.policy import hosts, paths
from localgpt.policy.commands import is_cluster
from localgpt.policy.model import Rule, Subject, Verdict

COMPARISONS: Final = 100_000  #: some seconds; a document of a stranger must not hold a CI job


class Budget:
    """How many comparisons are left. When none is, nothing covers anything any more: that is always a sound answer."""

    def __init__(self, comparisons: int = COMPARISONS) -> None:
        self.left = comparisons

    def spend(self) -> bool:
        """Whether there was one left."""
        self.left -= 1
        return self.left >= 0


def covers(wide: Rule, narrow: Rule, budget: Budget | None = None) -> bool:
    """Whether every request that `narrow` matches, in every session and every state of the context, `wide` matches."""
    budget = budget or Budget()
    if not budget.spend() or (
        wide.verdict is Verdict.ALLOW and narrow.even_when_tainted and not wide.even_when_tainted
    ):
        return False
    if wide.subject is Subject.TOOL and "*" in wide.patterns:
        return True
    if wide.subject is not narrow.subject:
        return False
    if wide.subject is Subject.ARGV:
        return _covers_words(wide.patterns, narrow.patterns)
    return _covers_patterns(wide, narrow, budget)


def _covers_patterns(wide: Rule, narrow: Rule, budget: Budget) -> bool:
    """What denies compares more loosely than what allows, so no allow covers a deny or an ask."""
    exact = wide.verdict is Verdict.ALLOW
    if exact and narrow.verdict is not Verdict.ALLOW:
        return False
    spelled = str if exact else paths.fold
    known = dict.fromkeys(map(spelled, wide.patterns))
    return all(
        n in known or any(budget.spend() and _covers_pattern(wide.subject, w, n) for w in known)
        for n in map(spelled, narrow.patterns)
    )


def _covers_pattern(subject: Subject, wide: str, narrow: str) -> bool:
    if subject in {Subject.READ, Subject.WRITE}:
        return covers_path(wide, narrow)
    if subject is Subject.TOOL:
        return covers_part(wide, narrow)
    if subject is Subject.MODEL:
        named = "." not in narrow and ":" not in narrow  # a provider's name as well as a host's
        return wide in {"*", narrow} or (not named and _covers_host(wide, narrow))
    return _covers_host(wide, narrow)


def _covers_host(wide: str, narrow: str) -> bool:
    (host, port), (other, other_port) = hosts.split_port(wide), hosts.split_port(narrow)
    if port is not None and port != other_port:
        return False
    if host == "*":
        return True
    if host.startswith("*."):
        inner = other[1:].lower() if other.startswith("*.") else hosts.normalise(other)
        return bool(inner) and str(inner).endswith(host[1:].lower())
    return not other.startswith("*") and hosts.normalise(host) == hosts.normalise(other)


def _covers_words(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    """The same program, and the wider rule's words among the narrower one's, in order."""
    if wide[0] != narrow[0]:
        return False
    letters = {letter for word in narrow[1:] if is_cluster(word) for letter in word[1:]}
    rest = iter(word for word in narrow[1:] if not is_cluster(word))
    return all(
        letters.issuperset(word[1:]) if is_cluster(word) else any(_covers_word(word, other) for other in rest)
        for word in wide[1:]
    )


def _covers_word(wide: str, narrow: str) -> bool:
    return wide == narrow or (wide.startswith("--") and narrow.startswith(wide + "="))


def covers_path(wide: str, narrow: str) -> bool:
    """Whether each path that the pattern `narrow` matches, whatever home and project are, `wide` matches too."""
    a, b = _pieces(wide), _pieces(narrow)
    if a[0] == "" and b[0] in {"~", "."}:  # absolute against a place that is somewhere: only what holds everywhere
        b = ["", "**", *b[1:]]
    return _covers_pieces(a[1:], b[1:], {}) if a[0] == b[0] else False


def _pieces(pattern: str) -> list[str]:
    """The anchor ("" for the root, "~", or "." for the project), then the parts."""
    if pattern.startswith("/"):
        return ["", *(part for part in pattern.split("/")[1:] if part)]
    if pattern == "~" or pattern.startswith("~/"):
        return pattern.split("/")
    if pattern.startswith("**/"):
        return ["", *pattern.split("/")]
    return [".", *pattern.split("/")]


def _covers_pieces(a: list[str], b: list[str], seen: dict[tuple[int, int], bool]) -> bool:
    """Compare piece by piece; a pattern that is used up matches everything beneath."""
    place = (len(a), len(b))
    if place not in seen:
        seen[place] = _covers_first(a, b, seen)
    return seen[place]


def _covers_first(a: list[str], b: list[str], seen: dict[tuple[int, int], bool]) -> bool:
    if not a:
        return True
    if a[0] == "**":
        return _covers_pieces(a[1:], b, seen) or (bool(b) and _covers_pieces(a, b[1:], seen))
    if not b or b[0] == "**":
        return False
    return covers_part(a[0], b[0]) and _covers_pieces(a[1:], b[1:], seen)


def covers_part(wide: str, narrow: str) -> bool:
    """Whether each name that `narrow` matches (`*` any run, `?` one character), `wide` matches."""
    reachable = {0}
    for symbol in narrow:
        reachable = _closure(wide, reachable)
        if symbol == "*":
            reachable = {i for i in reachable if i < len(wide) and wide[i] == "*"}
        else:
            stay = {i for i in reachable if i < len(wide) and wide[i] == "*"}
            step = {
                i + 1 for i in reachable if i < len(wide) and wide[i] in ({"?"} if symbol == "?" else {"?", symbol})
            }
            reachable = stay | step
    return len(wide) in _closure(wide, reachable)


def _closure(pattern: str, places: set[int]) -> set[int]:
    """The places that are reached without a character: a star may stand for nothing."""
    found = set(places)
    for place in sorted(places):
        at = place
        while at < len(pattern) and pattern[at] == "*":
            at += 1
            found.add(at)
    return found
