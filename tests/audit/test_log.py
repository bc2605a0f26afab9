"""The writer: durable before it returns, several processes, closed on every failure."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from localgpt.audit import AuditLog, EntryInvalid, LogPoisoned, LogVerdict, TamperError, read_entries, verify_log
from localgpt.audit.disk import SystemDisk
from localgpt.audit.errors import LogFull, LogLocked, LogUnopenable
from localgpt.crypto import DeviceKey
from tests.audit.conftest import LOG, encode_entry, leaf_hash


class FaultyDisk(SystemDisk):
    """Once armed, fails the n-th call of one method and records the order of calls."""

    def __init__(self, method: str = "", at: int = 0, error: int = errno.EIO, short: int | None = None) -> None:
        self.method, self.at, self.error, self.short = method, at, error, short
        self.calls: list[str] = []
        self.armed = False

    def _count(self, method: str) -> bool:
        if not self.armed:
            return False
        self.calls.append(method)
        return method == self.method and self.calls.count(method) - 1 == self.at

    def write(self, descriptor, data):
        if self._count("write"):
            if self.short is not None:
                return super().write(descriptor, data[: self.short])
            raise OSError(self.error, os.strerror(self.error))
        return super().write(descriptor, data)

    def sync(self, descriptor):
        if self._count("sync"):
            raise OSError(self.error, os.strerror(self.error))
        super().sync(descriptor)

    def write_at(self, descriptor, data, offset):
        if self._count("write_at"):
            raise OSError(self.error, os.strerror(self.error))
        return super().write_at(descriptor, data, offset)


def kinds(directory: Path) -> list[str]:
    return [entry.kind for entry in read_entries(directory)]


def test_numbers_rise_by_one_and_the_log_verifies(directory, key, open_log):
    log = open_log()
    assert [log.append("turn.start", session="s", turn=f"t{i}") for i in range(3)] == [2, 3, 4]
    log.close()
    report = verify_log(directory, key)
    assert (report.verdict, report.entries, report.head_seq, report.findings) == (LogVerdict.INTACT, 6, 5, ())
    assert kinds(directory) == ["log.create", "log.open", "turn.start", "turn.start", "turn.start", "log.close"]


def test_files_are_closed_to_others(directory, open_log):
    open_log()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()} == {
        LOG: 0o600, "epoch": 0o600, "head": 0o600, "lock": 0o600, "reserve": 0o600
    }  # fmt: skip


def test_write_then_sync_then_head_for_every_entry(open_log):
    disk = FaultyDisk()
    log = open_log(disk=disk)
    disk.armed = True
    for _ in range(2):
        log.append("turn.start", turn="t")
    assert disk.calls == ["write", "sync", "write_at"] * 2


def test_the_entry_is_in_the_file_and_synced_when_append_returns(directory, open_log):
    seen = []

    class Spy(SystemDisk):
        def sync(self, descriptor):
            path = directory / LOG
            seen.append(path.read_bytes().count(b"\n") if path.exists() else 0)
            super().sync(descriptor)

    log = open_log(disk=Spy())
    log.append("turn.start", turn="t")
    assert seen[-2:] == [2, 3]


def test_a_bad_entry_is_refused_and_the_log_stays_usable(open_log):
    log = open_log()
    with pytest.raises(EntryInvalid):
        log.append("turn.start", turn="t", words="secret")
    assert log.append("turn.start", turn="t") == 2
    assert log.failure == ""


def append_until_poisoned(log: AuditLog) -> int:
    for done in range(5):
        try:
            log.append("turn.start", turn=f"t{done}")
        except LogPoisoned:
            return done
    raise AssertionError("the fault never came")


@pytest.mark.parametrize("method", ["write", "sync", "write_at"])
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.EBADF])
def test_after_one_failure_nothing_is_appended_or_retried(directory, key, open_log, method, at, error):
    disk = FaultyDisk(method, at, error)
    log = open_log(disk=disk)
    disk.armed = True
    acknowledged = append_until_poisoned(log)
    calls = len(disk.calls)
    assert log.failure
    for _ in range(3):
        with pytest.raises(LogPoisoned):
            log.append("turn.start", turn="later")
    assert len(disk.calls) == calls
    log.close()
    entries = [entry.fields["turn"] for entry in read_entries(directory) if entry.kind == "turn.start"]
    assert entries[:acknowledged] == [f"t{i}" for i in range(acknowledged)]
    assert verify_log(directory, key).verdict is LogVerdict.INTACT


@pytest.mark.parametrize("method", ["write", "sync", "write_at"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_log_that_cannot_take_its_first_entry_does_not_open(open_log, method, at):
    disk = FaultyDisk(method, 0 if method == "write_at" else at)
    disk.armed = True
    with pytest.raises((LogPoisoned, LogUnopenable)):
        open_log(disk=disk)
    log = open_log()  # and nothing stands in the way of the next start
    assert log.append("turn.start", turn="t") >= 2


@pytest.mark.parametrize("short", [0, 1, 17, 100])
def test_a_short_write_is_taken_back_and_the_reserve_says_so(directory, key, open_log, short):
    disk = FaultyDisk("write", 1, short=short)
    log = open_log(disk=disk)
    disk.armed = True
    log.append("turn.start", turn="t0")
    with pytest.raises(LogFull, match="disk is full"):
        log.append("decision", call="c", tool="t", verdict="allow", code="x", policy="ab" * 32)
    with pytest.raises(LogFull):
        log.append("turn.start", turn="t1")
    *_, last = read_entries(directory)
    assert (last.kind, last.fields) == ("log.full", {"wanted": "decision"})
    assert not (directory / "reserve").exists()
    assert verify_log(directory, key).verdict is LogVerdict.INTACT


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_really_full_disk_gets_its_last_entry(tmp_path, key):
    """A 1 MiB tmpfs in a mount namespace of its own, filled to the last page."""
    script = f"""
