"""Pins with the real parts: a file, a service of another user, the system's own journal daemon."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from localgpt.audit import Completeness, LogPoisoned, verify_log
from localgpt.audit.checkpoints import Checkpoint, seal
from localgpt.audit.epoch import Limits
from localgpt.audit.errors import PinUnreachable
from localgpt.audit.grammar import spell
from localgpt.audit.machine_pins import default_pins, read_pins
from localgpt.audit.pin_places import FilePin, journal_record, read_file_pin
from localgpt.audit.pin_service import Held, PinService, ServicePin, extended, read_service_pin
from localgpt.audit.pins import PinTier
from localgpt.audit.report import Freshness
from localgpt.audit.writer import Writer
from localgpt.crypto import DeviceKey
from tests.audit.conftest import SimClock
from tests.crash.test_audit_power_loss import QuickDisk

JOURNALD = Path("/usr/lib/systemd/systemd-journald")


def turns(writer: Writer, count: int) -> None:
    for number in range(count):
        writer.commit([spell("turn.start", "s", {"turn": f"t{number}"})])


def opened(directory: Path, key: DeviceKey, pins) -> Writer:
    writer = Writer(directory, key, SimClock(), QuickDisk(), pins=pins, limits=Limits(epoch_entries=5))
    writer.open([spell("log.open", "", {"program": "p", "pid": 1})])
    return writer


@pytest.fixture
def service(tmp_path):
    """A pin service of this user."""
    (tmp_path / "state").mkdir()
    made = PinService(tmp_path / "socket", tmp_path / "state")
    threading.Thread(target=made.serve, daemon=True).start()
    yield tmp_path / "socket"
    made.close()


def test_a_file_holds_the_last_checkpoint(directory, key, tmp_path):
    pin = tmp_path / "pin"
    writer = opened(directory, key, FilePin(pin))
    assert read_file_pin(pin, tmp_path, key).problem
    turns(writer, 9)
    writer.close()
    reading = read_file_pin(pin, directory, key)
    assert [each.size for each in reading.pinned] == [10]
    report = verify_log(directory, key, pins=(reading,))
    assert (report.completeness, report.freshness) == (Completeness.COMPLETE, Freshness.NONE)
    other = DeviceKey(b"x" * 32)
    pin.write_bytes(seal(Checkpoint(writer.origin, 99, b"r" * 32), other, 0, b"s" * 32))
    assert read_file_pin(pin, directory, key).forged == 1


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system to put the pin on")
def test_a_file_on_another_device(directory, key, tmp_path):
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("everything is on one device")
    pin = Path("/dev/shm") / f"localgpt-pin-{os.getpid()}"
    try:
        writer = opened(directory, key, FilePin(pin))
        turns(writer, 9)
        writer.close()
        reading = read_file_pin(pin, directory, key)
        assert reading.tier is PinTier.DEVICE
        assert verify_log(directory, key, pins=(reading,)).pinned == 10
    finally:
        pin.unlink(missing_ok=True)


def test_every_entry_at_the_service(directory, key, service):
    writer = opened(directory, key, ServicePin(directory, service))
    turns(writer, 9)
    writer.close()
    reading = read_service_pin(directory, service)
    report = verify_log(directory, key, pins=(reading,))
    assert report.completeness is Completeness.COMPLETE
    assert reading.pinned[0].size == report.entries
    assert reading.tier is (PinTier.SERVICE if os.geteuid() == 0 else PinTier.FILE), (
        "one's own service is no other user"
    )


def test_each_epoch_at_the_service_and_what_it_missed_is_sent_later(directory, key, service):
    opened(directory, key, default_pins(directory, {})).close()
    writer = opened(directory, key, ServicePin(directory, service, each=False))
    turns(writer, 9)
    writer.close()
    size = read_service_pin(directory, service).pinned[0].size
    assert size % 5 == 0
    assert (
        verify_log(directory, key, pins=(read_service_pin(directory, service),)).completeness is Completeness.COMPLETE
    )


def test_without_the_service_nothing_is_acknowledged(directory, key, tmp_path, service):
    with pytest.raises(PinUnreachable):
        opened(directory, key, ServicePin(directory, tmp_path / "nobody"))
    writer = opened(directory, key, ServicePin(directory, service))
    turns(writer, 2)
    writer._pins._path = tmp_path / "nobody"  # type: ignore[attr-defined]
    writer._pins._stream = None  # type: ignore[attr-defined]
    with pytest.raises(PinUnreachable):
        turns(writer, 1)
    with pytest.raises(LogPoisoned):
        turns(writer, 1)
    writer.close()


def test_a_named_service_that_is_gone_is_missed(directory, key, tmp_path):
    environ = {"LOCALGPT_PIN_SOCKET": str(tmp_path / "nobody")}
    opened(directory, key, default_pins(directory, {})).close()
    (reading,) = [each for each in read_pins(directory, key, environ) if each.tier is PinTier.SERVICE]
    assert "no answer" in reading.problem
    report = verify_log(directory, key, pins=(reading,))
    assert "audit.pin-unreadable" in {finding.code for finding in report.findings}


def test_another_log_only_in_the_name_of_the_one_before(directory, key):
    opened(directory, key, default_pins(directory, {})).close()
    first = (directory / f"{0:020}.log").read_text().splitlines()[0]
    held = Held("localgpt.audit/other", 7, "ab" * 32)
    assert "in the place of" in extended(held, "localgpt.audit/x", 0, [first]).error
    assert extended(held, "localgpt.audit/other", 9, [first]).error == "gap"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_service_of_another_user(directory, key, tmp_path):
    place = Path("/tmp") / f"localgpt-pin-test-{os.getpid()}"
    place.mkdir(mode=0o755)
    ready, wake = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover -- another process
        try:
            os.chown(place, 65534, 65534)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            (place / "state").mkdir(mode=0o700)
            made = PinService(place / "socket", place / "state")
            os.write(wake, b"x")
            made.serve()
        finally:
            os._exit(0)
    try:
        assert os.read(ready, 1) == b"x"
        writer = opened(directory, key, ServicePin(directory, place / "socket"))
        turns(writer, 9)
        writer.close()
        reading = read_service_pin(directory, place / "socket")
        report = verify_log(directory, key, pins=(reading,))
        assert (reading.tier, report.freshness) == (PinTier.SERVICE, Freshness.CURRENT)
        (state,) = (place / "state").iterdir()
        assert state.stat().st_uid == 65534
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(wake)
        shutil.rmtree(place, ignore_errors=True)


def test_records_of_the_journal_are_spelled_by_its_protocol():
    assert journal_record({"A": b"x", "B": b"1\n2"}) == b"A=x\nB\n" + (3).to_bytes(8, "little") + b"1\n2\n"


JOURNAL = """
import shutil, sys, time
from pathlib import Path
from localgpt.audit import verify_log
from localgpt.audit.checkpoints import Checkpoint, seal
from localgpt.audit.machine_pins import default_pins, read_pins
from localgpt.crypto import DeviceKey
from tests.audit.test_pins import opened, turns
key, directory = DeviceKey(bytes(range(32))), Path(sys.argv[1]) / "audit"
pins = default_pins(directory, {})
writer = opened(directory, key, pins)
turns(writer, 7)
shutil.copytree(directory, directory.with_name("old"))
turns(writer, 9)
writer.close()
for number in range(40):
    forged = seal(Checkpoint(writer.origin, 10**6 + number, b"r" * 32), DeviceKey(b"x" * 32), 0, b"s" * 32)
    pins.hold_checkpoint(forged)
