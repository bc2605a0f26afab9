"""One file beyond the plan: what an approved call may write, and nothing else of its folder.

The folder may be the home itself, which is never a write root. So the confined worker gets an empty file beside the
target as its only write root; when it is done, the monitor moves that file into place, through a descriptor of the
folder that was reached without following links. The monitor reads no content and the worker sees no folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Final

from localgpt.errors import ExitStatus, LocalGptError

_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BITS: Final = 0o777


class PlaceRefused(LocalGptError):  # noqa: N818 -- named after the condition
    """The file cannot be made there: a link or something else is on the way, or the folder may not be changed."""

    code = "place.refused"
    exit_status = ExitStatus.REFUSED


class OneFile:
    """A context manager: `temporary` is the path to write to; `keep` moves it to `target`; otherwise nothing stays."""

    def __init__(self, target: str) -> None:
        """Prepare beside `target`, absolute and free of links; folders on the way that are missing are made.

        Raises:
            PlaceRefused: it cannot be.
        """
        self.target = target
        self._name = Path(target).name
        self._made: list[tuple[int, str]] = []
        self._folder = -1
        temporary = f".localgpt-{os.urandom(8).hex()}.tmp"
        try:
            self._folder = self._walk(Path(target).parent)
            self._before = self._status()
            if self._before is not None and not stat.S_ISREG(self._before.st_mode):
                raise IsADirectoryError(errno.EISDIR, "there is something else than a file")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            mode = 0o666 if self._before is None else self._before.st_mode & _BITS
            os.close(os.open(temporary, flags, mode, dir_fd=self._folder))
        except OSError as error:
            self._give_up()
            raise PlaceRefused(
                f"{target} cannot be written: {error.strerror}", cure="name a file in a folder that you may change"
            ) from error
        self._temporary: str | None = temporary
        self.temporary = str(Path(target).with_name(temporary))

    def __enter__(self) -> OneFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._folder)
        self._give_up()

    @property
    def existed(self) -> bool:
        """Whether there was a file at the target when this was made."""
        return self._before is not None

    def keep(self) -> None:
        """Move the file into place, in one step, with the mode of what was there.

        Raises:
            PlaceRefused: the target is not the file any more that it was, or appeared meanwhile.
        """
        if self._temporary is None:
            return
        try:
            self._move(self._temporary)
        except OSError as error:
            raise PlaceRefused(f"{self.target}: {error.strerror}", cure="look what is there, and try again") from error
        self._temporary = None
        self._made.clear()
        with contextlib.suppress(OSError):  # a folder that may be written but not listed
            folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _walk(self, folder: Path) -> int:
        """Open `folder` part by part, no link followed, and make what is missing."""
        at = os.open("/", _FOLDER)
        for part in folder.parts[1:]:
            try:
                try:
                    below = os.open(part, _FOLDER, dir_fd=at)
                except FileNotFoundError:
                    os.mkdir(part, dir_fd=at)
                    self._made.append((os.dup(at), part))
                    below = os.open(part, _FOLDER, dir_fd=at)
            finally:
                os.close(at)
            at = below
        return at

    def _status(self) -> os.stat_result | None:
        try:
            return os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _move(self, temporary: str) -> None:
        now = self._status()
        if self._before is None:
            if now is not None:
                raise FileExistsError(errno.EEXIST, "a file appeared there meanwhile")
            os.rename(temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            return
        if now is None or not os.path.samestat(now, self._before):
            raise FileExistsError(errno.EEXIST, "the file was replaced meanwhile")
        self._set_mode(temporary, self._before.st_mode & _BITS)
        os.replace(temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _set_mode(self, name: str, mode: int) -> None:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        try:
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _give_up(self) -> None:
        """Close the folder, and remove what was made for nothing."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1
        while self._made:
            above, part = self._made.pop()
            with contextlib.suppress(OSError):
                os.rmdir(part, dir_fd=above)
            os.close(above)
