"""What was made, moved or changed below the write roots, at a cost that is nearly nothing when nothing was.

Inotify watches every folder that is searched: one read says that nothing happened. It sees changes through every mount
of the same files, so it works from outside the commands' view, and a watched inode reports whatever name it was
reached by. When the kernel gives no watch, or lost count of events, everything is looked through instead.

Folders are opened beneath their root without following links, so that what is renamed meanwhile leads nowhere else.

Source: inotify(7), openat2(2).
"""

# Paths are text relative to a root, and looked up through a descriptor.
# ruff: noqa: PTH101

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from localgpt.sandbox import kernel
from localgpt.sandbox.names import fold, shipped_names

_FOLDERS: Final = 16_384
_ENTRIES: Final = 400_000
_EVENT: Final = struct.Struct("=iIII")
_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _IGNORED, _IS_FOLDER = 0x4000, 0x8000, 0x4000_0000
_OF_A_FOLDER: Final = _CREATE | _MOVED_TO | _MOVED_FROM | _DELETE | _CLOSE_WRITE | _ATTRIB
_OF_A_FILE: Final = _MODIFY | _CLOSE_WRITE | _ATTRIB
_CLOCK_NS: Final = 20_000_000  # files are stamped by a clock that ticks
_BENEATH: Final = struct.pack(
    "QQQ", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0,
    kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS,
)  # fmt: skip


class Place(NamedTuple):
    """A path below one of the roots, "" for the root itself."""

    root: int
    path: str

    @property
    def folder(self) -> Place:
        return Place(self.root, self.path.rpartition("/")[0])

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def below(self, name: str) -> Place:
        return Place(self.root, f"{self.path}/{name}" if self.path else name)


