"""A new root for the zygote: an empty tmpfs with what the plan names bound into it, read-only unless it may be written.

What is not bound does not exist for a command: no path to the home, to sockets under /run, to other people's /tmp. A
read-only bind also stops what Landlock has no right for: chmod, chown, utime and extended attributes.

Called in a process that is alone in new user, mount and pid namespaces with capabilities. Locations are opened before
the first mount and never looked up again, so that a path swapped meanwhile cannot redirect a bind.

Source: mount_setattr(2), open_tree(2), move_mount(2), pivot_root(2).
"""

# Pathlib would double what the zygote loads, and paths are bytes here.
# ruff: noqa: PTH102, PTH106, PTH120, PTH211

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct
import time

from localgpt.sandbox import kernel

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x4_0000
MNT_DETACH = 2
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4

DEVICES = (b"null", b"zero", b"full", b"random", b"urandom")
_LINKS = ((b"fd", b"/proc/self/fd"), (b"stdin", b"fd/0"), (b"stdout", b"fd/1"), (b"stderr", b"fd/2"))
_STAGE = b"/tmp"
EMPTY_FILE = b"/.empty"
_LOCK_ATTEMPTS, _LOCK_PAUSE_S = 5, 0.01


class ViewRefused(OSError):  # noqa: N818 -- named after the condition
    """The host refuses namespaces or a view of one's own, whatever the plan: it will again for every other plan."""


