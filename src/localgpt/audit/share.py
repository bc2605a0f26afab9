"""What one session may write in one turn: the same refusal again is counted, and the bytes are bounded.

A hijacked model can make the same refused call a thousand times, or fill the disk with calls that differ. The first
refusal of a kind is an entry of its own; the rest are one `repeated` entry at the turn's end. Beyond its share a turn
has no more effects, and what is only noted is counted in one `suppressed` entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from localgpt.audit.errors import ShareUsed

TURN_BYTES: Final = 1024 * 1024
_OVERHEAD_BYTES: Final = 320  #: what every entry has beside its own fields
_ENDS: Final = frozenset({"turn.end", "session.end"})
_ALWAYS: Final = frozenset({"turn.start", "turn.end", "session.start", "session.end", "outcome", "process.end"})


class Appends(Protocol):
    """What an `AuditLog` does."""

    def append(self, kind: str, *, session: str = "", **fields: object) -> int:
        """Append one entry and return its number."""
        ...


@dataclass(slots=True)
class _Refusal:
    seq: int
    code: str
    more: int = 0


@dataclass(slots=True)
class TurnShare:
    """The turn of one session, between it and the log. `most_bytes`: of its entries' fields, roughly."""

    log: Appends
    session: str
    most_bytes: int = TURN_BYTES
    _refused: dict[tuple[object, ...], _Refusal] = field(default_factory=dict)
    _bytes: int = 0
    _left_out: int = 0
    _left_out_bytes: int = 0

    def append(self, kind: str, fields: Mapping[str, object]) -> None:
        """Append, or count.

        Raises:
            ShareUsed: an entry that something waits for does not fit this turn's share any more.
            AuditError: as `AuditLog.append`.
        """
        if kind in _ENDS:
            self._settle()
        refusal = _identity(fields) if kind == "decision" and fields.get("verdict") == "deny" else None
        if refusal is not None and (known := self._refused.get(refusal)) is not None:
            known.more += 1
            return
        self._take(kind, fields)
        seq = self.log.append(kind, session=self.session, **fields)
        if refusal is not None:
            self._refused[refusal] = _Refusal(seq, str(fields.get("code")))

    def _take(self, kind: str, fields: Mapping[str, object]) -> None:
        """Count an entry's bytes. What ends something is always written: there is one of it for what began."""
        size = _OVERHEAD_BYTES + sum(len(str(value)) for value in fields.values())
        if self._bytes + size > self.most_bytes and kind not in _ALWAYS:
            self._left_out += 1
            self._left_out_bytes += size
            message = f"this turn has used up its share of the audit log ({self.most_bytes} bytes)"
            raise ShareUsed(message, cure="send another message: each turn has a share of its own")
        self._bytes += size

    def _settle(self) -> None:
        """The turn ends: write the counts, and begin a new share."""
        refused, self._refused = self._refused, {}
        for each in refused.values():
            if each.more:
                fields = {"of": each.seq, "count": each.more, "kind_repeated": "decision", "code": each.code}
                self.log.append("repeated", session=self.session, **fields)
        left_out, size = self._left_out, self._left_out_bytes
        self._bytes = self._left_out = self._left_out_bytes = 0
        if left_out:
            self.log.append("suppressed", session=self.session, count=left_out, bytes=size, reason="turn-share")


def _identity(fields: Mapping[str, object]) -> tuple[object, ...]:
    """Everything of a decision but the call's own id and its details."""
    return tuple(
        (name, tuple(value) if isinstance(value, list) else value)
        for name, value in sorted(fields.items())
        if name not in {"call", "body", "body_bytes"}
    )
