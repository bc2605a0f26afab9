"""Reading a window of lines from a file of any size.

Part of the confined file worker: standard library only, relative imports only.
"""

from __future__ import annotations

import os
from typing import Any, Final

from .opening import Refused, kind_of, open_regular, parent_of

WINDOW_BYTES: Final = 48 * 1024  #: of one read
_CHUNK: Final = 1024 * 1024
_SNIFF: Final = 8192


def _skip_lines(fd: int, count: int) -> bytes:
    """Read past `count` line ends; return what was read beyond them. Raises Refused when the file ends before."""
    seen = 0
    while seen < count:
        chunk = os.read(fd, _CHUNK)
        if not chunk:
            raise Refused("past-end", f"the file has only {seen} line ends; ask for an earlier offset")
        here = chunk.count(b"\n")
        if seen + here >= count:
            at = -1
            for _ in range(count - seen):
                at = chunk.index(b"\n", at + 1)
            return chunk[at + 1 :]
        seen += here
    return b""


def _window(fd: int, rest: bytes, limit: int) -> tuple[bytes, int, bool]:
    """At most `limit` whole lines within `WINDOW_BYTES`: the bytes, the number of lines, whether more follows."""
    data = bytearray(rest[: WINDOW_BYTES + 1])
    while len(data) <= WINDOW_BYTES and data.count(b"\n") < limit:
        chunk = os.read(fd, WINDOW_BYTES + 1)
        if not chunk:
            break
        data += chunk
    lines = bytes(data).split(b"\n", limit)
    last = lines.pop() if len(lines) > limit or lines[-1] == b"" else b""  # beyond the limit, or after a final line end
    more_lines = last != b""
    kept = b"\n".join(lines)
    if len(kept) <= WINDOW_BYTES:
        return kept, len(lines), more_lines or bool(os.read(fd, 1))
    cut = kept.rfind(b"\n", 0, WINDOW_BYTES)
    if cut < 0:
        return kept[:WINDOW_BYTES], 0, True
    return kept[:cut], kept.count(b"\n", 0, cut) + 1, True


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Lines of a text file; for anything else its kind and size."""
    offset, limit = int(request["offset"]), int(request["limit"])
    fd, found = open_regular(*parent_of(request["path"]))
    with os.fdopen(fd, "rb", buffering=0):
        head = os.pread(fd, _SNIFF, 0)
        if kind := kind_of(head):
            return {"text": "", "notice": f"not text: {kind}, {found.st_size} bytes; not shown"}
        data, lines, more = _window(fd, _skip_lines(fd, offset - 1), limit)
    notes = [f"lines {offset} to {offset + max(lines, 1) - 1} of a file of {found.st_size} bytes"]
    if found.st_size == 0:
        notes = ["the file is empty"]
    elif more and lines == 0:
        notes.append(f"this line is longer than {WINDOW_BYTES} bytes and was cut; use the shell tool for the rest")
    elif more:
        notes.append(f"more follows from offset {offset + lines}")
    return {"text": _decoded(data, notes), "notice": "; ".join(notes)}


def _decoded(data: bytes, notes: list[str]) -> str:
    if b"\r\n" in data:
        data = data.replace(b"\r\n", b"\n")
        notes.append("its line ends are CRLF, which edit_file keeps")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        notes.append("bytes that are not UTF-8 are shown as \N{REPLACEMENT CHARACTER}")
        return data.decode("utf-8", "replace")