for _ in range(100):  # the journal takes records at its own time
    (reading,) = read_pins(directory, key, {})
    if reading.forged == 40:
        break
    time.sleep(0.1)
report = verify_log(directory, key, pins=(reading,))
print(report.completeness, report.freshness, reading.forged, reading.problem or "-")
shutil.rmtree(directory)
shutil.copytree(directory.with_name("old"), directory)
print(verify_log(directory, key).completeness, verify_log(directory, key, pins=(reading,)).completeness)
shutil.rmtree(directory)
print(verify_log(directory, key, pins=(reading,)).completeness)
"""
AROUND = """
mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/log/journal || exit 77
timeout 60 "$0" & daemon=$!
until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done
"$1" -c "$2" "$3"; status=$?
kill $daemon; exit $status
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not JOURNALD.exists(), reason="needs root and systemd-journald")
def test_the_systems_own_journal(tmp_path):
    """systemd-journald itself, in a mount namespace: pinned, forged later heads told apart, an older copy found."""
    argv = ["unshare", "-m", "sh", "-c", AROUND, str(JOURNALD), sys.executable, JOURNAL, str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False, timeout=90)
    if done.returncode == 77 or not shutil.which("journalctl"):
        pytest.skip("no mount namespace, or no journalctl")
    assert done.stdout.splitlines() == ["complete behind 40 -", "complete truncated", "truncated"], done.stderr[-1500:]