class Watch:
    """Watches the folders below some roots. `complete` is False when a bound was met: the rest is not seen."""

    def __init__(self, roots: Sequence[str], matters: Callable[[Place], bool]) -> None:
        """Open the roots; `start` begins to watch.

        Args:
            roots: folders, absolute and free of links.
            matters: whether a place is to be looked at even when nobody can say whether it changed.

        Raises:
            OSError: a root cannot be opened.
        """
        self.roots = tuple(roots)
        self.complete = True
        self._matters = matters
        self._descriptors = [kernel.open_beneath_no_symlink(os.fsencode(root)) for root in roots]
        self._places: dict[int, Place] = {}
        self._young: dict[Place, int] = {}
        self._fd = -1
        with contextlib.suppress(OSError):  # too many watches of this user's: everything is looked through instead
            self._fd = kernel.call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)

    def start(self) -> Iterator[tuple[Place, list[str]]]:
        """Begin to watch; every folder there is now, with the names in it."""
        for root in range(len(self.roots)):
            yield from self.search(Place(root, ""))

    def close(self) -> None:
        """Give up all descriptors."""
        for descriptor in (*self._descriptors, self._fd):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptors, self._fd = [], -1

    def open_folder(self, place: Place) -> int:
        """A descriptor of the folder at `place`, reached without following any link.

        Raises:
            OSError: it is no folder, or a link is on the way.
        """
        return kernel.call(
            "openat2", self._descriptors[place.root], os.fsencode(place.path or "."), _BENEATH, len(_BENEATH)
        )

    def force_open(self, place: Place) -> int:
        """As `open_folder`, for what a command has left: a folder that it closed to its owner is opened again.

        Raises:
            OSError: as `open_folder`, or the folder belongs to somebody else.
        """
        try:
            return self.open_folder(place)
        except PermissionError:
            pass
        at = os.dup(self._descriptors[place.root])
        for part in place.path.split("/"):
            try:
                below = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            finally:
                os.close(at)
            at = below
            with contextlib.suppress(OSError):
                os.chmod(f"/proc/self/fd/{at}", os.fstat(at).st_mode & 0o7777 | 0o700)
        os.close(at)
        return self.open_folder(place)

    def locate(self, path: str) -> Place | None:
        """The place of an absolute path, None when it lies in no root."""
        for index, root in enumerate(self.roots):
            if path == root or path.startswith(root.rstrip("/") + "/"):
                return Place(index, path[len(root.rstrip("/")) + 1 :])
        return None

    def follow(self, place: Place, folder: int) -> None:
        """Watch one file itself: what happens to it under another of its names is seen as well."""
        self._add(f"/proc/self/fd/{folder}/{place.name}", _OF_A_FILE | 0x0200_0000, place)  # not through a link

    def changed(self, since_ns: int) -> set[Place]:
        """Every place that may have changed since it was last asked, or, when nobody counted, since `since_ns`.

        Zero: whoever changed it was no command.
        """
        events, all_seen = self._events()
        if not all_seen:
            return self._since(since_ns)
        found: set[Place] = set()
        for watch, mask, name in events:
            if mask & _IGNORED:
                self._places.pop(watch, None)
                continue
            if (place := self._places.get(watch)) is None:
                continue
            place = place.below(name) if name else place
            found.add(place)
            if mask & _IS_FOLDER and mask & (_CREATE | _MOVED_TO | _ATTRIB) and name:
                for folder, names in self.search(place, force=since_ns > 0):
                    found.update(map(folder.below, names))
        return found

    def search(self, top: Place, *, force: bool = False) -> Iterator[tuple[Place, list[str]]]:
        """Watch the folder `top` and all that are searched below it: each, with the names in it.

        `force`: also those that a command has closed to their owner.
        """
        folders, opened, entries = deque([top]), 0, 0
        while folders:
            place, opened = folders.popleft(), opened + 1
            try:
                folder = self.force_open(place) if force else self.open_folder(place)
            except OSError as error:  # no folder, closed to this user, or gone
                self.complete = self.complete and error.errno != errno.ENAMETOOLONG
                continue
            try:
                watched = self._add(f"/proc/self/fd/{folder}", _OF_A_FOLDER, place)
                if not watched or entries > _ENTRIES or max(opened, len(self._places)) > _FOLDERS:
                    self.complete = False
                    return
                names, below = _listed(folder)
            finally:
                os.close(folder)
            entries += len(names)
            folders.extend(place.below(name) for name in below if _is_searched(place, name))
            yield place, names

    def _add(self, path: str, mask: int, place: Place) -> bool:
        if self._fd < 0:
            return True
        try:
            watch = kernel.call("inotify_add_watch", self._fd, os.fsencode(path), mask)
        except OSError as error:
            return error.errno != errno.ENOSPC  # this user's watches are used up
        self._places[watch] = place
        return True

    def _events(self) -> tuple[list[tuple[int, int, str]], bool]:
        """What the kernel has counted, and whether it counted everything."""
        found: list[tuple[int, int, str]] = []
        all_seen = self._fd >= 0
        while self._fd >= 0:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                break
            at = 0
            while at < len(data):
                watch, mask, _, size = _EVENT.unpack_from(data, at)
                name = data[at + _EVENT.size : at + _EVENT.size + size].rstrip(b"\0")
                at += _EVENT.size + size
                all_seen = all_seen and not mask & _OVERFLOW
                found.append((watch, mask, os.fsdecode(name)))
        return found, all_seen

    def _since(self, since_ns: int) -> set[Place]:
        """By the time of change alone. What the last look found with that very time is no news: a look may come sooner
        than the clock that stamps files ticks."""
        found, young = set(), {}
        for folder, names in self.start():
            for place in map(folder.below, names):
                changed_at = self._changed_at(place)
                is_news = changed_at >= since_ns - _CLOCK_NS and self._young.get(place) != changed_at
                if is_news or self._matters(place):
                    found.add(place)
                if changed_at >= since_ns - _CLOCK_NS and since_ns:
                    young[place] = changed_at
        self._young = young or self._young
        return found

    def _changed_at(self, place: Place) -> int:
        """When the file last changed in any way, by a clock that commands cannot set; 0 when it is gone."""
        try:
            return os.lstat(self.full(place)).st_ctime_ns
        except OSError:
            return 0

    def full(self, place: Place) -> str:
        """The absolute path."""
        return f"{self.roots[place.root].rstrip('/')}/{place.path}"


def now_ns() -> int:
    """The clock by which files are stamped."""
    return time.time_ns()


def _listed(folder: int) -> tuple[list[str], list[str]]:
    """The names in a folder, and which of them are folders."""
    names, below = [], []
    with os.scandir(folder) as listing:
        for entry in listing:
            names.append(entry.name)
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
    return names, below


def _is_searched(parent: Place, child: str) -> bool:
    name, names = fold(child), shipped_names()
    if fold(parent.name) == "node_modules":
        return name == ".bin"
    if name == "node_modules":
        return True
    if name in names.not_searched_in_git:
        return ".git" not in fold(parent.path).split("/")
    return name not in names.not_searched
