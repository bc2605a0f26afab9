"""What verification can say: three verdicts, the findings behind them, and the pins that were compared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from localgpt.audit.pins import PinTier
from localgpt.audit.resume import Trusted


class LogVerdict(StrEnum):
    """Integrity: whether the entries are what was written."""

    INTACT = "intact"
    EMPTY = "empty"  #: there is neither a log nor a head; the finding `audit.emptied` says that there was one
    CHAINED = "chained"  #: everything fits together, but without the device key a rewritten log would look the same
    TAMPERED = "tampered"


class Completeness(StrEnum):
    """Whether entries are missing from the end, or the whole was put back, as far as the pins can tell."""

    COMPLETE = "complete"  #: every pin is in this log, and nothing that was acknowledged is missing
    RECOVERED = "recovered"  #: likewise, but this log began because an earlier one could not go on
    TRUNCATED = "truncated"  #: a pin is not in this log
    UNKNOWN = "unknown"  #: no pin could be read


class Freshness(StrEnum):
    """How current the best pin is that this user cannot change."""

    CURRENT = "current"  #: it holds the last entry
    BEHIND = "behind"  #: entries were written since; they are as safe as the head beside the log
    NONE = "none"  #: there is no such pin


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing that verification saw. `seq`: the entry concerned, None when it is the whole log.

    `code` is a `TamperError` code, or one of `HARMLESS`.
    """

    code: str
    seq: int | None
    detail: str


#: There is no log, and something else shows that there was one. Not proof of an attack; not the silence of a new start.
EMPTIED: Final = "audit.emptied"
HARMLESS: Final = frozenset(
    {
        "audit.torn-tail",
        "audit.torn-slot",
        "audit.beyond-head",
        "audit.no-key",
        "audit.unsealed-epoch",
        "audit.recovered",
        "audit.pin-unreadable",
        "audit.pin-forged",
        EMPTIED,
    }
)


@dataclass(frozen=True, slots=True)
class Pinned:
    """One head that was found in a pin.

    `size`: how many entries it holds; exactly one of `leaf` (hex, of the last of them) and `root` (32 bytes) is given.
    `when_us`: UTC microseconds, None when unknown.
    """

    tier: PinTier
    origin: str
    size: int
    leaf: str = ""
    root: bytes = b""
    when_us: int | None = None


@dataclass(frozen=True, slots=True)
class PinReading:
    """What one pin said. `problem`: why it could not be read, "" when it could; `forged`: what was not signed by us.

    `where`: a sentence for people.
    """

    tier: PinTier
    where: str
    pinned: tuple[Pinned, ...] = ()
    problem: str = ""
    forged: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The result. `entries`: how many are good; `first_bad`: the number of the first that is not, or is gone.

    `head_seq`: the last entry that the head vouches for, None without an authentic head; `sealed`: how many are under a
    signed checkpoint; `size_bytes`: of the good part; `pinned`: how many the best pin beyond this user's reach holds.
    """

    verdict: LogVerdict
    completeness: Completeness
    freshness: Freshness
    entries: int
    first_bad: int | None
    findings: tuple[AuditFinding, ...]
    head_seq: int | None
    sealed: int
    size_bytes: int
    origin: str = ""
    identity: str = ""
    pinned: int = 0
    pinned_us: int | None = None
    pins: tuple[PinReading, ...] = ()
    first_ts_us: int | None = None
    last_ts_us: int | None = None
    last_leaf: str = ""  #: hex, of the last good entry
    trusted: Trusted | None = None  #: what the next verification may start from

    @property
    def is_tampered(self) -> bool:
        """Whether anything is not as it was written, or is missing."""
        return self.verdict is LogVerdict.TAMPERED or self.completeness is Completeness.TRUNCATED
