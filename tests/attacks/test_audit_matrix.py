"""Seventeen attacks on the log, against every kind of pin: what is found, and exactly what is not.

The log has 57 entries in epochs of 10: 50 are sealed, 7 are open. Attackers without keys can write the log's directory;
attackers with keys also have the device key and the secret of the open epoch, but not the erased ones. The verifier key
was written down once (`localgpt audit head`). Pins cannot be written back by the attacker; that is what each tier is.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.audit.conftest import LOG, SimClock, encode_entry, leaf_hash
from tests.crash.test_audit_power_loss import QuickDisk

from localgpt.audit import AuditLog, Report, TamperError, verify_log
from localgpt.audit.checkpoints import Checkpoint, identity_of, read_checkpoints, seal
from localgpt.audit.entry import Entry, decode_entry, entry_key, genesis
from localgpt.audit.epoch import Epoch, Limits
from localgpt.audit.grammar import spell
from localgpt.audit.head import Head, head_key
from localgpt.audit.pin_places import FilePin, choose, read_file_pin
from localgpt.audit.pin_service import PinService, ServicePin, read_service_pin
from localgpt.audit.pins import PinSet, PinTier
from localgpt.audit.report import PinReading
from localgpt.audit.writer import Writer
from localgpt.crypto import DeviceKey
from localgpt.crypto.merkle import root_of
from localgpt.crypto.note import NoteKey

KEY = DeviceKey(bytes(range(32)))
FRESH = DeviceKey(b"fresh key of the attacker's ....")
LIMITS = Limits(epoch_entries=10)


@dataclass
class JournalList:
    """The system's journal, as far as it matters: everybody appends, nobody erases."""

    records: list[tuple[bytes, int | None]] = field(default_factory=list)

    def hold_entries(self, origin, last, lines):
        pass

    def hold_checkpoint(self, note):
        self.records.append((note, len(self.records)))


@dataclass
class World:
    """The log, its snapshot at entry 35, its pins, and what verification is given."""

    directory: Path
    old: Path
    identity: NoteKey
    journal: JournalList
    file: Path
    socket: Path
    key: DeviceKey = KEY

    def entries(self) -> list[Entry]:
        return [decode_entry(line) for line in (self.directory / LOG).read_bytes().splitlines()]

    def readings(self) -> dict[str, tuple[PinReading, ...]]:
        service = read_service_pin(self.directory, self.socket)
        sealed = tuple(each for each in self.sealed_service())
        return {
            "none": (),
            "file": (read_file_pin(self.file, self.directory.parent, self.key),),
            "journal": (choose(PinTier.JOURNAL, "journal", self.journal.records, self.key),),
            "service, each epoch": sealed,
            "service, each entry": (service,),
            "witness": (PinReading(PinTier.WITNESS, "witness", sealed[0].pinned),),
        }

    def sealed_service(self) -> tuple[PinReading, ...]:
        return (choose(PinTier.SERVICE, "service", self.journal.records, KEY),)

    def verify(self, pins: tuple[PinReading, ...]) -> Report:
        return verify_log(self.directory, self.key, identity=self.identity, pins=pins)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("matrix")
    (root / "state").mkdir()
    service = PinService(root / "socket", root / "state")
    threading.Thread(target=service.serve, daemon=True).start()
    directory, journal, file = root / "audit", JournalList(), root / "pin"
    pins = PinSet(journal, FilePin(file, QuickDisk()), ServicePin(directory, root / "socket"))
    writer = Writer(directory, KEY, SimClock(), QuickDisk(), pins=pins, limits=LIMITS)
    writer.open()
    for number in range(100):
        if writer._tip.size == 35:
            shutil.copytree(directory, root / "old")
        if writer._tip.size == 57:
            break
        writer.commit([spell("turn.start", "s", {"turn": f"t{number}"})])
    identity = identity_of(KEY, writer.origin)
    writer.close()
    yield World(directory, root / "old", identity, journal, file, root / "socket")
    service.close()


@pytest.fixture
def world(original: World, tmp_path: Path) -> Iterator[World]:
    """The attack is on the real directory, which the pin service knows by name; it is put back afterwards."""
    backup = tmp_path / "backup"
    shutil.copytree(original.directory, backup)
    yield World(original.directory, original.old, original.identity, original.journal, original.file, original.socket)
    shutil.rmtree(original.directory, ignore_errors=True)
    shutil.copytree(backup, original.directory)