import os, subprocess, sys
from pathlib import Path
from localgpt.audit import AuditLog, read_entries, verify_log
from localgpt.audit.errors import LogFull
from localgpt.crypto import DeviceKey
root = Path({str(tmp_path)!r})
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", root], check=True)
key = DeviceKey(bytes(range(32)))
log = AuditLog.open(root / "audit", key=key)
log.append("turn.start", turn="before")
with open(root / "filler", "wb", buffering=0) as filler:
    try:
        while True: filler.write(b"x" * 4096)
    except OSError: pass
acknowledged = 0
try:
    while True:
        log.append("turn.start", turn="t" * 100); acknowledged += 1
except LogFull as error:
    print("full")
entries = list(read_entries(root / "audit"))
turns = sum(entry.kind == "turn.start" for entry in entries) - 1
print(entries[-1].kind, turns == acknowledged, verify_log(root / "audit", key).verdict)
"""
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    if "mount" in done.stderr:
        pytest.skip("this machine does not let root mount a tmpfs")
    assert done.stdout.split() == ["full", "log.full", "True", "intact"], done.stderr


def test_a_file_size_limit_fails_closed_without_a_torn_line(directory, key):
    script = f"""
import resource, signal
from pathlib import Path
from localgpt.audit import AuditLog, LogPoisoned
from localgpt.crypto import DeviceKey
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = AuditLog.open(Path({str(directory)!r}), key=DeviceKey(bytes(range(32))))
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
n = 0
try:
    while True: n = log.append("turn.start", turn="t")
except LogPoisoned as error: print(n, type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    acknowledged, name = done.stdout.split()
    assert name == "LogFull"
    report = verify_log(directory, key)
    assert report.verdict is LogVerdict.INTACT
    assert report.entries >= int(acknowledged) + 1


@pytest.mark.parametrize("how", ["unlink", "replace", "lock"])
def test_a_removed_or_replaced_file_poisons(directory, open_log, how):
    log = open_log()
    path = directory / ("lock" if how == "lock" else LOG)
    if how == "replace":
        copy = directory / "copy"
        copy.write_bytes(path.read_bytes())
        copy.replace(path)
    else:
        path.unlink()
    with pytest.raises(LogPoisoned, match=r"removed|replaced"):
        log.append("turn.start", turn="t")
    with pytest.raises(LogPoisoned):
        log.append("turn.start", turn="t")


def test_truncation_under_a_running_writer_poisons(directory, open_log):
    log = open_log()
    log.append("turn.start", turn="t")
    os.truncate(directory / LOG, 50)
    with pytest.raises(LogPoisoned, match="were acknowledged"):
        log.append("turn.start", turn="t")


def test_foreign_lines_under_a_running_writer_poison(directory, open_log):
    log = open_log()
    with (directory / LOG).open("ab") as file:
        file.write(b'{"kind":"forged"}\n{"kind":"forged"}\n')
    with pytest.raises(LogPoisoned):
        log.append("turn.start", turn="t")


def test_an_entry_by_another_key_is_not_adopted_by_a_running_writer(directory, key, open_log):
    """Right number, right chain, and a MAC that only the device key could make: effects stay off."""
    log = open_log()
    path = directory / LOG
    first = path.read_bytes()
    line = encode_entry(
        key=b"not the device key", seq=2, ts_us=1, mono_us=1, boot="b", session="", kind="turn.start",
        fields={"turn": "forged"}, prev=leaf_hash(first.splitlines()[-1])
    )  # fmt: skip
    path.write_bytes(first + line + b"\n")
    with pytest.raises(LogPoisoned, match="not written with this device key"):
        log.append("turn.start", turn="t")
    assert path.read_bytes() == first + line + b"\n"
    report = verify_log(directory, key)
    assert (report.verdict, report.first_bad) == (LogVerdict.TAMPERED, 2)


def test_two_writers_share_one_chain(directory, key, open_log):
    one, two = open_log(), open_log()
    numbers = [log.append("turn.start", turn="t") for log in (one, two, two, one, two)]
    assert numbers == [3, 4, 5, 6, 7]
    two.close()
    one.close()
    assert verify_log(directory, key).verdict is LogVerdict.INTACT


_WRITER = """
import sys
from pathlib import Path
from localgpt.audit import AuditLog
from localgpt.crypto import DeviceKey
log = AuditLog.open(Path(sys.argv[1]), key=DeviceKey(bytes(range(32))), lock_wait_s=30)
for n in range(int(sys.argv[3])):
    print(log.append("turn.start", session=sys.argv[2], turn=f"t{n}"), flush=True)
log.close()
"""


def test_processes_at_once_lose_nothing(directory, key):
    argv = [sys.executable, "-c", _WRITER, str(directory)]
    workers = [subprocess.Popen([*argv, f"w{i}", "25"], stdout=subprocess.PIPE, text=True) for i in range(4)]
    acknowledged = [int(line) for worker in workers for line in worker.communicate(timeout=60)[0].split()]
    assert len(set(acknowledged)) == 100
    report = verify_log(directory, key)
    assert (report.verdict, report.entries) == (LogVerdict.INTACT, 109)
    for i in range(4):
        turns = [e.fields["turn"] for e in read_entries(directory) if e.session == f"w{i}"]
        assert turns == [f"t{n}" for n in range(25)]


def test_a_killed_writer_loses_no_acknowledged_entry(directory, key):
    for _ in range(5):
        worker = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(directory), "k", "100000"], stdout=subprocess.PIPE, text=True
        )
        assert worker.stdout is not None
        last = [int(worker.stdout.readline()) for _ in range(20)][-1]
        worker.kill()
        rest = worker.communicate(timeout=30)[0].split("\n")[:-1]
        last = int(rest[-1]) if rest else last
        report = verify_log(directory, key)
        assert report.verdict is LogVerdict.INTACT
        assert report.entries > last


