"""A disk that remembers every call, and the states in which a power cut at any of them can leave the files.

`Recorder` does everything for real, in a real directory, and keeps a list of operations. `Cut` replays a prefix of it
into a model of what is durable and what is on its way, and gives the directories that a restart may find: names and
sizes may be older, each sector of 512 bytes that was being written is there, is zero, or is as it was.

Source: ALICE (OSDI 2014) for the enumeration by operations; SQLite's test VFS for the faults.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from localgpt.audit.disk import SystemDisk

SECTOR = 512


@dataclass(frozen=True)
class Op:
    """One call. `inode` names a file whatever its name is now."""

    what: str
    inode: int = -1
    path: Path | None = None
    data: bytes = b""
    offset: int = 0
    other: Path | None = None


class Recorder(SystemDisk):
    """Records. With `fail_at` the n-th call fails once (or from then on: `persist`), as `error` or as a short write."""

    def __init__(
        self, *, fail_at: int = -1, error: int = errno.EIO, short: int | None = None, persist: bool = False
    ) -> None:
        self.ops: list[Op] = []
        self.fail_at, self.error, self.short, self.persist = fail_at, error, short, persist
        self.calls = 0
        self._inode_of: dict[int, int] = {}
        self._inodes: dict[int, int] = {}  #: of the real file system

    def note(self, op: Op) -> None:
        self.ops.append(op)

    def _count(self, *, writes: bool = False) -> bool:
        """Whether this call is to be cut short; raises when it is to fail."""
        self.calls += 1
        hit = self.calls - 1 == self.fail_at or (self.persist and 0 <= self.fail_at < self.calls)
        if not hit:
            return False
        if self.short is not None:
            return writes
        raise OSError(self.error, os.strerror(self.error))

    def open(self, path, flags):
        self._count()
        fresh = not path.exists()
        descriptor = super().open(path, flags)
        real = os.fstat(descriptor).st_ino
        if fresh or real not in self._inodes:
            self._inodes[real] = len(self._inodes) if not fresh else max(self._inodes.values(), default=-1) + 1
        inode = self._inode_of[descriptor] = self._inodes[real]
        if fresh:
            self.note(Op("create", inode, path))
        elif flags & os.O_TRUNC:
            self.note(Op("truncate", inode, offset=0))
        return descriptor

    def write(self, descriptor, data):
        cut = self._count(writes=True)
        end = os.fstat(descriptor).st_size
        written = super().write(descriptor, data[: self.short] if cut else data)
        self.note(Op("write", self._inode_of[descriptor], data=data[:written], offset=end))
        return written

    def write_at(self, descriptor, data, offset):
        cut = self._count(writes=True)
        written = super().write_at(descriptor, data[: self.short] if cut else data, offset)
        self.note(Op("write", self._inode_of[descriptor], data=data[:written], offset=offset))
        return written

    def truncate(self, descriptor, size):
        self._count()
        super().truncate(descriptor, size)
        self.note(Op("truncate", self._inode_of[descriptor], offset=size))

    def sync(self, descriptor):
        self._count()
        self.note(Op("sync", self._inode_of[descriptor]))

    def sync_directory(self, path):
        self._count()
        self.note(Op("names", path=path))

    def rename(self, old, new):
        self._count()
        super().rename(old, new)
        self.note(Op("rename", path=old, other=new))

    def unlink(self, path):
        self._count()
        super().unlink(path)
        self.note(Op("unlink", path=path))


@dataclass
class _File:
    """Durable content, and the operations since then."""

    durable: bytes = b""
    pending: list[Op] = field(default_factory=list)


def apply(content: bytes, op: Op) -> bytes:
    """One whole operation."""
    if op.what == "truncate":
        return content[: op.offset].ljust(op.offset, b"\x00")
    return content[: op.offset].ljust(op.offset, b"\x00") + op.data + content[op.offset + len(op.data) :]


class Cut:
    """The disk after the first `upto` operations: what is durable, and what may be."""

    def __init__(self, ops: list[Op], upto: int) -> None:
        self.files: dict[int, _File] = {}
        self.names: dict[Path, int] = {}
        self.pending_names: list[Op] = []
        for op in ops[:upto]:
            self._take(op)

    def _take(self, op: Op) -> None:
        if op.what in {"write", "truncate"}:
            self.files[op.inode].pending.append(op)
        elif op.what == "sync":
            file = self.files[op.inode]
            for each in file.pending:
                file.durable = apply(file.durable, each)
            file.pending = []
        elif op.what == "names":
            folder = op.path
            for each in [each for each in self.pending_names if each.path and each.path.parent == folder]:
                self._rename(self.names, each)
            self.pending_names = [e for e in self.pending_names if not (e.path and e.path.parent == folder)]
        elif op.what != "acknowledged":
            if op.what == "create":
                self.files[op.inode] = _File()
            self.pending_names.append(op)

    @staticmethod
    def _rename(names: dict[Path, int], op: Op) -> None:
        assert op.path is not None
        if op.what == "create":
            names[op.path] = op.inode
        elif op.what == "unlink":
            names.pop(op.path, None)
        elif op.path in names:
            assert op.other is not None
            names[op.other] = names.pop(op.path)

    def states(self, dice: random.Random, count: int) -> Iterator[dict[Path, bytes]]:
        """Nothing of what was on its way, all of it, and `count` mixtures."""
        yield self._state(dice, names=0, mode="none")
        yield self._state(dice, names=len(self.pending_names), mode="all")
        for _ in range(count):
            yield self._state(dice, names=dice.randint(0, len(self.pending_names)), mode="mixed")

    def _state(self, dice: random.Random, *, names: int, mode: str) -> dict[Path, bytes]:
        found = dict(self.names)
        for op in self.pending_names[:names]:
            self._rename(found, op)
        return {path: self._content(self.files[inode], dice, mode) for path, inode in found.items()}

    @staticmethod
    def _content(file: _File, dice: random.Random, mode: str) -> bytes:
        if mode == "none" or not file.pending:
            return file.durable
        versions = [file.durable]
        for op in file.pending:
            versions.append(apply(versions[-1], op))
        if mode == "all":
            return versions[-1]
        if any(op.what == "truncate" for op in file.pending):
            return dice.choice(versions)
        longest = max(map(len, versions))
        size = dice.randint(len(file.durable), longest)
        sectors = []
        for at in range(0, size, SECTOR):
            sector = dice.choice(versions)[at : at + SECTOR]
            old = file.durable[at : at + SECTOR]
            sectors.append((sector if len(sector) >= len(old) else old).ljust(SECTOR, b"\x00"))
        return b"".join(sectors)[:size]


def lay_out(directory: Path, state: dict[Path, bytes], root: Path) -> None:
    """Make `directory` what a restart finds; `root` is where the operations were recorded."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    for path, content in state.items():
        place = directory / path.relative_to(root)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
