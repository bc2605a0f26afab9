"""Closing an epoch, in an order that can be cut anywhere and taken up again.

1. The next epoch's secret key is made durable in `epoch.next`.
2. The entry `epoch.next` announces its public key; it is the closing epoch's last leaf.
3. The checkpoint over everything up to there is signed by the identity and by the closing epoch's key.
4. `epoch` is replaced, and the old key's bytes are overwritten; `epoch.next` is removed.

After a cut before 2 is durable the next key is thrown away; after it, 3 and 4 are done by whoever comes next. Ed25519
signs the same text the same way, so a checkpoint that is signed again is the same one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from localgpt.audit.checkpoints import Checkpoint, last_checkpoint, new_seed, public_key, seal
from localgpt.audit.disk import Clock, replace_file, write_file, write_whole
from localgpt.audit.epoch import MAX_EPOCH_BYTES, Epoch, erase
from localgpt.audit.errors import EpochSpoiled
from localgpt.audit.files import WriterFiles, read_bytes
from localgpt.audit.tip import Tip
from localgpt.crypto import DeviceKey


@dataclass(frozen=True, slots=True)
class Sealer:
    """Signs and replaces keys. All of it happens under the lock."""

    files: WriterFiles
    key: DeviceKey
    clock: Clock

    def prepare(self, tip: Tip) -> str:
        """Step 1: make the next key durable; returns its public key in hex.

        Raises:
            OSError
        """
        seed = new_seed()
        following = Epoch(
            tip.epoch.origin,
            tip.epoch.number + 1,
            seed,
            tip.place,
            tuple(tip.frontier.hashes),
            self.clock.boot(),
            self.clock.mono_us(),
        )
        write_file(self.files.disk, self.files.next_epoch_path, following.encode())
        self.files.disk.sync_directory(self.files.directory)
        return public_key(seed).hex()

    def resume(self, tip: Tip) -> bytes | None:
        """Finish or forget what was cut off; gives the checkpoint when one had to be signed.

        Raises:
            EpochSpoiled: the log announces a key that is not here.
            OSError
        """
        data = read_bytes(self.files.next_epoch_path, MAX_EPOCH_BYTES)
        if tip.next_key:
            return self.finish(tip)
        if data is not None:
            self.files.disk.unlink(self.files.next_epoch_path)
        return None

    def finish(self, tip: Tip) -> bytes:
        """Steps 3 and 4. `tip` then stands at the beginning of the new epoch.

        Raises:
            EpochSpoiled: `epoch.next` does not hold the key that the log announces.
            OSError
        """
        data = read_bytes(self.files.next_epoch_path, MAX_EPOCH_BYTES)
        seed = b"" if data is None else Epoch.decode(data).seed
        if not seed or public_key(seed).hex() != tip.next_key:
            raise EpochSpoiled("the key of the epoch that the log announces is gone")
        closing = tip.epoch
        checkpoint = Checkpoint(closing.origin, tip.size, tip.frontier.root())
        note = seal(checkpoint, self.key, closing.number, closing.seed)
        self._keep(note, tip.size)
        following = Epoch(
            closing.origin,
            closing.number + 1,
            seed,
            tip.place,
            tuple(tip.frontier.hashes),
            self.clock.boot(),
            self.clock.mono_us(),
        )
        self._replace(following)
        tip.epoch, tip.next_key = following, ""
        return note

    def _keep(self, note: bytes, size: int) -> None:
        """Append the note, after cutting one that was left half written."""
        files, disk = self.files, self.files.disk
        last = last_checkpoint(files.checkpoints_path)
        if last is not None and last.checkpoint.size == size:
            return
        is_first = not files.checkpoints_path.exists()
        descriptor = disk.open(files.checkpoints_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            whole = 0 if last is None else last.end
            if os.fstat(descriptor).st_size > whole:
                disk.truncate(descriptor, whole)
            write_whole(disk, descriptor, note)
            disk.sync(descriptor)
        finally:
            os.close(descriptor)
        if is_first:
            disk.sync_directory(files.directory)

    def _replace(self, following: Epoch) -> None:
        files, disk = self.files, self.files.disk
        old = disk.open(files.epoch_path, os.O_RDWR)
        try:
            replace_file(disk, files.epoch_path, following.encode())
            erase(disk, old)
        finally:
            os.close(old)
        descriptor = disk.open(files.next_epoch_path, os.O_RDWR)
        try:
            erase(disk, descriptor)
        finally:
            os.close(descriptor)
        disk.unlink(files.next_epoch_path)
