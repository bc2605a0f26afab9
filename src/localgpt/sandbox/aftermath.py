"""What a command left behind that other programs would obey: found after it, put away, and reported.

Mounts hold the protected names at the top of a write root (rung A). Names deeper down, and everything on rung B, can
only be looked at when nobody of the command's tree is left and before its result is returned: what appeared or changed
is renamed to `NAME.localgpt-quarantine`, and what was there before is put back. Between the command's act and that
moment a program of the host could have obeyed it: such names are *detected, not prevented*.

What the user changes between commands is the user's.
"""

# Paths are text relative to a root, and looked up through a descriptor.

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from localgpt.sandbox import repositories
from localgpt.sandbox.copies import Copy, free_name, open_to_owner, put_back, status_of, take_copy
from localgpt.sandbox.names import ProtectedNames, fold, is_executed_later, shipped_names
from localgpt.sandbox.watch import Place, Watch

_COPIES: Final = 4096
_ALL_COPIES_BYTES: Final = 32 << 20
_REPORTED: Final = 200


@dataclass(frozen=True, slots=True)
class Left:
    """What was found after a command; absolute paths.

    `put_away`: protected names that it made or changed, each now at its path with `SUFFIX`. `restored`: those of them,
    and those it removed, that are as they were before. `remaining`: those that could not be put away; whoever starts a
    program there obeys the command. `complete`: False when there was too much to look through, so that there may be
    more. `executed_later`: other files that it made or changed and that
    the host is likely to execute.
    """

    put_away: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    remaining: tuple[str, ...] = ()
    executed_later: tuple[str, ...] = ()
    complete: bool = True


NOTHING: Final = Left()


_put_back: set[Copy] = set()  # by any executor of this process: the user's, whoever looks next


class Aftermath:
    """Looks after the write roots of one executor. Not shared between threads."""

    def __init__(self, roots: Iterable[str], protected: Iterable[str] = (), prevented: Iterable[str] = ()) -> None:
        """Open the roots; nothing is looked at before `begin`.

        Args:
            roots: the write roots that are folders.
            protected: absolute paths beyond the shipped names.
            prevented: absolute paths that commands cannot change anyway.

        Raises:
            OSError: a root cannot be opened.
        """
        names = shipped_names()
        self._names = ProtectedNames((*names.held, *names.found))
        self._watch = Watch(tuple(roots), self._matters)
        places = {place for path in protected if (place := self._watch.locate(path)) is not None and place.path}
        # Inside a repository git's own commands must work: there it is what a file says that is judged.
        self._more = {place for place in places if ".git" not in place.folder.path.split("/")}
        self._last_parts = frozenset(
            (*self._names.last_parts, *(fold(place.name) for place in self._more), *repositories.NAMES)
        )
        self._prevented = frozenset(place for path in prevented if (place := self._watch.locate(path)) is not None)
        self._undisturbed = True
        self._copies: dict[Place, Copy] = {}
        self._kept_bytes = 0

    @property
    def complete(self) -> bool:
        """Whether everything in the roots is looked at; False when they are too large."""
        return self._watch.complete

    def begin(self, *, undisturbed: bool = True) -> None:
        """Take in what is there now. `undisturbed`: nobody's command runs there; else nothing of it is put back."""
        self._undisturbed = undisturbed
        self._copies.clear()
        self._kept_bytes = 0
        for folder, names in self._watch.start():
            everything = self.protected_part(folder) is not None or fold(folder.name) == "hooks"
            for name in names:
                if everything or fold(name) in self._last_parts:
                    self._take_in(folder.below(name))

    def distrust(self) -> None:
        """Somebody's command ran while this was taken in: nothing of it is put back, until it is taken in again."""
        self._undisturbed = False
        self._copies = {place: replace(copy, content=None) for place, copy in self._copies.items()}

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()

    def forget(self) -> bool:
        """Before a command, and nobody else's runs: whatever happened since the last one was not its doing.

        Returns whether anything did.
        """
        afresh = not self._undisturbed
        if afresh:
            self.begin()
        if not (changed := self._watch.changed(0)):
            return afresh
        for place in changed:
            self._copies.pop(place, None)
        self._kept_bytes = sum(len(copy.content or b"") for copy in self._copies.values())
        for place in changed:
            self._take_in(place)
        return True

    def look(self, since_ns: int) -> Left:
        """After a command that started at `since_ns`: put away and put back, and say what."""
        changed = self._watch.changed(since_ns)
        if not changed:
            return NOTHING
        return _Look(self, changed).judge()

    # --- what is protected ------------------------------------------------------------------------------------------

    def protected_part(self, place: Place) -> Place | None:
        """The protected name that `place` is, or lies in."""
        for above in _upwards(place):
            if above in self._more:
                return above
        found = self._names.find(place.path)
        return None if found is None else Place(place.root, found)

    def is_prevented(self, place: Place) -> bool:
        return any(above in self._prevented for above in _upwards(place))

    def _matters(self, place: Place) -> bool:
        return self.protected_part(place) is not None or repositories.may_matter(place.path)

    def _take_in(self, place: Place) -> None:
        """Remember a protected file as it is now."""
        if not self._matters(place) or self.is_prevented(place) or len(self._copies) >= _COPIES:
            return
        with contextlib.suppress(OSError):
            folder = self._watch.open_folder(place.folder)
            try:
                # What git does not obey now is judged from nothing when a command makes git obey it.
                obeyed = self.protected_part(place) is not None or repositories.obeyed_now(place.path, folder)
                copy = take_copy(folder, place.name) if obeyed else None
                if copy is not None:
                    self._kept_bytes += len(copy.content or b"")
                    if self._kept_bytes > _ALL_COPIES_BYTES or not self._undisturbed:
                        copy = replace(copy, content=None)
                    self._copies[place] = copy
                    self._watch.follow(place, folder)
            finally:
                os.close(folder)


