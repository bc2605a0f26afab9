"""The audit log: what was decided and done, durable before it happens; a signed tree whose head is pinned elsewhere.

Names are loaded on first use: a conversation writes entries, and should not wait for what verifies them.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localgpt.audit.entry import Entry
    from localgpt.audit.errors import EntryCorrupted, EntryInvalid, LogPoisoned, TamperError
    from localgpt.audit.kinds import KINDS
    from localgpt.audit.log import AuditLog
    from localgpt.audit.query import Query, read_entries
    from localgpt.audit.report import AuditFinding, Completeness, LogVerdict, Report
    from localgpt.audit.verify import verify_log

_HOME = {
    "AuditFinding": "report",
    "AuditLog": "log",
    "Completeness": "report",
    "Entry": "entry",
    "EntryCorrupted": "errors",
    "EntryInvalid": "errors",
    "KINDS": "kinds",
    "LogPoisoned": "errors",
    "LogVerdict": "report",
    "Query": "query",
    "Report": "report",
    "TamperError": "errors",
    "read_entries": "query",
    "verify_log": "verify",
}

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


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
