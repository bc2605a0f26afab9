"""The Rust LocalGPT's `localgpt.audit.jsonl`, read and verified as what it is: an unkeyed chain of lines.

It shows edits by who did not repair the chain, and nothing else: no key, no head, no signature. The verdict says so.

Source: the Rust LocalGPT 0.3, crates/core, security/audit.rs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localgpt.audit.errors import LogUnopenable

LEGACY_NAME: Final = "localgpt.audit.jsonl"
_GENESIS: Final = "0" * 64
_MOST_LINE: Final = 1024 * 1024
_KEYS: Final = {"ts", "action", "content_sha256", "prev_entry_sha256", "source"}
_ACTIONS: Final = frozenset(
    {
        "created", "signed", "verified", "tamper_detected", "missing", "unsigned", "manifest_corrupted",
        "suspicious_content", "file_changed", "write_blocked", "path_denied", "chain_recovery", "compaction",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LegacyEntry:
    """One line. `problem`: why it cannot be what was written, "" when it continues the chain."""

    line: int
    ts: str
    action: str
    source: str
    detail: str
    content_sha256: str
    problem: str = ""


def read_legacy(path: Path) -> Iterator[LegacyEntry]:
    """Every line, with what is wrong with it; lines are counted from 1.

    Raises:
        LogUnopenable
    """
    previous = _GENESIS
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(iter(lambda: file.readline(_MOST_LINE), b""), 1):
                line = raw.removesuffix(b"\n")
                entry = _entry(number, line)
                stated = _previous(line)
                if not entry.problem and stated != previous:
                    entry = _entry(number, line, "it does not continue the line before")
                previous = hashlib.sha256(line).hexdigest()
                yield entry
    except OSError as error:
        raise LogUnopenable(f"{path} cannot be read: {error.strerror}") from error


def _previous(line: bytes) -> str:
    try:
        return str(json.loads(line)["prev_entry_sha256"])
    except (ValueError, KeyError, TypeError):
        return ""


def _entry(number: int, line: bytes, problem: str = "") -> LegacyEntry:
    try:
        body = json.loads(line.decode("utf-8"))
        if not isinstance(body, dict) or not body.keys() >= _KEYS or body["action"] not in _ACTIONS:
            raise ValueError  # noqa: TRY301 -- one way out for everything that is no entry
        texts = {name: str(body.get(name, "")) for name in (*_KEYS, "detail")}
    except (UnicodeDecodeError, ValueError, RecursionError):
        return LegacyEntry(number, "", "", "", "", "", problem or "the line is no entry")
    return LegacyEntry(
        number, texts["ts"], texts["action"], texts["source"], texts["detail"], texts["content_sha256"], problem
    )
