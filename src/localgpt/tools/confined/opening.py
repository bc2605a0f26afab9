"""Opening files without following links, and refusing in words that a model understands.

Part of the confined file worker: standard library only, relative imports only.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

_O_PATH: Final = getattr(os, "O_PATH", os.O_RDONLY)  # macOS has none

_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x7fELF", "ELF program or library"),
    (b"\x89PNG", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"%PDF-", "PDF document"),
    (b"PK\x03\x04", "ZIP archive (also docx, xlsx, jar, wheel)"),
    (b"\x1f\x8b", "gzip data"),
    (b"\xfd7zXZ", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"SQLite format 3\0", "SQLite database"),
    (b"GGUF", "GGUF model"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)


class Refused(Exception):  # noqa: N818 -- an answer to the model, not a fault of the program
    """The request cannot be carried out; `text` may quote the file."""

    def __init__(self, code: str, message: str, text: str = "") -> None:
        super().__init__(code)
        self.answer = {"error": code, "message": message, "text": text}


ERRNO: Final = {
    errno.ENOENT: ("not-found", "there is no such file or folder"),
    errno.EACCES: ("denied", "the sandbox or the file's permissions do not allow this"),
    errno.EPERM: ("denied", "the sandbox or the file's permissions do not allow this"),
    errno.EROFS: ("read-only", "the folder is read-only here"),
    errno.ENOSPC: ("no-space", "the disk is full; the file is as it was"),
    errno.EDQUOT: ("no-space", "the disk quota is used up; the file is as it was"),
    errno.EFBIG: ("too-large", "the file would be larger than the sandbox allows; it is as it was"),
    errno.ENOTDIR: ("not-folder", "a part of the path is a file, not a folder"),
    errno.EISDIR: ("is-folder", "this is a folder, not a file"),
    errno.ENAMETOOLONG: ("bad-path", "the path is too long"),
    errno.ELOOP: ("link", "a symbolic link lies on the path; the path was decided without it"),
}


def _components(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or ".." in parts:
        raise Refused("bad-path", "the path is not absolute and plain")
    return parts


def _step_into(folder: int, name: str, *, make: bool) -> int:
    """Open one folder below `folder` without following a link."""
    flags = _O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
        os.mkdir(name, 0o777, dir_fd=folder)
        return os.open(name, flags, dir_fd=folder)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, "link") from None
        raise Refused("not-folder", "a part of the path is a file, not a folder") from None


def parent_of(path: str, *, make: bool = False) -> tuple[int, str]:
    """Walk to the folder that holds `path`; return its descriptor and the last name ("." for the root)."""
    *folders, name = _components(path) or ["."]
    at = os.open("/", _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in folders:
        below = _step_into(at, part, make=make)
        os.close(at)
        at = below
    return at, name


def open_regular(folder: int, name: str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; never follows a link and never waits on a pipe or a device."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        kind = ("is-folder", "this is a folder, not a file") if stat.S_ISDIR(found.st_mode) else _SPECIAL
        raise Refused(*kind)
    return fd, found


_SPECIAL: Final = ("not-regular", "this is a pipe, socket or device, not a file")


def kind_of(head: bytes) -> str | None:
    """What a file that is no text seems to be, or None for text."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return "binary data" if b"\0" in head else None
