"""The log after a power cut at every call, in every mixture of what was on its way; and after a fault at every call.

Nothing acknowledged may be lost, nothing may look like an attack, and work goes on. The states are random with a fixed
seed; `HYPOTHESIS_PROFILE=nightly` asks for all of the more than 5,000.
"""

import errno
import itertools
import os
import random
from pathlib import Path
from typing import Any

import pytest

from localgpt.audit import AuditLog, LogVerdict, read_entries, verify_log
from localgpt.audit.disk import SystemDisk
from localgpt.audit.epoch import Limits
from localgpt.audit.grammar import spell
from localgpt.audit.writer import Writer
from localgpt.crypto import DeviceKey
from localgpt.errors import AuditError
from tests.audit.conftest import LOG, SimClock, stop
from tests.crash.simfs import Cut, Op, Recorder, lay_out

KEY = DeviceKey(bytes(range(32)))
SEED = 20261121
SMALL = Limits(epoch_entries=6, segment_bytes=3000)
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


class QuickDisk(SystemDisk):
    """After the restart durability is not the question; a real sync would take minutes here."""

    def sync(self, descriptor):
        pass

    def sync_directory(self, path):
        pass


def turns(number: int, count: int = 1):
    return [spell("turn.start", "s", {"turn": f"t{number}-{i}-" + "x" * (number * 37 % 120)}) for i in range(count)]


def acknowledge(disk: Recorder, last: int) -> None:
    disk.note(Op("acknowledged", offset=last))


def work(directory: Path, disk: Recorder) -> int:
    """Two processes one after the other: entries alone and together, several epochs, a second and third segment.

    Returns the number of the last entry that was acknowledged, -1 when none was.
    """
    last = -1
    for process in range(2):
        writer = Writer(directory, KEY, SimClock(), disk, limits=SMALL)
        try:
            writer.open([spell("log.open", "", {"program": "p", "pid": process})])
            for number in range(7):
                count = 1 + 3 * (number % 3 == 2)
                last = writer.commit(turns(number, count)) + count - 1
                acknowledge(disk, last)
        except AuditError:
            break
        finally:
            writer.close()
    return last


def restart(directory: Path, last: int) -> None:
    """A machine comes back."""
    before = verify_log(directory, KEY)
    assert before.verdict in {LogVerdict.INTACT, LogVerdict.EMPTY}, before
    kept = [entry.leaf for entry in read_entries(directory)]
    assert len(kept) > last, "an acknowledged entry is gone"
    writer = Writer(directory, KEY, SimClock(), QuickDisk(), limits=SMALL)
    writer.open([spell("log.open", "", {"program": "p", "pid": 9})])
    writer.commit(turns(3))
    writer.close()
    after = verify_log(directory, KEY)
    assert after.verdict is LogVerdict.INTACT, after
    assert after.findings == (), after
    entries = list(read_entries(directory))
    assert [entry.leaf for entry in entries[: len(kept)]] == kept
    recovered = [entry for entry in entries[len(kept) :] if entry.kind == "log.recovered"]
    for entry in recovered:
        digest = str(entry.fields["cut_sha256"])
        (path,) = (directory / "quarantine").glob(f"*-{digest[:16]}.bin")
        assert path.stat().st_size == entry.fields["cut_bytes"]


def recorded(directory: Path) -> tuple[list[Op], int]:
    disk = Recorder()
    last = work(directory, disk)
    return disk.ops, last


