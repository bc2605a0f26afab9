"""Verification: every flipped byte, every attack that a keyed head can see, and honest words about the rest."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localgpt.audit import AuditLog, EntryCorrupted, LogVerdict, Query, Report, TamperError, read_entries, verify_log
from localgpt.audit.entry import MAX_LINE_BYTES, decode_entry, genesis
from localgpt.audit.errors import LogUnopenable
from localgpt.audit.head import SLOT_BYTES
from localgpt.crypto import DeviceKey
from tests.audit.conftest import SimClock, encode_entry, leaf_hash, stop


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def test_nothing_there_is_empty(directory, key):
    report = verify_log(directory, key)
    assert (report.verdict, report.entries, report.first_bad) == (LogVerdict.EMPTY, 0, None)


def test_every_flipped_byte_is_found(directory, key, written):
    """Each byte in turn, one bit and all bits; the first bad entry is the one that holds the byte, or one before it
    when a newline vanished."""
    good = written.read_bytes()
    line_of = [good[: i + 1].count(b"\n") - (good[i] == 10) for i in range(len(good))]
    for at in range(len(good)):
        for flip in (0x01, 0x20, 0xFF):
            bad = bytearray(good)
            bad[at] ^= flip
            written.write_bytes(bad)
            report = verify_log(directory, key)
            assert report.verdict is LogVerdict.TAMPERED, (at, flip)
            assert report.first_bad in {line_of[at], line_of[at] + 1}, (at, flip)


def test_every_flipped_byte_of_the_head_leaves_the_other_slot_or_is_found(directory, key, written):
    head = directory / "head"
    good = head.read_bytes()
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 0x04
        head.write_bytes(bad)
        report = verify_log(directory, key)
        newest = at // SLOT_BYTES == 1  # the last entry is number 8
        assert report.head_seq == (7 if newest else 8)
        assert report.verdict is (LogVerdict.INTACT if newest else LogVerdict.TAMPERED)
        assert codes(report) == ({"audit.torn-slot", "audit.beyond-head"} if newest else {"audit.head-spoiled"})
    head.write_bytes(bytes(len(good)))
    assert codes(verify_log(directory, key)) == {"audit.head-missing"}


def test_every_truncation_is_found(directory, key, written):
    good = written.read_bytes()
    for size in range(len(good)):
        written.write_bytes(good[:size])
        report = verify_log(directory, key)
        assert report.verdict is LogVerdict.TAMPERED, size
        assert "audit.truncated" in codes(report)
        assert report.first_bad == good[:size].count(b"\n")
        if size % 13 == 0:
            with pytest.raises(TamperError):
                AuditLog.open(directory, key=key, clock=SimClock())


def rechained(lines: list[bytes]) -> bytes:
    """What an attacker without the key can do: the same lines with a whole chain."""
    previous, out = genesis(), []
    for number, line in enumerate(lines):
        entry = decode_entry(line)
        changed = encode_entry(
            key=b"not the device key",
            seq=number,
            ts_us=entry.ts_us,
            mono_us=entry.mono_us,
            boot=entry.boot,
            session=entry.session,
            kind=entry.kind,
            fields=entry.fields,
            prev=previous,
        )
        previous = leaf_hash(changed)
        out.append(changed)
    return b"".join(line + b"\n" for line in out)


REWRITES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "edit": lambda lines: [*lines[:3], lines[3].replace(b'"t2"', b'"tX"'), *lines[4:]],
    "delete": lambda lines: lines[:3] + lines[4:],
    "insert": lambda lines: [*lines[:3], lines[3], *lines[3:]],
    "swap": lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
    "edit the last": lambda lines: [*lines[:-1], lines[-1].replace(b'"appended":6', b'"appended":8')],
    "rewrite all": lambda lines: [line.replace(b"s1", b"s2") for line in lines],
    "truncate": lambda lines: lines[:-2],
    "truncate and continue": lambda lines: lines[:-2] + [lines[1]] * 5,
    "delete all": lambda _lines: [],
}


@pytest.mark.parametrize("attack", REWRITES)
def test_a_rewritten_and_rechained_log_is_found(directory, key, written, attack):
    lines = written.read_bytes().splitlines()
    written.write_bytes(rechained(REWRITES[attack](lines)))
    report = verify_log(directory, key)
    assert (report.verdict, report.first_bad) == (LogVerdict.TAMPERED, 0)
    assert codes(report) & {"audit.entry-forged", "audit.truncated"}
    with pytest.raises(TamperError):
        AuditLog.open(directory, key=key, clock=SimClock())


def test_without_the_key_a_rewritten_log_only_looks_chained(directory, written):
    lines = written.read_bytes().splitlines()
    written.write_bytes(rechained(REWRITES["edit"](lines)))
    report = verify_log(directory, None)
    assert (report.verdict, codes(report)) == (LogVerdict.CHAINED, {"audit.no-key"})


def test_a_deleted_log_a_deleted_head_and_a_fresh_log(directory, key, written, tmp_path):
    written.rename(tmp_path / "away")
    assert codes(verify_log(directory, key)) == {"audit.log-missing"}
    with pytest.raises(TamperError) as caught:
        AuditLog.open(directory, key=key)
    assert caught.value.code == "audit.log-missing"
    (tmp_path / "away").rename(written)
    (directory / "head").unlink()
    assert codes(verify_log(directory, key)) == {"audit.head-missing"}
    with pytest.raises(TamperError) as caught:
        AuditLog.open(directory, key=key)
    assert caught.value.code == "audit.head-missing"


def test_a_log_made_with_a_fresh_key_is_found(directory, key, written):
    shutil.rmtree(directory)
    AuditLog.open(directory, key=DeviceKey(b"y" * 32), clock=SimClock()).close()
    assert codes(verify_log(directory, key)) == {"audit.head-missing", "audit.identity-foreign"}


def test_what_a_head_beside_the_log_cannot_see(directory, key, written, tmp_path):
    """Restoring log and head together: stated in the specification; an outer pin has to tell."""
    shutil.copytree(directory, tmp_path / "old")
    log = AuditLog.open(directory, key=key, clock=SimClock())
    log.append("turn.start", turn="later")
    log.close()
    shutil.rmtree(directory)
    shutil.copytree(tmp_path / "old", directory)
    assert verify_log(directory, key).verdict is LogVerdict.INTACT


def test_entries_newer_than_the_head_are_told_apart(directory, key, written):
    head = (directory / "head").read_bytes()
    log = AuditLog.open(directory, key=key, clock=SimClock())
    for _ in range(3):
        log.append("turn.start", turn="t")
    stop(log)
    (directory / "head").write_bytes(head)
    report = verify_log(directory, key)
    assert (report.verdict, codes(report), report.head_seq) == (LogVerdict.INTACT, {"audit.beyond-head"}, 8)
    assert report.entries == 13


def spoil(directory: Path, slot: int) -> None:
    """Flip one bit in a slot of the head."""
    head = directory / "head"
    data = bytearray(head.read_bytes())
    data[slot * SLOT_BYTES + 5] ^= 1
    head.write_bytes(data)


def forged(line: bytes, **changed: Any) -> bytes:
    """A line like `line` by somebody without the key: right in everything but the MAC."""
    entry = decode_entry(line)
    whole = {
        "key": b"not the device key",
        "seq": entry.seq,
        "ts_us": entry.ts_us,
        "mono_us": entry.mono_us,
        "boot": entry.boot,
        "session": entry.session,
        "kind": entry.kind,
        "fields": entry.fields,
        "prev": entry.prev,
    }
    return encode_entry(**{**whole, **changed}) + b"\n"


def refuses_to_open(directory: Path, key: DeviceKey) -> str:
    with pytest.raises(TamperError) as caught:
        AuditLog.open(directory, key=key, clock=SimClock())
    return caught.value.code


@pytest.mark.parametrize("how", ["flipped", "blank", "copied from the other", "zeroed"])
def test_the_last_entry_removed_behind_a_spoiled_slot_is_found(directory, key, written, how):
    head = directory / "head"
    older, _newest = head.read_bytes()[:SLOT_BYTES], head.read_bytes()[SLOT_BYTES:]
    spoil(directory, 1)
    if how != "flipped":
        substitute = {"blank": b" " * SLOT_BYTES, "zeroed": bytes(SLOT_BYTES)}.get(how, older)
        head.write_bytes(older + substitute)
    written.write_bytes(b"".join(written.read_bytes().splitlines(keepends=True)[:-1]))
    report = verify_log(directory, key)
    assert (report.verdict, report.first_bad) == (LogVerdict.TAMPERED, 8)
    assert codes(report) == {"audit.head-spoiled"}
    assert refuses_to_open(directory, key) == "audit.head-spoiled"


def test_the_last_entry_cut_short_behind_a_spoiled_slot_is_found(directory, key, written):
    spoil(directory, 1)
    written.write_bytes(written.read_bytes()[:-9])
    assert codes(verify_log(directory, key)) == {"audit.head-spoiled", "audit.torn-tail"}
    assert verify_log(directory, key).verdict is LogVerdict.TAMPERED
    assert refuses_to_open(directory, key) == "audit.head-spoiled"


def test_the_last_entry_replaced_behind_a_spoiled_slot_is_found(directory, key, written):
    spoil(directory, 1)
    *before, last = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(before) + forged(last[:-1], fields={"appended": 1}))
    report = verify_log(directory, key)
    assert (report.verdict, report.first_bad) == (LogVerdict.TAMPERED, 8)
    assert "audit.entry-forged" in codes(report)
    assert refuses_to_open(directory, key) == "audit.entry-forged"


def test_forged_entries_after_the_head_are_found_and_never_adopted(directory, key, written):
    previous = written.read_bytes().splitlines()[-1]
    fields = {"call": "c", "tool": "shell", "verdict": "allow", "code": "run.confined", "policy": "ab" * 32}
    with written.open("ab") as file:
        for seq in range(9, 59):
            line = forged(previous, seq=seq, kind="decision", fields=fields, prev=leaf_hash(previous))
            previous = line[:-1]
            file.write(line)
    report = verify_log(directory, key)
    assert (report.verdict, report.entries, report.first_bad) == (LogVerdict.TAMPERED, 9, 9)
    assert codes(report) == {"audit.entry-forged"}
    assert refuses_to_open(directory, key) == "audit.entry-forged"
    assert verify_log(directory, None).verdict is LogVerdict.CHAINED


def test_a_spoiled_slot_without_a_loss_is_mended_by_the_next_start(directory, key, written):
    spoil(directory, 1)
    assert codes(verify_log(directory, key)) == {"audit.torn-slot", "audit.beyond-head"}
    stop(AuditLog.open(directory, key=key, clock=SimClock()))
    report = verify_log(directory, key)
    assert (report.verdict, report.findings, report.head_seq) == (LogVerdict.INTACT, (), 9)


@pytest.mark.parametrize("trace", ["lock", "reserve", "quarantine", "../policy/m.pin.json"])
def test_a_log_that_was_removed_is_not_called_a_new_start(directory, key, trace):
    path = directory / trace
    directory.mkdir()
    path.parent.mkdir(exist_ok=True)
    path.touch()
    report = verify_log(directory, key)
    assert (report.verdict, codes(report)) == (LogVerdict.EMPTY, {"audit.emptied"})


def test_log_and_head_removed_together_leave_a_trace(directory, key, written):
    written.unlink()
    (directory / "head").unlink()
    (finding,) = verify_log(directory, key).findings
    assert finding.code == "audit.emptied"
    assert "lock, reserve" in finding.detail


def test_a_torn_tail_is_no_tampering(directory, key, written):
    with written.open("ab") as file:
        file.write(b'{"alg":"sha256-ch')
    report = verify_log(directory, key)
    assert (report.verdict, codes(report)) == (LogVerdict.INTACT, {"audit.torn-tail"})
    assert len(list(read_entries(directory))) == 9


def test_foreign_files_are_refused(directory, key, written):
    for content in (b"not a log\n" * 3, b"\n\n", b"{}\n{}\n", b'{"a":NaN}\n\n', b"\x00" * 3 * MAX_LINE_BYTES):
        written.write_bytes(content)
        assert verify_log(directory, key).verdict is LogVerdict.TAMPERED
    written.write_bytes(b"x" * (MAX_LINE_BYTES + 2))
    assert verify_log(directory, None).verdict is LogVerdict.TAMPERED


def test_an_unreadable_log_is_an_error_not_a_verdict(directory, key, written):
    written.unlink()
    written.symlink_to("/etc/passwd")
    with pytest.raises(LogUnopenable):
        verify_log(directory, key)


def test_queries(directory, key, open_log):
    log = open_log()
    decision = {"call": "c", "code": "x", "policy": "ab" * 32}
    log.append("decision", session="one", tool="shell", verdict="deny", **decision)
    log.append("decision", session="two", tool="read_file", verdict="allow", path="/p/a/b", **decision)
    log.append("file.change", session="two", path="/p/a", action="write")
    log.append("file.change", session="two", path="/p/ab", action="write")
    log.close()

    def seqs(**query: Any) -> list[int]:
        return [entry.seq for entry in read_entries(directory, Query(**query))]

    assert seqs(kinds=frozenset({"decision"})) == [2, 3]
    assert seqs(session="two") == [3, 4, 5]
    assert seqs(session="t", verdict="allow") == [3]
    assert seqs(tool="shell") == [2]
    assert seqs(path="/p/a") == [3, 4]
    entries = list(read_entries(directory))
    assert seqs(since_us=entries[3].ts_us, until_us=entries[5].ts_us) == [3, 4]
    assert entries[2].to_json()["tool"] == "shell"
    assert entries[2].to_json()["leaf"] == entries[3].prev


def test_reading_stops_at_the_first_bad_entry(directory, written):
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join([*lines[:3], b"{}\n", *lines[4:]]))
    entries = read_entries(directory)
    assert [next(entries).seq for _ in range(3)] == [0, 1, 2]
    with pytest.raises(EntryCorrupted):
        next(entries)


def test_memory_stays_bounded_on_a_huge_line(directory, key, written):
    """A sparse gigabyte of zeros without a newline is refused after the first chunk."""
    with written.open("ab") as file:
        os.truncate(file.fileno(), 1 << 30)
    assert verify_log(directory, key).verdict is LogVerdict.TAMPERED
