"""The audit log: what was decided and done, durable before it happens; a signed tree whose head is pinned elsewhere."""

from localgpt.audit.entry import Entry
from localgpt.audit.errors import EntryCorrupted, EntryInvalid, LogPoisoned, TamperError
from localgpt.audit.kinds import KINDS
from localgpt.audit.log import AuditLog
from localgpt.audit.query import Query, read_entries
from localgpt.audit.report import AuditFinding, Completeness, LogVerdict, Report
from localgpt.audit.verify import verify_log

__all__ = [
    "KINDS",
    "AuditFinding",
    "AuditLog",
    "Completeness",
    "Entry",
    "EntryCorrupted",
    "EntryInvalid",
    "LogPoisoned",
    "LogVerdict",
    "Query",
    "Report",
    "TamperError",
    "read_entries",
    "verify_log",
]