# --- what attackers do ----------------------------------------------------------------------------------------------


def lines_of(entries: list[Any], key: bytes) -> list[bytes]:
    """A whole chain over these entries."""
    prev, out = genesis(), []
    for seq, e in enumerate(entries):
        line = encode_entry(
            key=key, seq=seq, ts_us=e.ts_us, mono_us=e.mono_us, boot=e.boot, session=e.session, kind=e.kind,
            fields=e.fields, prev=prev,
        )  # fmt: skip
        prev = leaf_hash(line)
        out.append(line)
    return out


def rewrite(world: World, entries: list[Any], *, keys: bool = False, notes: str = "keep") -> None:
    """Write a log over these entries. `keys`: with the device key and the open epoch's secret, head included.

    `notes`: "keep" those whose epochs are still there, or "sign" what is missing with what is at hand.
    """
    directory = world.directory
    lines = lines_of(entries, entry_key(KEY) if keys else b"not the device key")
    (directory / LOG).write_bytes(b"".join(line + b"\n" for line in lines))
    epoch = Epoch.decode((directory / "epoch").read_bytes())
    originals = {each.checkpoint.size: each for each in read_checkpoints(directory / "checkpoints")}
    kept, number = b"", 0
    leaves = [bytes.fromhex(leaf_hash(line)) for line in lines]
    for seq, entry in enumerate(entries):
        if entry.kind != "epoch.next":
            continue
        checkpoint = Checkpoint(epoch.origin, seq + 1, root_of(leaves[: seq + 1]))
        same = seq + 1 in originals and originals[seq + 1].checkpoint == checkpoint
        if same or (notes == "keep" and seq + 1 in originals):
            kept += originals[seq + 1].note.encode()
        elif notes == "sign":
            kept += seal(checkpoint, KEY if keys else FRESH, number, epoch.seed if keys else b"x" * 32)
        number += 1
    (directory / "checkpoints").write_bytes(kept)
    if keys:
        end = sum(len(line) + 1 for line in lines)
        head = Head(100, len(lines) - 1, 0, end, leaf_hash(lines[-1]))
        older = Head(99, len(lines) - 2, 0, end - len(lines[-1]) - 1, leaf_hash(lines[-2]))
        (directory / "head").write_bytes(head.encode(head_key(KEY)) + older.encode(head_key(KEY)))


def changed(entry: Entry) -> Entry:
    return replace(entry, fields={"turn": "forged"})


def edit(at: int, *, keys: bool = False, notes: str = "keep") -> Callable[[World], None]:
    def attack(world: World) -> None:
        entries = world.entries()
        entries[at] = changed(entries[at])
        rewrite(world, entries, keys=keys, notes=notes)

    return attack


def rechained(change: Callable[[list[Entry]], list[Entry]]) -> Callable[[World], None]:
    return lambda world: rewrite(world, change(world.entries()))


def edit_without_repair(world: World) -> None:
    path = world.directory / LOG
    path.write_bytes(path.read_bytes().replace(b'"turn":"t20"', b'"turn":"t99"'))


def cut(keep: int, *, notes: bool = True) -> Callable[[World], None]:
    def attack(world: World) -> None:
        path = world.directory / LOG
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:keep]))
        if not notes:
            place = world.directory / "checkpoints"
            place.write_bytes(b"".join(n.note.encode() for n in read_checkpoints(place) if n.checkpoint.size <= keep))

    return attack


def restore(world: World) -> None:
    shutil.rmtree(world.directory)
    shutil.copytree(world.old, world.directory)


def rewrite_all(world: World) -> None:
    entries = [changed(e) if e.kind == "turn.start" else e for e in world.entries()]
    rewrite(world, entries, keys=True, notes="sign")


def truncate_and_continue(world: World) -> None:
    entries = world.entries()[:30]
    rewrite(world, [*entries, *[changed(entries[5])] * 4], keys=True, notes="sign")
    epoch = Epoch.decode((world.directory / "epoch").read_bytes())
    body = epoch.encode().replace(b'"number":5', b'"number":3')
    (world.directory / "epoch").write_bytes(body)


def in_open_epoch(change: Callable[[list[Entry]], list[Entry]]) -> Callable[[World], None]:
    return lambda world: rewrite(world, change(world.entries()), keys=True)


