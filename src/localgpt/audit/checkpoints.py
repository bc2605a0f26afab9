"""The checkpoints of a log: what is signed at the end of each epoch, by whom, and the file that keeps them.

Each is a signed note with two signature lines: the log's identity, which never changes and which witnesses know, and
the epoch's key, which is erased once it has signed.

Source: docs/spec/audit-log.md; C2SP signed-note and tlog-checkpoint.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localgpt.audit.files import reading
from localgpt.crypto import DeviceKey
from localgpt.crypto.merkle import HASH_BYTES
from localgpt.crypto.note import Note, NoteError, NoteForged, NoteKey, NoteMalformed, NoteSecret, parse_note, sign_note

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_SIGNATURE: Final = "\N{EM DASH} ".encode()
_ORIGIN_DOMAIN: Final = b"localgpt.audit origin v2\x00"
_CHUNK: Final = 64 * 1024
_MOST_TAIL: Final = 16 * 1024  #: the last note is well within


def new_seed() -> bytes:
    """32 random bytes: the secret of an epoch's key."""
    return secrets.token_bytes(32)


def public_key(seed: bytes) -> bytes:
    """The 32-byte public key of a seed."""
    return NoteSecret("epoch", seed).public_key().public


def identity_secret(key: DeviceKey, origin: str) -> NoteSecret:
    """With what `key` signs the checkpoints of `origin`: a subkey of the device key, under the origin's name."""
    return NoteSecret(origin, key.subkey("localgpt audit identity v2"))


def identity_of(key: DeviceKey, origin: str) -> NoteKey:
    """The public half of `identity_secret`."""
    return identity_secret(key, origin).public_key()


def origin_of(epoch_key: bytes) -> str:
    """The name of the log whose epoch 0 has this public key: whoever remembers the name cannot be given another log."""
    return f"localgpt.audit/{hashlib.sha256(_ORIGIN_DOMAIN + epoch_key).hexdigest()[:32]}"


def epoch_name(origin: str, epoch: int) -> str:
    """The name under which an epoch's key signs."""
    return f"{origin}/epoch/{epoch}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its origin, its number of entries, its root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """The text of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> Checkpoint:
        """Read a note's text. Extension lines are refused: this log never writes any.

        Raises:
            NoteMalformed
        """
        lines = text.decode().split("\n")
        if len(lines) != 4 or not lines[0] or lines[3] or not _NUMBER.fullmatch(lines[1]):
            raise NoteMalformed("a checkpoint is an origin, a size and a root hash")
        try:
            checkpoint = cls(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True))
        except ValueError as error:
            raise NoteMalformed("a root hash is base64") from error
        if len(checkpoint.root) != HASH_BYTES or checkpoint.text() != text:
            raise NoteMalformed("a root hash has 32 bytes, in the one spelling")
        return checkpoint


@dataclass(frozen=True, slots=True)
class Sealed:
    """One checkpoint of the file: the note, what it says, and where it ends in the file."""

    note: Note
    checkpoint: Checkpoint
    end: int


def seal(checkpoint: Checkpoint, key: DeviceKey, epoch: int, seed: bytes) -> bytes:
    """Sign a checkpoint with the identity and with the epoch's `seed`; gives the note."""
    epoch_secret = NoteSecret(epoch_name(checkpoint.origin, epoch), seed)
    return sign_note(checkpoint.text(), identity_secret(key, checkpoint.origin), epoch_secret)


def check_signed(note: Note, *keys: NoteKey) -> None:
    """Check that a note carries the signatures of exactly these keys, in this order.

    Raises:
        NoteMalformed: other signers, or another order.
        NoteForged: a signature fails.
    """
    if [(each.name, each.key_id) for each in note.signatures] != [(key.name, key.key_id) for key in keys]:
        raise NoteMalformed(f"it is not signed by {' and '.join(key.name for key in keys)}, in this order")
    for key, signature in zip(keys, note.signatures, strict=True):
        if not key.verifies(note.text, signature.blob):
            raise NoteForged(f"the signature of {key.name} is not for this text")


def read_checkpoints(path: Path, start: int = 0) -> Iterator[Sealed]:
    """Every note in the file from an offset on. One that an interrupted write left at the end is not given: it is cut
    off, or holds zero bytes where sectors were never written.

    Raises:
        NoteMalformed: a note that is whole and is none.
        LogUnopenable
    """
    with reading(path) as descriptor:
        if descriptor is None:
            return
        end = start
        for data in _notes(descriptor, start):
            end += len(data)
            if b"\x00" in data:
                return
            note = parse_note(data)
            if len(note.signatures) != 2:
                raise NoteMalformed("a checkpoint has two signatures")
            yield Sealed(note, Checkpoint.parse(note.text), end)


def _notes(descriptor: int, start: int) -> Iterator[bytes]:
    """Split at the two signature lines that end each note."""
    lines: list[bytes] = []
    for line in _lines(descriptor, start):
        lines.append(line)
        if line.startswith(_SIGNATURE) and lines[-2:-1] and lines[-2].startswith(_SIGNATURE):
            yield b"".join(lines)
            lines = []
        elif len(lines) > 8:
            raise NoteMalformed("the checkpoints file holds something that is no checkpoint")


def _lines(descriptor: int, at: int) -> Iterator[bytes]:
    rest = b""
    while chunk := os.pread(descriptor, _CHUNK, at):
        at += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > _CHUNK:
            raise NoteMalformed("a line of the checkpoints file is too long")


def last_checkpoint(path: Path) -> Sealed | None:
    """The last whole note, found from the end of the file. What follows it there is what an interrupted write left.

    Raises:
        LogUnopenable
    """
    with reading(path) as descriptor:
        if descriptor is None:
            return None
        size = os.fstat(descriptor).st_size
        start = max(0, size - _MOST_TAIL)
        data = os.pread(descriptor, _MOST_TAIL, start)
    if start:  # begin at a note: after a line that follows a signature and is none itself
        lines = data.split(b"\n")[1:]
        skip = next(
            (n for n in range(1, len(lines)) if _is_signature(lines[n - 1]) and not _is_signature(lines[n])), len(lines)
        )
        start = size - len(b"\n".join(lines[skip:]))
    found = None
    with contextlib.suppress(NoteError):
        for found in read_checkpoints(path, start):  # noqa: B007 -- the last one is what is wanted
            pass
    return found


def _is_signature(line: bytes) -> bool:
    return line.startswith(_SIGNATURE)
