"""The verifier that was written from the specification alone agrees with the program, on good logs and on bad ones."""

import random
from pathlib import Path

import pytest

from localgpt.audit import LogVerdict, verify_log
from localgpt.audit.checkpoints import identity_of
from localgpt.audit.epoch import Limits
from localgpt.audit.grammar import spell
from localgpt.audit.writer import Writer
from localgpt.crypto import DeviceKey
from tests.audit.conftest import SimClock
from tests.crash.test_audit_power_loss import QuickDisk
from tests.vectors.audit.verifier import verify

KEY = DeviceKey(bytes(range(32)))
SEED = 20261128


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five closed epochs, an open one, and three segments."""
    directory: Path = tmp_path_factory.mktemp("log") / "audit"
    writer = Writer(directory, KEY, SimClock(), QuickDisk(), limits=Limits(epoch_entries=7, segment_bytes=2500))
    writer.open()
    for number in range(33):
        fields = {"path": f'/tmp/"é\\{number}\u202e', "action": "write", "after_bytes": number}
        writer.commit(
            [spell("file.change" if number % 3 else "turn.start", "s", fields if number % 3 else {"turn": "t"})]
        )
    writer.close()
    return directory


def copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        if path.name not in {"lock", "reserve"}:
            (target / path.name).write_bytes(path.read_bytes())
    return target


def files_of(log: Path) -> list[str]:
    """Those with something in them to change."""
    segments = [path.name for path in log.glob("*.log") if path.read_bytes().count(b"\n") > 1]
    return [*sorted(segments), "checkpoints"]


def test_a_good_log(log):
    identity = verify_log(log, KEY).identity
    assert verify(log, identity) == ("chained", verify_log(log, KEY).entries, None, "")
    other = str(identity_of(DeviceKey(b"x" * 32), identity.split("+")[0]))
    assert verify(log, other)[3] == "audit.identity-foreign"


def test_flipped_bytes(log, tmp_path):
    """Without the device key both see the same: nothing is taken for good by one and refused by the other."""
    dice = random.Random(SEED)
    files = files_of(log)
    place = copy(log, tmp_path / "copy")
    for number in range(150):
        path = place / dice.choice(files)
        good = path.read_bytes()
        at, flip = dice.randrange(len(good)), 1 << dice.randrange(8)
        path.write_bytes(good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :])
        ours, theirs = verify_log(place, None), verify(place)
        assert (ours.verdict.value == "tampered") == (theirs[0] == "tampered"), (SEED, number, path.name, at, flip)
        path.write_bytes(good)


def test_lines_and_notes_removed_swapped_and_doubled(log, tmp_path):
    dice = random.Random(SEED)
    place = copy(log, tmp_path / "copy")
    files = files_of(log)
    for number in range(90):
        path = place / dice.choice(files)
        good = path.read_bytes()
        lines = good.splitlines(keepends=True)
        at = dice.randrange(len(lines) - 1)
        changed = [
            lines[:at] + lines[at + 1 :],
            [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
            lines[: at + 1] + lines[at:],
        ][number % 3]
        path.write_bytes(b"".join(changed))
        ours, theirs = verify_log(place, None), verify(place)
        assert (ours.verdict.value == "tampered") == (theirs[0] == "tampered"), (SEED, number, path.name, at)
        if ours.verdict is LogVerdict.TAMPERED and path.suffix == ".log":
            assert ours.first_bad == theirs[2], (SEED, number, path.name, at, ours.findings, theirs)
        path.write_bytes(good)