def fresh(world: World) -> None:
    shutil.rmtree(world.directory)
    writer = Writer(world.directory, FRESH, SimClock(), QuickDisk(), limits=LIMITS)
    writer.open()
    for number in range(52):
        writer.commit([spell("turn.start", "s", {"turn": f"t{number}"})])
    writer.close()
    world.key = FRESH


ATTACKS: dict[str, Callable[[World], None]] = {
    "1 edit an entry, nothing repaired": edit_without_repair,
    "2 edit, chain repaired": edit(22),
    "3 delete, chain repaired": rechained(lambda e: e[:22] + e[23:]),
    "4 insert, chain repaired": rechained(lambda e: [*e[:22], changed(e[22]), *e[22:]]),
    "5 swap, chain repaired": rechained(lambda e: [*e[:22], e[23], e[22], *e[24:]]),
    "6 rewrite all, chain repaired": rechained(lambda e: [changed(x) if x.kind == "turn.start" else x for x in e]),
    "7 cut the open end": cut(54),
    "8 cut past seals and drop them": cut(30, notes=False),
    "9 restore an older copy": restore,
    "10 delete all": lambda world: shutil.rmtree(world.directory),
    "11 edit the sealed past, sign with current keys": edit(22, keys=True, notes="sign"),
    "12 rewrite all, sign with current keys": rewrite_all,
    "13 cut into the past and go on, with current keys": truncate_and_continue,
    "14 edit the open epoch, with current keys": edit(53, keys=True),
    "15 cut the open epoch, with current keys": in_open_epoch(lambda e: e[:53]),
    "16 fork the open epoch, with current keys": in_open_epoch(lambda e: [*e[:53], changed(e[54]), changed(e[55])]),
    "17 a fresh log with fresh keys": fresh,
}
OPEN = {name for name in ATTACKS if name.split()[0] in {"14", "15", "16"}}
#: What each column does not find. Only entries after the last pin are missed by a per-epoch pin.
MISSED = {
    "none": OPEN | {name for name in ATTACKS if name.split()[0] in {"9", "10"}},
    "file": OPEN,
    "journal": OPEN,
    "service, each epoch": OPEN,
    "service, each entry": set(),
    "witness": OPEN,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_matrix(world: World, attack: str):
    ATTACKS[attack](world)
    for column, pins in world.readings().items():
        report = world.verify(pins)
        assert report.is_tampered == (attack not in MISSED[column]), (column, report)


def test_nothing_is_found_without_an_attack(world: World):
    for column, pins in world.readings().items():
        report = world.verify(pins)
        assert not report.is_tampered, (column, report.findings)
        assert report.entries == 57
        assert report.pinned == {"none": 0, "file": 0, "service, each entry": 57}.get(column, 50)


def test_the_specification_has_this_table():
    text = (Path(__file__).parents[2] / "docs" / "spec" / "audit-log.md").read_text("utf-8")
    rows = {
        row[0]: row[1:]
        for row in (re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if line.startswith("| "))
    }
    for attack in ATTACKS:
        assert rows[attack] == ["-" if attack in MISSED[column] else "X" for column in MISSED], attack
    assert rows["**found of 17**"] == [f"**{17 - len(MISSED[column])}**" for column in MISSED]


# --- what went wrong elsewhere --------------------------------------------------------------------------------------


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def test_cve_2023_31439_an_old_epoch_sealed_again_with_the_current_key(world: World):
    edit(22, keys=True, notes="sign")(world)
    report = world.verify(())
    assert codes(report) == {"audit.checkpoint-forged"}
    assert report.first_bad == 20


def test_cve_2023_31438_epochs_without_a_seal(world: World):
    place = world.directory / "checkpoints"
    notes = [each.note.encode() for each in read_checkpoints(place)]
    for gap in range(len(notes)):
        place.write_bytes(b"".join(notes[:gap] + notes[gap + 1 :]))
        assert world.verify(()).is_tampered
    place.unlink()
    assert "audit.checkpoint-missing" in codes(world.verify(()))


def test_cve_2022_36111_both_ends_right_and_another_middle(world: World):
    """Every link is followed: there is no part of the log of which only the ends are compared."""
    path = world.directory / LOG
    lines = path.read_bytes().splitlines()
    for at in range(1, 49):
        bad = lines[at].replace(b'"session":"s"', b'"session":"t"').replace(b'"key":"', b'"key":"0', 1)
        path.write_bytes(b"".join(line + b"\n" for line in [*lines[:at], bad, *lines[at + 1 :]]))
        assert world.verify(()).is_tampered


def test_cve_2022_39199_a_log_that_says_it_is_another_one(world: World):
    fresh(world)
    assert "audit.identity-foreign" in codes(world.verify(()))
    world.key = KEY
    assert world.verify(()).is_tampered


def test_n1_no_key_follows_from_what_is_public(world: World):
    public = [world.directory.name, world.identity.name, str(world.identity), genesis()]
    entry = world.entries()[3]
    for text in public:
        for guess in (text.encode()[:64], hashlib.sha256(text.encode()).digest()):
            line = encode_entry(
                key=guess, seq=entry.seq, ts_us=entry.ts_us, mono_us=entry.mono_us, boot=entry.boot,
                session=entry.session, kind=entry.kind, fields=entry.fields, prev=entry.prev,
            )  # fmt: skip
            assert decode_entry(line).mac != entry.mac


def test_n2_stored_hashes_are_never_believed(world: World):
    """The chain is computed from the lines; a `prev` that fits a stored one and not the line is found."""
    path = world.directory / LOG
    lines = path.read_bytes().splitlines()
    lines[30] = lines[30].replace(b'"turn":"', b'"turn":"x')
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    report = world.verify(())
    assert report.first_bad in {30, 31}


def test_n3_every_field_is_under_the_mac(world: World):
    line = (world.directory / LOG).read_bytes().splitlines()[55]
    key = entry_key(KEY)
    decode_entry(line, key)
    for name, value in re.findall(rb'"(\w+)":("[^"]*"|[0-9]+)', line):
        if name in {b"mac", b"kind"}:
            continue
        other = value[:-1] + b'9"' if value.startswith(b'"') else value + b"9"
        if name == b"prev":
            other = b'"' + b"9" * 64 + b'"'
        with pytest.raises(TamperError):
            decode_entry(line.replace(b'"%b":%b' % (name, value), b'"%b":%b' % (name, other)), key)


def test_n4_nothing_is_switched_on_later(world: World):
    """The first entry is already under MAC and signature: there is no older part that was written without."""
    first = (world.directory / LOG).read_bytes().splitlines()[0]
    decode_entry(first, entry_key(KEY))
    assert next(read_checkpoints(world.directory / "checkpoints")).checkpoint.size == 10


def test_n5_no_field_takes_free_text(world: World):
    from localgpt.audit.kinds import KINDS, FieldType

    types = {field_type for fields in KINDS.values() for field_type in fields.types.values()}
    assert types <= set(FieldType)
    assert not {"text", "content", "message", "arguments", "prompt"} & {n for f in KINDS.values() for n in f.types}


def test_n6_opening_does_not_read_the_whole_log(world: World):
    """Garbage far before the open epoch does not matter to the writer (it does to `verify`), so it was not read."""
    path = world.directory / LOG
    data = path.read_bytes()
    path.write_bytes(b"?" * 2000 + data[2000:])
    AuditLog.open(world.directory, key=KEY, clock=SimClock(), disk=QuickDisk()).close()
    assert world.verify(()).is_tampered


def test_forged_later_heads_and_a_flood_in_the_journal(world: World):
    """Records that this log's identity did not sign are counted, and neither hide nor replace ours."""
    later = seal(Checkpoint(world.identity.name, 10**6, b"x" * 32), FRESH, 7, b"y" * 32)
    flood = [(later, 10**9), (b"noise", 1), (b"", None)] * 300
    reading = choose(PinTier.JOURNAL, "journal", [*world.journal.records, *flood], KEY)
    report = world.verify((reading,))
    assert not report.is_tampered
    assert report.pinned == 50
    assert reading.forged == 900
    assert "audit.pin-forged" in codes(report)
    restore(world)
    assert world.verify((reading,)).is_tampered


def test_the_service_does_not_go_back(world: World):
    """Who may talk to it can lengthen what it vouches for, and cannot replace it."""
    held = read_service_pin(world.directory, world.socket).pinned[0]
    restore(world)
    writer = Writer(world.directory, KEY, SimClock(), QuickDisk(), pins=ServicePin(world.directory, world.socket))
    with pytest.raises(Exception, match="pin service refuses"):
        writer.open([spell("log.open", "", {"program": "p", "pid": 1})])
    writer.close()
    assert read_service_pin(world.directory, world.socket).pinned[0] == held
