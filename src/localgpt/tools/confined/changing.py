"""Writing and editing files in one step, and the diff of doing so.

Part of the confined file worker: standard library only, relative imports only.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import Any, Final

from .opening import Refused, open_regular, parent_of

EDIT_BYTES: Final = 16 * 1024 * 1024  #: largest file that is edited or shown as a diff
_CHUNK: Final = 1024 * 1024


def _whole(folder: int, name: str) -> tuple[bytes | None, str, int | None]:
    """A file's bytes (None when it is missing or beyond `EDIT_BYTES`), SHA-256 ("" when missing) and mode."""
    try:
        fd, found = open_regular(folder, name)
    except FileNotFoundError:
        return None, "", None
    with os.fdopen(fd, "rb", buffering=0) as file:
        mode = stat.S_IMODE(found.st_mode)
        if found.st_size > EDIT_BYTES:
            return None, hashlib.file_digest(file, "sha256").hexdigest(), mode
        data = b"".join(iter(lambda: os.read(fd, _CHUNK), b""))
    return data, hashlib.sha256(data).hexdigest(), mode


def _replace_file(folder: int, name: str, data: bytes, mode: int | None) -> None:
    """Put `data` in place of `name` in one step: a crash leaves the old file or the new one, and a hard link's
    other names keep theirs."""
    temporary = f".localgpt-{os.urandom(8).hex()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            if mode is not None:
                os.fchmod(fd, mode)
            os.fsync(fd)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
    _sync_folder(folder)


def _keep(request: dict[str, Any], folder: int, name: str, data: bytes, mode: int | None) -> None:
    """Put `data` where the request wants it."""
    if "into" not in request:
        _replace_file(folder, name, data, mode)
        return
    folder, name = parent_of(request["into"])
    fd = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(fd, "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        os.fsync(fd)


def _sync_folder(folder: int) -> None:
    """Make a rename durable. An O_PATH descriptor cannot be synced, so the folder is opened again through it."""
    try:
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:  # a folder that may be written but not listed
        return
    os.fsync(fd)
    os.close(fd)


def _expect(request: dict[str, Any], digest: str) -> None:
    if request.get("expect") is not None and request["expect"] != digest:
        raise Refused("changed", "the file changed after it was shown for approval; nothing was written")


def write(request: dict[str, Any], *, dry: bool = False) -> dict[str, Any]:
    """Create or replace a file, its mode kept."""
    data = str(request["content"]).encode("utf-8")
    make = not dry and "into" not in request
    try:
        folder, name = parent_of(request["path"], make=make)
        before, digest, mode = _whole(folder, name)
    except FileNotFoundError:
        if make:
            raise
        folder, name, before, digest, mode = -1, "", None, "", None  # the folders are made when it is written
    _expect(request, digest)
    if not dry:
        _keep(request, folder, name, data, mode)
    what = "a new file" if mode is None else "replacing what was there"
    return _changed(request["path"], before, digest, data, f"{len(data)} bytes, {what}")


def edit(request: dict[str, Any], *, dry: bool = False) -> dict[str, Any]:
    """Replace text in a file, byte for byte outside the edit; CRLF line ends and invalid bytes survive."""
    folder, name = parent_of(request["path"])
    before, digest, mode = _whole(folder, name)
    if mode is None:
        raise FileNotFoundError(errno.ENOENT, "missing")
    if before is None:
        raise Refused("too-large", f"the file is larger than {EDIT_BYTES} bytes; use the shell tool")
    _expect(request, digest)
    old, new = str(request["old"]).encode("utf-8"), str(request["new"]).encode("utf-8")
    if old not in before and b"\r\n" in before:
        old, new = (part.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for part in (old, new))
    count = before.count(old)
    _check_match(before, old, new, count, every=bool(request["all"]))
    data = before.replace(old, new)
    if not dry:
        _keep(request, folder, name, data, mode)
    return _changed(request["path"], before, digest, data, f"{count} replacement{'s' if count > 1 else ''}")


def _check_match(data: bytes, old: bytes, new: bytes, count: int, *, every: bool) -> None:
    from difflib import get_close_matches  # noqa: PLC0415 -- only a refusal needs it; start-up is on every call's path

    if old == new:
        raise Refused("no-change", "old_text and new_text are the same")
    if count > 1 and not every:
        at, lines = -1, list[str]()
        while len(lines) < 5 and (at := data.find(old, at + 1)) >= 0:
            lines.append(str(data.count(b"\n", 0, at) + 1))
        where = ", ".join(lines) + (" …" if count > len(lines) else "")
        raise Refused(
            "ambiguous",
            f"old_text occurs {count} times, at lines {where}; add lines around it or set replace_all",
        )
    if count:
        return
    text = data.decode("utf-8", "replace").splitlines()
    wanted = next((line for line in old.decode("utf-8", "replace").splitlines() if line.strip()), "")[:400]
    near = [line[:400] for line in text[:5000]]
    squeezed = "".join(wanted.split())
    match = next((line for line in near if squeezed and "".join(line.split()) == squeezed), None)
    match = match or next(iter(get_close_matches(wanted, near, 1, 0.6)), None)
    hint = "read the file again" if match is None else f"the nearest line is {near.index(match) + 1}, shown below"
    raise Refused("no-match", f"old_text does not occur in the file; {hint}", match or "")


def _changed(name: str, before: bytes | None, digest: str, after: bytes, notice: str) -> dict[str, Any]:
    large = len(after) > EDIT_BYTES or (before is None and digest != "")
    diff = "" if large else unified(name.lstrip("/"), before or b"", after, new=digest == "")
    notice += "; too large to show as a diff" if large else ""
    return {"notice": notice, "diff": diff, "before": digest, "after": hashlib.sha256(after).hexdigest()}


def unified(name: str, before: bytes, after: bytes, *, new: bool = False) -> str:
    """A unified diff. Equal lines at both ends are set aside first, so that one edit in a long file costs little."""
    from difflib import SequenceMatcher  # noqa: PLC0415 -- reading needs none of it

    a, b = _lines(before), _lines(after)
    head = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    skip, keep = max(0, head - 3), max(0, tail - 3)
    a, b = a[skip : len(a) - keep], b[skip : len(b) - keep]
    if len(a) * len(b) > _DIFF_CELLS:  # far apart and long: one block out, one block in
        groups = [[("replace", 0, len(a), 0, len(b))]]
    else:
        groups = [list(group) for group in SequenceMatcher(None, a, b, autojunk=False).get_grouped_opcodes(3)]
    out = [f"--- {'/dev/null' if new else 'a/' + name}", f"+++ b/{name}"]
    for group in groups:
        (_, a0, _, b0, _), (_, _, a1, _, b1) = group[0], group[-1]
        out.append(f"@@ -{_range(skip + a0, a1 - a0)} +{_range(skip + b0, b1 - b0)} @@")
        for tag, i, j, k, m in group:
            out += [(" " if tag == "equal" else "-") + line for line in a[i:j]]
            out += [] if tag == "equal" else ["+" + line for line in b[k:m]]
    return "\n".join(out) + "\n"


def _lines(data: bytes) -> list[str]:
    lines = data.decode("utf-8", "replace").split("\n")
    if lines[-1]:
        lines[-1] += "\n\\ No newline at end of file"
    else:
        lines.pop()
    return lines


def _range(before: int, count: int) -> str:
    """Where a hunk begins and how long it is; an empty one names the line before it."""
    return f"{before + 1 if count else before},{count}"


_DIFF_CELLS: Final = 4_000_000  #: lines times lines that are compared; beyond it the diff is one block
