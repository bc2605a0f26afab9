"""The private key of mode ed25519: one line in a file of the user's, made once, read by what signs and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from localgpt.crypto.note import NoteKeyMalformed, NoteSecret
from localgpt.errors import PolicyError

_MAX_BYTES: Final = 4096


class KeyFileUnusable(PolicyError):  # noqa: N818 -- named after the condition
    """The file cannot be made or read, others can read it, or it holds no private key."""

    code = "key.file-unusable"


def create_signing_key(path: Path, name: str) -> NoteSecret:
    """Make a new key in the new file `path`, mode 0600 from its first byte.

    Raises:
        KeyFileUnusable: the file exists, or cannot be made.
        NoteKeyMalformed: a name with spaces or plus signs.
    """
    secret = NoteSecret.generate(name)
    write_new_file(path, f"{secret.spell()}\n".encode())
    return secret


def write_new_file(path: Path, data: bytes) -> None:
    """Write a file that did not exist, mode 0600 from its first byte, durably.

    Raises:
        KeyFileUnusable
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise KeyFileUnusable(f"{path}: {error.strerror}", cure="name a file that does not exist yet") from error


def load_signing_key(path: Path) -> NoteSecret:
    """Read it. No error repeats any of its content.

    Raises:
        KeyFileUnusable
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            data = file.read(_MAX_BYTES) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        raise KeyFileUnusable(f"{path}: {error.strerror}", cure="name the file that `localgpt key new` made") from error
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyFileUnusable(f"others can read the private key {path}", cure=f"chmod 600 {path}")
    try:
        return NoteSecret.parse(data.decode("utf-8"))
    except (NoteKeyMalformed, UnicodeDecodeError) as error:
        message = f"{path} holds no private key of this kind"
        raise KeyFileUnusable(message, cure="name the file that `localgpt key new` made") from error
