"""One turn's share of the log."""

import pytest

from localgpt.audit.errors import ShareUsed
from localgpt.audit.share import TurnShare


class Kept:
    """Keeps what is appended."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, object]]] = []

    def append(self, kind, *, session="", **fields):
        self.entries.append((kind, fields))
        return len(self.entries) - 1


DENIED = {"call": "c", "tool": "shell", "verdict": "deny", "code": "x", "policy": "ab" * 32, "effects": ["run"]}


def test_the_same_refusal_is_counted():
    log = Kept()
    share = TurnShare(log, "s")
    for number in range(1000):
        share.append("decision", {**DENIED, "call": f"c{number}"})
    share.append("decision", {**DENIED, "path": "/other"})
    share.append("decision", {**DENIED, "verdict": "allow"})
    share.append("decision", {**DENIED, "verdict": "allow"})
    share.append("turn.end", {"turn": "t", "reason": "done"})
    assert [kind for kind, _ in log.entries] == ["decision"] * 4 + ["repeated", "turn.end"]
    assert log.entries[4][1] == {"of": 0, "count": 999, "kind_repeated": "decision", "code": "x"}
    share.append("decision", DENIED)
    assert log.entries[-1][0] == "decision", "a new turn tells it again"


def test_a_turn_beyond_its_share_has_no_more_effects():
    log = Kept()
    share = TurnShare(log, "s", most_bytes=5000)
    allowed = {**DENIED, "verdict": "allow"}
    for _ in range(8):
        share.append("decision", allowed)
    with pytest.raises(ShareUsed, match="share of the audit log"):
        share.append("decision", {**allowed, "path": "/" + "x" * 4000})
    written = len(log.entries)
    assert written == 8
    share.append("outcome", {"call": "c1", "status": "done", "duration_ms": 1})
    share.append("turn.end", {"turn": "t", "reason": "done"})
    kinds = [kind for kind, _ in log.entries[written:]]
    assert kinds == ["outcome", "suppressed", "turn.end"]
    assert log.entries[-2][1]["count"] == 1
    share.append("decision", {**DENIED, "verdict": "allow"})
