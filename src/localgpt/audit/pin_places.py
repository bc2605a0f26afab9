"""The pins that need no service: a file (on this or another device), and the system's journal.

What lies there is a checkpoint with its signatures, so that a forged one is told from ours whoever put it there.

Source: docs/spec/audit-log.md; systemd's JOURNAL_NATIVE_PROTOCOL.md and journalctl(1).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from localgpt.audit.checkpoints import Checkpoint, identity_of
from localgpt.audit.disk import Disk, SystemDisk, replace_file
from localgpt.audit.files import read_bytes
from localgpt.audit.pins import JOURNAL_SOCKET, PinTier
from localgpt.audit.report import Pinned, PinReading
from localgpt.crypto import DeviceKey
from localgpt.crypto.note import Note, NoteError, parse_note

_IDENTIFIER: Final = "localgpt-audit"
_MOST_RECORDS: Final = 5000  #: a flood of forged records cannot make verification endless; it is told
_MOST_BYTES: Final = 16 * 1024


class FilePin:
    """The last checkpoint in a file: worth something when it lies where an attacker of the log cannot write."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self.path = path
        self._disk = disk or SystemDisk()

    def hold_entries(self, origin: str, last: int, lines: Sequence[bytes]) -> None:
        """Nothing: this pin holds checkpoints."""

    def hold_checkpoint(self, note: bytes) -> None:
        """Put the note in the place of the one before."""
        with contextlib.suppress(OSError):
            replace_file(self._disk, self.path, note)


def read_file_pin(path: Path, directory: Path, key: DeviceKey) -> PinReading:
    """What a `FilePin` holds. On another device than the log it counts as one of tier `device`."""
    tier = PinTier.FILE
    with contextlib.suppress(OSError):
        tier = PinTier.DEVICE if path.stat().st_dev != directory.stat().st_dev else PinTier.FILE
    data = read_bytes(path, _MOST_BYTES)
    if data is None:
        return PinReading(tier, str(path), problem=f"{path} is not there")
    pinned = _authentic(tier, data, key, int(path.stat().st_mtime * 1e6))
    if pinned is None:
        return PinReading(tier, str(path), problem="it holds no checkpoint signed with this device key", forged=1)
    return PinReading(tier, str(path), (pinned,))


class JournalPin:
    """Each checkpoint as one record of the system's journal."""

    def __init__(self, directory: Path, path: Path = JOURNAL_SOCKET) -> None:
        self._directory, self._path = directory, path

    def hold_entries(self, origin: str, last: int, lines: Sequence[bytes]) -> None:
        """Nothing: this pin holds checkpoints."""

    def hold_checkpoint(self, note: bytes) -> None:
        """Send one record; a journal that does not take it at once is not waited for."""
        record = journal_record(
            {
                "MESSAGE": b"localgpt: the audit log was sealed",
                "PRIORITY": b"6",
                "SYSLOG_IDENTIFIER": _IDENTIFIER.encode(),
                "LOCALGPT_AUDIT_DIRECTORY": os.fsencode(self._directory),
                "LOCALGPT_AUDIT_NOTE": note,
            }
        )
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(record, os.fspath(self._path))


def journal_record(fields: dict[str, bytes]) -> bytes:
    """The native protocol: NAME=VALUE lines, values with line feeds by length."""
    parts = []
    for name, value in fields.items():
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)


def read_journal_pin(directory: Path, key: DeviceKey, command: Sequence[str] = ("journalctl",)) -> PinReading:
    """The checkpoints of this directory in the system's journal, as far as this user may read it."""
    tier, where = PinTier.JOURNAL, "the system's journal"
    program = shutil.which(command[0])
    if program is None:
        return PinReading(tier, where, problem="journalctl is not installed")
    wanted = [f"SYSLOG_IDENTIFIER={_IDENTIFIER}", f"_UID={os.geteuid()}", f"LOCALGPT_AUDIT_DIRECTORY={directory}"]
    options = ["--output=json", "--all", "--no-pager", "--quiet", f"--lines={_MOST_RECORDS}"]
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed program with fixed options and our own directory's name
            [program, *command[1:], *options, *wanted],
            capture_output=True,
            timeout=20,
            check=False,
            env={"LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return PinReading(tier, where, problem=f"journalctl: {error}")
    if done.returncode != 0:
        return PinReading(
            tier, where, problem=done.stderr.decode("utf-8", "replace").strip()[:200] or "journalctl failed"
        )
    records = done.stdout.splitlines()
    reading = choose(tier, where, map(_record, records), key)
    if len(records) >= _MOST_RECORDS and not reading.pinned:
        return PinReading(tier, where, problem="it is flooded with records that are not ours", forged=reading.forged)
    return reading


def _record(line: bytes) -> tuple[bytes, int | None]:
    """Note and time of one record of `journalctl --output=json`; fields with line feeds are arrays of bytes."""
    try:
        fields = json.loads(line)
        value = fields.get("LOCALGPT_AUDIT_NOTE", "")
        note = value.encode() if isinstance(value, str) else bytes(value)
        return note, int(fields["__REALTIME_TIMESTAMP"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return b"", None


def choose(tier: PinTier, where: str, records: Iterable[tuple[bytes, int | None]], key: DeviceKey) -> PinReading:
    """The furthest authentic checkpoint of each log in records that are older first.

    When the first one ever was signed with another key than this, somebody began anew here, and it is given too: the
    log of `key` then has to say that it replaces it.
    """
    found: dict[str, Pinned] = {}
    forged, first = 0, True
    for note, when_us in records:
        pinned = _authentic(tier, note, key, when_us)
        if pinned is None:
            stranger = _stated(tier, note, when_us) if first else None
            forged += stranger is None
            if stranger is not None:
                found[stranger.origin] = stranger
        elif pinned.origin not in found or found[pinned.origin].size <= pinned.size:
            found[pinned.origin] = pinned
        first = False
    return PinReading(tier, where, tuple(found.values()), forged=forged)


def _parsed(data: bytes) -> tuple[Note, Checkpoint] | None:
    try:
        note = parse_note(data)
        return note, Checkpoint.parse(note.text)
    except NoteError:
        return None


def _stated(tier: PinTier, data: bytes, when_us: int | None) -> Pinned | None:
    found = _parsed(data)
    return None if found is None else Pinned(tier, found[1].origin, found[1].size, root=found[1].root, when_us=when_us)


def _authentic(tier: PinTier, data: bytes, key: DeviceKey, when_us: int | None) -> Pinned | None:
    """The checkpoint of a note that this device key's identity signed."""
    found = _parsed(data)
    if found is None:
        return None
    note, checkpoint = found
    identity = identity_of(key, checkpoint.origin)
    if not any(identity.made(each) and identity.verifies(note.text, each.blob) for each in note.signatures):
        return None
    return Pinned(tier, checkpoint.origin, checkpoint.size, root=checkpoint.root, when_us=when_us)