def build_root(
    reads: list[tuple[bytes, int]],
    writes: list[tuple[bytes, int]],
    denied: list[bytes],
    links: list[tuple[bytes, bytes]],
    tmp_bytes: int,
) -> None:
    """Make the new root and enter it.

    Args:
        reads: path and location of everything bound read-only, also inside what may be written.
        writes: the same for what may be written.
        denied: paths inside those that are covered by something empty.
        links: symbolic links of the root directory to recreate: path, target.
        tmp_bytes: size of each of the private /tmp and /dev/shm.

    Raises:
        OSError: with the step's name in its text; the caller gives up this rung.
    """
    try:
        _replace_root(tmp_bytes)
    except OSError as error:
        raise ViewRefused(error.errno, error.strerror or str(error)) from error
    for path, target in links:
        _make_parents(path)
        os.symlink(target, path)
    # Parents before children: a write root inside a read root is bound over it, and the other way round.
    for path, location, writable in sorted([(p, f, False) for p, f in reads] + [(p, f, True) for p, f in writes]):
        _bind(location, path, _ATTR_NODEV | (0 if writable else _ATTR_RDONLY))
    for path in denied:
        _cover(path)
    kernel.call("umount2", b"/old", MNT_DETACH)
    os.rmdir(b"/old")
    _mount(b"run", b"/run", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755,size=64k")
    _set_attributes(kernel.AT_FDCWD, b"/", _ATTR_RDONLY, 0)


def between(paths: list[bytes], roots: list[bytes]) -> list[bytes]:
    """The folders from each of `roots` down to each of `paths`, without both ends."""
    found: list[bytes] = []
    for path in paths:
        folder = os.path.dirname(path)
        while len(folder) > 1 and folder not in roots and any(folder.startswith(root + b"/") for root in roots):
            if folder not in found:
                found.append(folder)
            folder = os.path.dirname(folder)
    return found


def remove_held(paths: list[bytes], mark_ns: int) -> None:
    """Remove the empty folders that were mounted upon, when the runtime that made them was killed; see `holds`.

    One that somebody else holds, or has put something into, stays.
    """
    for path in paths:
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            _lock(held)
            if os.fstat(held).st_mtime_ns == mark_ns:
                os.rmdir(path)
        except OSError:
            pass
        os.close(held)


def _lock(held: int) -> None:
    """Lock a folder for ourselves; the runtime's lock goes with its last descriptor, an instant after it has ended."""
    for attempt in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt == _LOCK_ATTEMPTS - 1:
                raise
            time.sleep(_LOCK_PAUSE_S)
        else:
            return


def _replace_root(tmp_bytes: int) -> None:
    """An empty root with proc, devices and private folders in it; the host's is left at /old."""
    devices = [(b"/dev/" + name, kernel.open_beneath_no_symlink(b"/dev/" + name)) for name in DEVICES]
    _mount(None, b"/", None, MS_REC | MS_PRIVATE)
    _mount(b"root", _STAGE, b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755,size=4m")
    os.chdir(_STAGE)
    os.mkdir(b"old", 0o700)
    kernel.call("pivot_root", b".", b"old")
    os.chdir(b"/")
    _furnish(tmp_bytes)
    for path, location in devices:
        _bind(location, path, _ATTR_RDONLY)  # devices still take writes, but not chmod
        os.close(location)


def _furnish(tmp_bytes: int) -> None:
    size = b"mode=1777,nr_inodes=100k,size=%d" % tmp_bytes
    for name in (b"/proc", b"/dev", b"/tmp", b"/run", b"/var"):
        os.mkdir(name, 0o755)
    os.mkdir(b"/dev/shm", 0o755)
    # A fresh proc shows only this pid namespace. Mounted while the old one is still visible: the kernel demands it.
    _mount(b"proc", b"/proc", b"proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount(b"tmp", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, size)
    _mount(b"shm", b"/dev/shm", b"tmpfs", MS_NOSUID | MS_NODEV, size)
    os.mkdir(b"/tmp/home", 0o700)
    os.mkdir(b"/var/tmp", 0o755)
    _mount(b"/tmp", b"/var/tmp", None, MS_BIND)  # no link: a project may lie in the host's
    for name, target in _LINKS:
        os.symlink(target, b"/dev/" + name)
    _write_file(EMPTY_FILE, 0o000)


def _bind(location: int, path: bytes, attributes: int) -> None:
    _make_mount_point(path, is_directory=stat.S_ISDIR(os.fstat(location).st_mode))
    flags = _OPEN_TREE_CLONE | kernel.AT_EMPTY_PATH | kernel.AT_RECURSIVE | os.O_CLOEXEC
    tree = kernel.call("open_tree", location, b"", flags)
    _set_attributes(tree, b"", attributes | _ATTR_NOSUID, kernel.AT_EMPTY_PATH | kernel.AT_RECURSIVE)
    kernel.call("move_mount", tree, b"", kernel.AT_FDCWD, path, _MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)


def _cover(path: bytes) -> None:
    """Put something empty and unreadable over `path`; nothing to do when the view does not hold it."""
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return
    if is_directory:
        _mount(b"denied", path, b"tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, b"mode=000,size=4k")
    else:
        location = kernel.open_beneath_no_symlink(EMPTY_FILE)
        _bind(location, path, _ATTR_NODEV | _ATTR_RDONLY)
        os.close(location)


def _make_mount_point(path: bytes, *, is_directory: bool) -> None:
    if os.path.lexists(path):
        return  # inside something already bound, where it must exist: its location was opened there
    _make_parents(path)
    if is_directory:
        os.mkdir(path, 0o755)
    else:
        _write_file(path, 0o644)


def _make_parents(path: bytes) -> None:
    parent = os.path.dirname(path)
    if not os.path.lexists(parent):
        _make_parents(parent)
        os.mkdir(parent, 0o755)


def _write_file(path: bytes, mode: int) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode))


def _set_attributes(fd: int, path: bytes, attributes: int, flags: int) -> None:
    kernel.call("mount_setattr", fd, path, flags, struct.pack("QQQQ", attributes, 0, 0, 0), 32)


def _mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    try:
        kernel.call("mount", source, target, kind, flags, data if data is None else ctypes.create_string_buffer(data))
    except OSError as error:
        raise OSError(error.errno, f"mount {os.fsdecode(target)}: {os.strerror(error.errno or 0)}") from error
