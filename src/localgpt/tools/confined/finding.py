"""Listing folders and searching files, bounded in entries, matches and time.

Part of the confined file worker: standard library only, relative imports only.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

from .opening import Refused, kind_of, open_regular, parent_of
from .skipping import Skip

_CHUNK: Final = 1024 * 1024
_SNIFF: Final = 8192
MAX_ENTRIES: Final = 500
MAX_MATCHES: Final = 200
MAX_VISITED: Final = 20_000  #: files and folders looked at by one call
BUDGET_S: Final = 10.0  #: of one search; a pattern that backtracks for ever ends here
_SKIPPED: Final = frozenset({".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__"})
_SHOWN: Final = 300  #: characters of one matching line


class OutOfTime(Exception):  # noqa: N818 -- named after the condition
    """The search used up `BUDGET_S`."""


def _walk(path: str, depth: int, skip: Skip) -> Iterator[tuple[str, list[os.DirEntry[str]], int]]:
    """Folders below `path` in order, never through a link: relative name, sorted entries but `skip`'s, descriptor."""
    folder, name = parent_of(path)
    start = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    waiting, visited = [("", start, 1)], 0
    while waiting:
        relative, fd, level = waiting.pop()
        with os.scandir(fd) as found:
            entries = sorted(itertools.islice(found, MAX_VISITED), key=lambda entry: entry.name)
        visited += len(entries)
        entries = skip.keep(f"{path.rstrip('/')}/{relative}", entries)
        yield relative, entries, fd
        if level < depth and visited < MAX_VISITED:
            for entry in reversed(entries):
                if entry.is_dir(follow_symlinks=False) and entry.name not in _SKIPPED and len(waiting) < 200:
                    with contextlib.suppress(OSError):
                        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                        waiting.append((f"{relative}{entry.name}/", os.open(entry.name, flags, dir_fd=fd), level + 1))
        os.close(fd)


def _plain(name: str) -> str:
    """A file name on one line, whatever it holds."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in os.fsencode(name).decode("utf-8", "replace"))


def _matches(entry: str, relative: str, pattern: str) -> bool:
    return not pattern or fnmatchcase(relative + entry if "/" in pattern else entry, pattern)


def list_files(request: dict[str, Any]) -> dict[str, Any]:
    """Names below a folder: "name  SIZE", "name/" or "name -> target"; of a file, its own line."""
    folder, name = parent_of(request["path"])
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        return {"text": f"{_plain(name)}  {found.st_size}", "notice": "this is a file"}
    out: list[str] = []
    skip = Skip(request)
    for relative, entries, fd in _walk(request["path"], int(request["depth"]), skip):
        wanted = (entry for entry in entries if _matches(entry.name, relative, str(request["pattern"])))
        out.extend(_plain(relative + entry.name) + _suffix(entry, fd) for entry in wanted)
        if len(out) > MAX_ENTRIES:
            notice = f"only the first {MAX_ENTRIES} entries are shown; use a pattern or a folder further down"
            return {"text": "\n".join(out[:MAX_ENTRIES]), "notice": notice + skip.notice}
    return {"text": "\n".join(out), "notice": f"{len(out)} entries{skip.notice}"}


def _suffix(entry: os.DirEntry[str], fd: int) -> str:
    if entry.is_dir(follow_symlinks=False):
        return "/"
    with contextlib.suppress(OSError):
        if entry.is_symlink():
            return " -> " + _plain(os.readlink(entry.name, dir_fd=fd))
        return f"  {os.stat(entry.name, dir_fd=fd, follow_symlinks=False).st_size}"
    return ""


def _compiled(pattern: str, *, regex: bool) -> re.Pattern[str]:
    try:
        return re.compile(pattern if regex else re.escape(pattern), re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise Refused("bad-pattern", "the regular expression is not valid Python re syntax", str(error)) from error


def _blocks(fd: int) -> Iterator[str]:
    """A text file in blocks that end at a line end (or after 4 MiB without one); nothing for a file that is no text."""
    rest, first = b"", True
    while chunk := os.read(fd, _CHUNK):
        if first and kind_of(chunk[:_SNIFF]):
            return
        first, rest = False, rest + chunk
        cut = rest.rfind(b"\n") + 1 if len(rest) < 4 * _CHUNK else len(rest)
        yield rest[:cut].decode("utf-8", "replace")
        rest = rest[cut:]
    yield rest.decode("utf-8", "replace")


def _search_file(fd: int, shown: str, pattern: re.Pattern[str], out: list[str]) -> None:
    """Append "name:line: text" for each matching line of one file."""
    line, last = 1, 0
    for block in _blocks(fd):
        at = 0
        for match in pattern.finditer(block):
            line += block.count("\n", at, match.start())
            at = match.start()
            if len(out) >= MAX_MATCHES:
                return
            if line != last:
                out.append(f"{shown}:{line}: {_line_at(block, at)}")
            last = line
        line += block.count("\n", at)


def _line_at(block: str, start: int) -> str:
    begin = max(block.rfind("\n", 0, start) + 1, start - _SHOWN // 2)
    end = block.find("\n", start)
    end = len(block) if end < 0 else end
    return block[begin : min(end, begin + _SHOWN)].rstrip("\r")


def search(request: dict[str, Any]) -> dict[str, Any]:
    """Matching lines of one file, or of the files below a folder whose names match `glob`."""

    def stop(_signal: int, _frame: object) -> None:
        raise OutOfTime

    pattern = _compiled(str(request["pattern"]), regex=bool(request["regex"]))
    out: list[str] = []
    notice = ""
    skip = Skip(request)
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, BUDGET_S)  # `re` looks for signals while it backtracks
    try:
        _search_all(request, pattern, skip, out)
    except OutOfTime:
        notice = f"; stopped after {BUDGET_S:.0f} seconds: use a simpler pattern or a folder further down"
    signal.setitimer(signal.ITIMER_REAL, 0)
    more = f"; stopped at {MAX_MATCHES}, narrow the search" if len(out) >= MAX_MATCHES else ""
    return {"text": "\n".join(out), "notice": f"{len(out)} matching lines{more}{notice}{skip.notice}"}


def _search_all(request: dict[str, Any], pattern: re.Pattern[str], skip: Skip, out: list[str]) -> None:
    with contextlib.suppress(Refused):
        fd, _ = open_regular(*parent_of(request["path"]))
        with os.fdopen(fd, "rb", buffering=0):
            return _search_file(fd, _plain(str(request["path"]).rpartition("/")[2]), pattern, out)
    for relative, entries, folder in _walk(request["path"], 40, skip):
        for entry in entries:
            if len(out) >= MAX_MATCHES:
                return None
            if entry.is_file(follow_symlinks=False) and _matches(entry.name, relative, str(request["glob"])):
                with contextlib.suppress(OSError, Refused):
                    fd, _ = open_regular(folder, entry.name)
                    with os.fdopen(fd, "rb", buffering=0):
                        _search_file(fd, _plain(relative + entry.name), pattern, out)
    return None
