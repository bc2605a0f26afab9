"""Beginning anew, verifying from where the last time ended, and the log of the Rust LocalGPT."""

import hashlib
import json
import shutil
import threading

import pytest

from localgpt.audit import AuditLog, Completeness, LogPoisoned, LogVerdict, read_entries, verify_log
from localgpt.audit.checkpoints import read_checkpoints
from localgpt.audit.disk import SystemDisk
from localgpt.audit.epoch import Limits
from localgpt.audit.errors import LogForeign, LogStalled, LogUnopenable
from localgpt.audit.grammar import spell
from localgpt.audit.legacy import read_legacy
from localgpt.audit.pin_places import choose
from localgpt.audit.pins import PinTier
from localgpt.audit.recovery import begin_anew
from localgpt.audit.resume import Trusted
from localgpt.audit.writer import Writer
from localgpt.crypto import DeviceKey
from tests.audit.conftest import LOG, SimClock
from tests.crash.test_audit_power_loss import QuickDisk


def write(directory, key, count: int) -> None:
    writer = Writer(directory, key, SimClock(), QuickDisk(), limits=Limits(epoch_entries=7, segment_bytes=2500))
    writer.open()
    for number in range(count):
        writer.commit([spell("turn.start", "s", {"turn": f"t{number}"})])
    writer.close()


def test_a_restored_backup_goes_on_in_a_new_log_that_says_so(directory, key, tmp_path):
    """The pin remembers the lost end; the new log names the old one, and every verification tells."""
    write(directory, key, 9)
    shutil.copytree(directory, tmp_path / "backup")
    write(directory, key, 30)
    records = [(each.note.encode(), n) for n, each in enumerate(read_checkpoints(directory / "checkpoints"))]
    pin = choose(PinTier.JOURNAL, "journal", records, key)
    shutil.rmtree(directory)
    shutil.copytree(tmp_path / "backup", directory)
    lost = verify_log(directory, key, pins=(pin,))
    assert (lost.completeness, lost.is_tampered) == (Completeness.TRUNCATED, True)
    aside = begin_anew(directory, key, lost, "accepted-loss")
    assert verify_log(aside, key).entries == lost.entries
    report = verify_log(directory, key, pins=(pin,))
    assert (report.completeness, report.verdict) == (Completeness.RECOVERED, LogVerdict.INTACT)
    assert "audit.recovered" in {finding.code for finding in report.findings}
    first = next(read_entries(directory))
    assert first.fields["previous_origin"] == lost.origin
    assert first.fields["previous_leaf"] == lost.last_leaf
    assert begin_anew(directory, key, report, "moved").name == f"{directory.name}.lost-2"


def test_verifying_from_where_the_last_time_ended(directory, key):
    write(directory, key, 20)
    trusted = verify_log(directory, key).trusted
    assert trusted is not None
    data = trusted.encode(key)
    assert Trusted.decode(data, key) == trusted
    assert Trusted.decode(data, DeviceKey(b"x" * 32)) is None
    assert Trusted.decode(data.replace(b'"epoch":', b'"epoch":1'), key) is None
    write(directory, key, 20)
    whole, since = verify_log(directory, key), verify_log(directory, key, trusted=trusted)
    assert (since.verdict, since.entries, since.sealed) == (whole.verdict, whole.entries, whole.sealed)
    assert since.trusted == whole.trusted
    path = sorted(directory.glob("*.log"))[-2]
    path.write_bytes(path.read_bytes().replace(b'"turn":"t1', b'"turn":"u1'))
    assert verify_log(directory, key, trusted=trusted).is_tampered


def test_a_log_of_an_earlier_version_is_named_as_one(directory, key):
    directory.mkdir()
    (directory / LOG).write_bytes(b'{"alg":"sha256-chain-hmac","kind":"log.open","origin":"localgpt.audit/v1","v":1}\n')
    (directory / "head").write_bytes(b"x" * 1024)
    with pytest.raises(LogForeign, match="earlier version"):
        AuditLog.open(directory, key=key)


def test_a_disk_that_does_not_answer_stops_effects_and_not_the_program(directory, key, monkeypatch):
    monkeypatch.setattr("localgpt.audit.log.STALL_S", 0.3)
    release = threading.Event()

    class Stuck(SystemDisk):
        stuck = False

        def sync(self, descriptor):
            if self.stuck:
                release.wait(30)

    disk = Stuck()
    log = AuditLog.open(directory, key=key, clock=SimClock(), disk=disk)
    disk.stuck = True
    with pytest.raises(LogStalled, match="not answered"):
        log.append("turn.start", turn="t")
    assert "not answered" in log.failure
    with pytest.raises(LogPoisoned):
        log.append("turn.start", turn="t")
    release.set()
    log.close()
    assert verify_log(directory, key).verdict is LogVerdict.INTACT


def legacy_lines() -> list[bytes]:
    previous, lines = "0" * 64, []
    for action, source in (("created", "cli"), ("signed", "gui"), ("write_blocked", "tool:bash"), ("verified", "cli")):
        body = {"ts": "2026-02-03T04:05:06Z", "action": action, "content_sha256": "", "prev_entry_sha256": previous}
        lines.append(json.dumps({**body, "source": source}, separators=(",", ":")).encode())
        previous = hashlib.sha256(lines[-1]).hexdigest()
    return lines


def test_the_rust_log_is_read_and_verified_as_what_it_is(tmp_path):
    path = tmp_path / "localgpt.audit.jsonl"
    lines = legacy_lines()
    path.write_bytes(b"\n".join(lines) + b"\n")
    entries = list(read_legacy(path))
    assert [each.action for each in entries] == ["created", "signed", "write_blocked", "verified"]
    assert not any(each.problem for each in entries)
    path.write_bytes(b"\n".join([lines[0], lines[1].replace(b"gui", b"cli"), *lines[2:]]) + b"\n")
    assert [bool(each.problem) for each in read_legacy(path)] == [False, False, True, False]
    path.write_bytes(b"\n".join([lines[0], b'{"a":NaN}', b"\xff", *lines[1:]]) + b"\n")
    assert [bool(each.problem) for each in read_legacy(path)] == [False, True, True, True, False, False]
    with pytest.raises(LogUnopenable):
        list(read_legacy(tmp_path / "nothing"))
