"""The log after a power cut: every byte of the last record, every sector of an unsynced record, every lag of the head.

`PowerCut` writes to real files and remembers what was durable at each moment. A crash state is the durable log plus
any subset of the sectors that were being written, beside any head that the disk may still hold.
"""

import itertools
import os
import random
from pathlib import Path

import pytest

from localgpt.audit import AuditLog, LogVerdict, read_entries, verify_log
from localgpt.audit.system import SystemDisk
from localgpt.crypto import DeviceKey
from tests.audit.conftest import LOG, SimClock

SECTOR = 512
KEY = DeviceKey(bytes(range(32)))


class PowerCut(SystemDisk):
    """Remembers, before each sync returns, what was durable and what was on its way; and every head ever written."""

    def __init__(self, directory: Path) -> None:
        self.log, self.head_path = directory / LOG, directory / "head"
        self.durable = b""
        self.heads: list[bytes] = []
        self.moments: list[tuple[bytes, bytes, int]] = []  #: durable, in flight, acknowledged entries
        self.acknowledged = 0

    def sync(self, descriptor: int) -> None:
        now = self.log.read_bytes()
        self.moments.append((self.durable, now[len(self.durable) :], self.acknowledged))
        super().sync(descriptor)
        self.durable = now

    def write_head(self, descriptor: int, data: bytes, offset: int) -> None:
        if not self.heads:
            self.heads.append(os.pread(descriptor, 1024, 0))
        super().write_head(descriptor, data, offset)
        self.heads.append(os.pread(descriptor, 1024, 0))
        self.acknowledged += 1


class QuickDisk(SystemDisk):
    """After the restart durability is not the question; a real sync would take minutes here."""

    def sync(self, descriptor: int) -> None:
        pass