def test_every_call_may_be_the_last_one(tmp_path):
    """Each boundary between two calls, with nothing, everything and mixtures of what was on its way."""
    root = tmp_path / "audit"
    ops, last = recorded(root)
    assert sum(op.what == "write" and op.path is None for op in ops) > 60
    assert last > 25
    dice = random.Random(SEED)
    per_point = -(-5200 // len(ops)) - 2 if NIGHTLY else 4
    states = 0
    for upto in range(len(ops) + 1):
        acknowledged = max((op.offset for op in ops[:upto] if op.what == "acknowledged"), default=-1)
        for number, state in enumerate(Cut(ops, upto).states(dice, per_point)):
            lay_out(tmp_path / "state", state, root)
            try:
                restart(tmp_path / "state", acknowledged)
            except BaseException as error:
                raise AssertionError(f"seed {SEED}, operation {upto} of {len(ops)}, state {number}: {error}") from error
            states += 1
    assert states >= (5000 if NIGHTLY else 1000)


def test_every_byte_of_the_last_record(tmp_path):
    """A commit of four entries cut after any number of bytes is set aside, never mistaken for tampering."""
    root = tmp_path / "audit"
    ops, _ = recorded(root)
    at = next(n for n, op in enumerate(ops) if op.what == "write" and op.data.count(b"\n") == 4)
    acknowledged = max(op.offset for op in ops[:at] if op.what == "acknowledged")
    whole = ops[at]
    (before,) = itertools.islice(Cut(ops, at).states(random.Random(SEED), 0), 1, 2)
    (after,) = itertools.islice(Cut(ops, at + 1).states(random.Random(SEED), 0), 1, 2)
    (log,) = [path for path in after if after[path] != before[path]]
    sizes = range(len(whole.data) + 1) if NIGHTLY else range(0, len(whole.data) + 1, 3)
    for size in sizes:
        lay_out(tmp_path / "state", {**before, log: before[log] + whole.data[:size]}, root)
        restart(tmp_path / "state", acknowledged)


def test_a_second_power_cut_during_recovery(tmp_path):
    """Every call of a recovery that cuts a torn commit may be the last one, too."""
    root = tmp_path / "audit"
    ops, _ = recorded(root)
    at = next(n for n, op in enumerate(ops) if op.what == "write" and op.data.count(b"\n") == 4)
    acknowledged = max(op.offset for op in ops[:at] if op.what == "acknowledged")
    (before,) = itertools.islice(Cut(ops, at).states(random.Random(SEED), 0), 1, 2)
    (after,) = itertools.islice(Cut(ops, at + 1).states(random.Random(SEED), 0), 1, 2)
    (log,) = [path for path in after if after[path] != before[path]]
    torn = {**before, log: before[log] + ops[at].data[:150]}
    first = tmp_path / "first"
    lay_out(first, torn, root)
    disk = Recorder()
    for number, path in enumerate(sorted(first.rglob("*"))):
        if path.is_file():  # what is there is durable
            disk._inodes[path.stat().st_ino] = number
            disk.ops += [Op("create", number, path), Op("write", number, data=path.read_bytes()), Op("sync", number)]
    disk.ops += [Op("names", path=first)]
    there = len(disk.ops)
    writer = Writer(first, KEY, SimClock(), disk, limits=SMALL)
    writer.open()
    writer.close()
    dice = random.Random(SEED)
    for upto in range(there, len(disk.ops) + 1):
        for state in Cut(disk.ops, upto).states(dice, 20 if NIGHTLY else 3):
            lay_out(tmp_path / "state", state, first)
            restart(tmp_path / "state", acknowledged)


FAULTS: dict[str, dict[str, Any]] = {
    "EIO": {"error": errno.EIO},
    "EIO from then on": {"error": errno.EIO, "persist": True},
    "ENOSPC": {"error": errno.ENOSPC},
    "ENOSPC from then on": {"error": errno.ENOSPC, "persist": True},
    "EINTR": {"error": errno.EINTR},
    "EROFS from then on": {"error": errno.EROFS, "persist": True},
    "a short write": {"short": 7},
    "nothing written": {"short": 0},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_call(tmp_path, fault):
    """The n-th call fails, for every n until none does: what was acknowledged is there, and the next start goes on."""
    step = 1 if NIGHTLY else 3
    for number in itertools.count(0, step):
        directory = tmp_path / f"audit{number}"
        disk = Recorder(fail_at=number, **FAULTS[fault])
        try:
            last = work(directory, disk)
        except OSError as error:
            raise AssertionError(f"call {number}: {error} was not named") from error
        if disk.calls <= number:
            assert last > 25
            break
        restart(directory, last)
    assert number > 60


@pytest.mark.parametrize("stage", ["nothing", "head", "head and epoch", "empty log"])
def test_a_cut_while_the_log_is_created(tmp_path, stage):
    directory = tmp_path / "audit"
    stop(AuditLog.open(directory, key=KEY, clock=SimClock()))
    fresh = tmp_path / "fresh"
    disk = Recorder()
    Writer(fresh, KEY, SimClock(), disk).open()
    ops = [op for op in disk.ops if op.what != "sync"]
    head = next(op.data for op in ops if op.what == "write")
    if stage == "nothing":
        for name in ("head", "epoch", LOG):
            (directory / name).unlink()
    else:
        (directory / "head").write_bytes(head)
        if stage == "head":
            (directory / "epoch").unlink()
        if stage == "empty log":
            (directory / LOG).write_bytes(b"")
        else:
            (directory / LOG).unlink()
    assert verify_log(directory, KEY).verdict in {LogVerdict.EMPTY, LogVerdict.INTACT}
    AuditLog.open(directory, key=KEY, clock=SimClock()).close()
    assert verify_log(directory, KEY).verdict is LogVerdict.INTACT