class _Look:
    """One look at what changed."""

    def __init__(self, aftermath: Aftermath, changed: set[Place]) -> None:
        self._of = aftermath
        self._watch = aftermath._watch
        self._copies = aftermath._copies
        self._pending = sorted(changed)
        self._seen = set(changed)
        self._put_away: list[Place] = []
        self._restored: list[Place] = []
        self._remaining: list[Place] = []
        self._later: list[Place] = []

    def judge(self) -> Left:
        for place in self._pending:  # grows while it is read
            if any(above in self._put_away for above in _upwards(place)):
                continue
            try:
                self._judge_one(place)
            except OSError:
                self._remaining += [place] if self._of.protected_part(place) is not None else []
        found = (self._put_away, self._restored, self._remaining, self._later)
        put_away, restored, remaining, later = (tuple(map(self._watch.full, places)) for places in found)
        return Left(put_away, restored, remaining, later, self._watch.complete)

    def _judge_one(self, place: Place) -> None:
        part = self._of.protected_part(place)
        if part is not None or repositories.may_matter(place.path):
            if not self._of.is_prevented(place):
                self._judge_what_matters(place, part)
        elif (status := self._glance(place)) is None:
            self._add_to_pending(each for each in self._copies if place in _upwards(each))
        elif stat.S_ISREG(status.st_mode):
            self._report(place, status.st_mode)

    def _glance(self, place: Place) -> os.stat_result | None:
        """What is there, None for nothing. By its path: nothing is done about it but naming it."""
        try:
            return os.lstat(self._watch.full(place))
        except OSError:
            return None

    def _judge_what_matters(self, place: Place, part: Place | None) -> None:
        try:
            folder = self._watch.force_open(place.folder)
        except (FileNotFoundError, NotADirectoryError):
            folder = self._folder_again(place)
            if folder < 0:
                self._copies.pop(place, None)
                return
        try:
            status = status_of(folder, place.name)
            if status is None:
                self._add_to_pending(each for each in self._copies if place in _upwards(each))
            self._judge_protected(folder, place, part, status)
            if part is None and status is not None and stat.S_ISREG(status.st_mode):
                self._report(place, status.st_mode)
        finally:
            os.close(folder)

    def _folder_again(self, place: Place) -> int:
        """The folder of a protected file, made again if it was removed as a whole; -1 if it went with what is above."""
        part = self._of.protected_part(place)
        if part is None and fold(place.folder.name) == "hooks":
            part = place.folder
        if place not in self._copies or part is None or part == place:
            return -1
        try:
            at = self._watch.force_open(part.folder)
        except OSError:
            return -1
        for name in place.folder.path[len(part.folder.path) :].strip("/").split("/"):
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=at)
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            finally:
                os.close(at)
            at = below
        return at

    def _report(self, place: Place, mode: int) -> None:
        gone = place in self._put_away or place in self._restored
        if (
            not gone
            and ".git" not in place.path.split("/")
            and len(self._later) < _REPORTED
            and is_executed_later(place.path, mode)
        ):
            self._later.append(place)

    def _judge_protected(self, folder: int, place: Place, part: Place | None, status: os.stat_result | None) -> None:
        known = self._copies.get(place)
        if status is None:
            if known is not None:
                self._restore(folder, place, known)
            return
        now = take_copy(folder, place.name)
        if part is None and (now is not None or stat.S_ISDIR(status.st_mode)):
            self._judge_git(folder, place, known, now)
        elif part is None:
            if repositories.obeyed_now(place.path, folder):
                self._put_away_one(folder, place, known)
        elif now is None:
            if known is not None or not stat.S_ISDIR(status.st_mode):  # a pipe: whoever opens it waits
                self._put_away_one(folder, place, known)
        elif not self._same(known, now):
            self._put_away_part(folder, place, part, known)
        else:
            self._copies[place] = now

    def _same(self, known: Copy | None, now: Copy) -> bool:
        if replace(now, content=None) in _put_back:
            return True
        if known is not None:
            return (known.mode, known.digest) == (now.mode, now.digest)
        return any(
            replace(each, content=now.content) == now for each in self._copies.values()
        )  # it moved with its folder

    def _put_away_part(self, folder: int, place: Place, part: Place, known: Copy | None) -> None:
        """The whole protected folder when all of it is new, otherwise one file."""
        before = any(
            part == each or each.path.startswith(part.path + "/") for each in self._copies if each.root == part.root
        )
        if part == place or before:
            self._put_away_one(folder, place, known)
            return
        above = self._watch.force_open(part.folder)
        try:
            self._put_away_one(above, part, None)
        finally:
            os.close(above)

    def _put_away_one(self, folder: int, place: Place, known: Copy | None) -> None:
        open_to_owner(folder)
        os.rename(place.name, free_name(folder, place.name), src_dir_fd=folder, dst_dir_fd=folder)
        self._put_away.append(place)
        if known is not None:
            self._restore(folder, place, known)

    def _restore(self, folder: int, place: Place, known: Copy) -> None:
        if known.content is None:
            return
        open_to_owner(folder)
        put_back(folder, place.name, known)
        if (now := take_copy(folder, place.name)) is not None and len(_put_back) < _COPIES:
            _put_back.add(replace(now, content=None))
        self._restored.append(place)
        self._watch.follow(place, folder)

    # --- git --------------------------------------------------------------------------------------------------------

    def _judge_git(self, folder: int, place: Place, known: Copy | None, now: Copy | None) -> None:
        """One place that may be of a repository: every file of it that git obeys is looked at, or only this one."""
        if now is not None and known is not None and self._same(known, now):
            return
        verdict = repositories.judge(
            self._watch.full(place), folder, place.name, None if now is None else (now.mode, now.content),
            None if known is None else known.content,
        )  # fmt: skip
        for path in verdict.look_at:
            self._follow_up(path)
        outside = bool(verdict.leads_to) and self._watch.locate(verdict.leads_to) is None
        if (verdict.harmless and not outside) or (now is not None and self._same(known, now)):
            if now is not None and repositories.obeyed_now(place.path, folder):
                self._copies[place] = now
        else:
            self._put_away_one(folder, place, known)

    def _follow_up(self, path: str) -> None:
        """Look at a place that another one leads to, and watch its folder from now on."""
        place = self._watch.locate(path)
        if place is None or place in self._seen:
            return
        inside = (folder.below(name) for folder, names in self._watch.search(place) for name in names)
        self._add_to_pending((place, *inside))

    def _add_to_pending(self, places: Iterable[Place]) -> None:
        fresh = [place for place in places if place not in self._seen]
        self._seen.update(fresh)
        self._pending += fresh


def _upwards(place: Place) -> Iterator[Place]:
    """`place` and every folder above it, up to the root."""
    yield place
    while place.path:
        place = place.folder
        yield place