def torn_variants(durable: bytes, flight: bytes, dice: random.Random, count: int) -> list[bytes]:
    """Sectors independently kept, zeroed or absent at the end: any length, any subset."""
    variants = []
    for _ in range(count):
        after = bytearray(durable + flight)
        size = dice.randrange(len(durable), len(after) + 1)
        first = len(durable) // SECTOR
        for sector in range(first, len(after) // SECTOR + 1):
            if dice.random() < 0.5:
                low, high = max(sector * SECTOR, len(durable)), min((sector + 1) * SECTOR, len(after))
                after[low:high] = bytes(max(0, high - low))
        variants.append(bytes(after[:size]))
    return variants


def run_and_record(directory: Path) -> PowerCut:
    disk = PowerCut(directory)
    log = AuditLog.open(directory, key=KEY, clock=SimClock(), disk=disk)
    for number in range(12):
        log.append("file.change", path="/p/" + "x" * (number * 97), action="write")
    log._files.close()
    return disk


def restart(directory: Path, content: bytes, head: bytes, acknowledged: int) -> None:
    """A machine comes back: nothing may be lost, nothing may look like an attack, and work goes on."""
    (directory / LOG).write_bytes(content)
    (directory / "head").write_bytes(head)
    before = verify_log(directory, KEY)
    assert before.verdict in {LogVerdict.INTACT, LogVerdict.EMPTY}, before
    assert before.entries >= acknowledged
    kept = [entry.leaf for entry in read_entries(directory)]
    log = AuditLog.open(directory, key=KEY, clock=SimClock(), disk=QuickDisk())
    log.append("turn.start", turn="again")
    log.close()
    after = verify_log(directory, KEY)
    assert after.verdict is LogVerdict.INTACT
    assert after.findings == ()
    entries = list(read_entries(directory))
    assert [entry.leaf for entry in entries[: len(kept)]] == kept
    torn = len(content) - before.size_bytes
    recovered = [entry for entry in entries[len(kept) :] if entry.kind == "log.recovered"]
    assert len(recovered) == (1 if torn else 0)
    if torn:
        assert recovered[0].fields["cut_bytes"] == torn
        quarantined = list((directory / "quarantine").glob(f"{before.size_bytes:020}-*.bin"))
        assert any(path.read_bytes() == content[before.size_bytes :] for path in quarantined)


def test_power_loss_loses_nothing_acknowledged_and_raises_no_alarm(tmp_path):
    """Every moment, random sector losses, every lag of the head: more than 700 states."""
    directory = tmp_path / "audit"
    disk = run_and_record(directory)
    dice = random.Random(20261121)
    states = 0
    for durable, flight, acknowledged in disk.moments:
        for content in torn_variants(durable, flight, dice, 12):
            for head in {disk.heads[0], disk.heads[max(0, acknowledged - 1)], disk.heads[acknowledged]}:
                restart(directory, content, head, acknowledged)
                states += 1
    assert states >= 300


def test_a_torn_head_slot_is_survived(tmp_path):
    """The cut comes while a slot is written: one sector of the head is garbage, the other is older and authentic.

    The slot is written only once its entry is durable, and the rest of the head may be older still.
    """
    directory = tmp_path / "audit"
    disk = run_and_record(directory)
    for acknowledged, head in enumerate(disk.heads[1:-1], start=1):
        durable, flight, _ = disk.moments[acknowledged]
        slot = (acknowledged % 2) * SECTOR
        for garbage in (bytes(SECTOR), b"\xff" * SECTOR, os.urandom(SECTOR)):
            torn = head[:slot] + garbage + head[slot + SECTOR :]
            restart(directory, durable + flight, torn, acknowledged)
            older = disk.heads[max(0, acknowledged - 2)]  # same slots, two entries behind
            torn = older[:slot] + garbage + older[slot + SECTOR :]
            restart(directory, durable + flight, torn, acknowledged)


def test_every_byte_of_the_last_record(tmp_path):
    """An append cut after any number of bytes is set aside, never mistaken for tampering, never lost in silence."""
    directory = tmp_path / "audit"
    disk = run_and_record(directory)
    durable, flight, acknowledged = disk.moments[3]
    for size in range(len(flight) + 1):
        restart(directory, durable + flight[:size], disk.heads[acknowledged], acknowledged)


@pytest.mark.parametrize("stage", ["nothing", "empty head directory", "head only", "head and empty log"])
def test_a_cut_while_the_log_is_created(tmp_path, stage):
    directory = tmp_path / "audit"
    first = AuditLog.open(directory, key=KEY, clock=SimClock())
    first._files.close()
    if stage == "nothing":
        for name in (LOG, "head"):
            (directory / name).unlink()
    elif stage == "empty head directory":
        (directory / "head").rename(directory / ".head.new")
        (directory / LOG).unlink()
    else:
        fresh = tmp_path / "fresh"
        disk = PowerCut(fresh)
        AuditLog.open(fresh, key=KEY, clock=SimClock(), disk=disk)._files.close()
        (directory / "head").write_bytes(disk.heads[0])
        if stage == "head only":
            (directory / LOG).unlink()
        else:
            (directory / LOG).write_bytes(b"")
    assert verify_log(directory, KEY).verdict in {LogVerdict.EMPTY, LogVerdict.INTACT}
    log = AuditLog.open(directory, key=KEY, clock=SimClock())
    log.close()
    assert verify_log(directory, KEY).verdict is LogVerdict.INTACT


def test_a_second_crash_during_recovery(tmp_path):
    """Power fails again after the tail was cut and before `log.recovered` is durable."""
    directory = tmp_path / "audit"
    disk = run_and_record(directory)
    durable, flight, acknowledged = disk.moments[5]
    for size, again in itertools.product((1, len(flight) - 1), range(0, 200, 7)):
        (directory / LOG).write_bytes(durable + flight[:size])
        (directory / "head").write_bytes(disk.heads[acknowledged])
        recording = PowerCut(directory)
        recording.durable = durable
        AuditLog.open(directory, key=KEY, clock=SimClock(), disk=recording)._files.close()
        _, in_flight, _ = recording.moments[0]
        restart(directory, durable + in_flight[:again], disk.heads[acknowledged], acknowledged)
