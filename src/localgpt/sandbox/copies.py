"""Copies of protected files, to be put back when a command has changed them, and names for what is put away.

Everything by a descriptor of the folder and a name in it; no link is followed.
"""

# Paths are names in a folder that is open.

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from typing import Final

from localgpt.sandbox import repositories

SUFFIX: Final = ".localgpt-quarantine"
_COPY_BYTES: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class Copy:
    """A protected file as it was.

    `content`: its bytes, or a link's target; None when there was too much of it to be put back. `digest`: of all of it.
    `owner`: user and group. `name`, `folder`: its name, and the inode of its folder: a file that moved with its folder
    is the same file.
    """

    mode: int
    content: bytes | None
    digest: bytes
    owner: tuple[int, int]
    name: str
    folder: int


def status_of(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name or ".", dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def take_copy(folder: int, name: str) -> Copy | None:
    """A file or link as it is; None for anything else, and for what is not there."""
    status = status_of(folder, name)
    if status is None:
        return None
    inode = os.fstat(folder).st_ino
    content: bytes | None
    if stat.S_ISLNK(status.st_mode):
        content = digest = os.fsencode(os.readlink(name, dir_fd=folder))
    elif stat.S_ISREG(status.st_mode):
        content, digest = repositories.read_file(folder, name, _COPY_BYTES)
    else:
        return None
    return Copy(status.st_mode, content, digest, (status.st_uid, status.st_gid), name, inode)


def put_back(folder: int, name: str, known: Copy) -> None:
    """Make the file or link what it was, in one step."""
    temporary = f".localgpt-{os.urandom(8).hex()}"
    if stat.S_ISLNK(known.mode):
        os.symlink(known.content or b"", temporary, dir_fd=folder)
    else:
        _write(folder, temporary, known)
    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _write(folder: int, name: str, known: Copy) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(known.content or b"")
        with contextlib.suppress(OSError):  # only root gives files away
            os.fchown(file.fileno(), *known.owner)
        os.fchmod(file.fileno(), stat.S_IMODE(known.mode))


def open_to_owner(folder: int) -> None:
    """Let the owner change a folder that a command has closed."""
    mode = stat.S_IMODE(os.fstat(folder).st_mode)
    if mode & 0o300 != 0o300:
        with contextlib.suppress(OSError):  # somebody else's
            os.fchmod(folder, mode | 0o700)


def free_name(folder: int, name: str) -> str:
    """A name for what is put away, not in use in `folder`."""
    stem = os.fsdecode(os.fsencode(name)[: 255 - len(SUFFIX) - 8])
    for number in range(1, 10_000):
        free = stem + SUFFIX + ("" if number == 1 else f"-{number}")
        if status_of(folder, free) is None:
            return free
    return f"{stem[:64]}{SUFFIX}-{os.urandom(8).hex()}"
