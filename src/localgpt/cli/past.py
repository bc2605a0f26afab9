"""Sessions as files: what there is, and what was said. Reading only; what cannot be read is named, not hidden."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from localgpt.agent.entries import Entry, header_fault, read_entry, read_line
from localgpt.errors import ConfigError, LocalGptError

_TITLE_CHARS: Final = 80


class NoSuchSession(ConfigError):  # noqa: N818 -- named after the condition
    """No session, or more than one, has an id that begins so."""

    code = "session.missing"


class SessionDamaged(LocalGptError):  # noqa: N818 -- named after the condition
    """The file is no session of this format."""

    code = "session.unreadable"


@dataclass(frozen=True, slots=True)
class Past:
    """One session. `title`: the beginning of its first question (foreign text). `changed`: UTC, ISO 8601.

    `fault`: why it cannot be read, "" when it can.
    """

    session_id: str
    changed: str
    turns: int
    title: str
    size_bytes: int
    fault: str = ""


def list_sessions(directory: Path) -> tuple[Past, ...]:
    """List the sessions in `directory`, newest first."""
    files = sorted(directory.glob("*.jsonl"), key=lambda file: file.stat().st_mtime, reverse=True)
    return tuple(_summary(file) for file in files)


def find_session(directory: Path, beginning: str) -> Path:
    """Find the one session whose id is `beginning`, or begins so.

    Raises:
        NoSuchSession: none, or more than one.
    """
    ids = {file.stem: file for file in directory.glob("*.jsonl")}
    found = [ids[beginning]] if beginning in ids else [f for name, f in ids.items() if name.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    what = "no session" if not found else f"{len(found)} sessions"
    raise NoSuchSession(f"{what} whose id begins with {beginning!r}", cure="localgpt session list")


def read_session(file: Path) -> Iterator[Entry]:
    """Yield what was said, in order; lines that are no messages are passed over.

    Raises:
        SessionDamaged: it cannot be read, or its first line is no header of this format.
    """
    try:
        with file.open("rb") as lines:
            if fault := header_fault(read_line(next(lines, b"")), file.stem):
                raise SessionDamaged(f"{file}: {fault}", cure="restore it from a backup")
            for line in lines:
                value = read_line(line)
                entry = None if value is None else read_entry(value)
                if entry is not None:
                    yield entry
    except OSError as error:
        raise SessionDamaged(f"{file}: {error.strerror}", cure="make it a readable file of yours") from error


def _summary(file: Path) -> Past:
    status = file.stat()
    changed = datetime.fromtimestamp(status.st_mtime, tz=UTC).isoformat(timespec="seconds")
    try:
        questions = [entry.text for entry in read_session(file) if entry.is_users_words]
    except LocalGptError as error:
        return Past(file.stem, changed, 0, "", status.st_size, error.message)
    title = " ".join(questions[0].split()) if questions else ""
    return Past(file.stem, changed, len(questions), title[:_TITLE_CHARS], status.st_size)