def test_threads_share_one_log(directory, key, open_log):
    log = open_log()
    numbers: list[int] = []

    def work():
        numbers.extend(log.append("turn.start", turn="t") for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(2, 82))
    assert verify_log(directory, key).verdict is LogVerdict.INTACT


def test_a_stuck_process_is_reported_and_waiting_ends(directory, open_log):
    log = open_log(lock_wait_s=0.05)
    with (directory / "lock").open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LogLocked, match="held"):
            log.append("turn.start", turn="t")
        with pytest.raises(LogLocked):
            open_log(lock_wait_s=0.05)
    assert log.append("turn.start", turn="t") == 2


def test_a_forked_child_may_not_append(open_log):
    log = open_log()
    log._pid += 1
    with pytest.raises(LogPoisoned, match="forked"):
        log.append("turn.start", turn="t")


def test_an_interrupted_append_is_followed_by_the_next(directory, key, open_log):
    """Ctrl-C between write and sync: the line is there, was not acknowledged, and breaks nothing."""

    class Interrupting(SystemDisk):
        armed = False

        def sync(self, descriptor):
            if self.armed:
                self.armed = False
                raise KeyboardInterrupt
            super().sync(descriptor)

    disk = Interrupting()
    log = open_log(disk=disk)
    disk.armed = True
    with pytest.raises(KeyboardInterrupt):
        log.append("turn.start", turn="interrupted")
    assert log.append("turn.start", turn="next") == 3
    log.close()
    assert verify_log(directory, key).verdict is LogVerdict.INTACT


def test_argv_is_kept_as_name_and_salted_digest(open_log, key):
    log = open_log()
    fields = log.argv_fields(["/bin/sh", "-c", "echo secret"])
    assert fields["argv0"] == "/bin/sh"
    assert "secret" not in str(fields)
    assert fields == log.argv_fields(("/bin/sh", "-c", "echo secret"))
    assert fields["argv_hmac"] != log.argv_fields(["/bin/sh", "-c echo", "secret"])["argv_hmac"]
    assert log.argv_fields([])["argv0"] == "-"
    assert log.argv_fields(["a\udcff"])["argv_hmac"]


def test_unusable_directories(tmp_path, key):
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnopenable):
        AuditLog.open(tmp_path / "file" / "audit", key=key)
    link = tmp_path / "linked"
    link.mkdir()
    (link / "lock").symlink_to(tmp_path / "file")
    with pytest.raises(LogUnopenable):
        AuditLog.open(link, key=key)


def test_another_key_does_not_continue_the_log(directory, written):
    with pytest.raises(TamperError) as caught:
        AuditLog.open(directory, key=DeviceKey(b"x" * 32))
    assert caught.value.code == "audit.head-missing"


def test_closing_twice_is_harmless(open_log):
    log = open_log()
    log.close()
    log.close()
