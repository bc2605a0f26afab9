"""The audit log: what was decided and done, durable before it happens, each entry under a MAC, chained, headed."""

from localgpt.audit.entry import Entry
from localgpt.audit.errors import (
    EntryCorrupted,
    EntryForged,
    EntryInvalid,
    LogFull,
    LogLocked,
    LogPoisoned,
    LogUnopenable,
    TamperError,
)
from localgpt.audit.kinds import KINDS
from localgpt.audit.log import AuditLog
from localgpt.audit.verify import AuditFinding, LogVerdict, Query, Report, read_entries, verify_log

__all__ = [
    "KINDS",
    "AuditFinding",
    "AuditLog",
    "Entry",
    "EntryCorrupted",
    "EntryForged",
    "EntryInvalid",
    "LogFull",
    "LogLocked",
    "LogPoisoned",
    "LogUnopenable",
    "LogVerdict",
    "Query",
    "Report",
    "TamperError",
    "read_entries",
    "verify_log",
]
