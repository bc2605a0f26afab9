"""The policy on disk: states, snapshot, pin, edits noticed, crashes survived, and never looser by tampering."""

import errno
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localgpt.crypto import DeviceKey
from localgpt.policy import (
    Effective,
    Flow,
    Manifest,
    PolicyState,
    PolicyStore,
    Run,
    Verdict,
    WritePath,
    decide,
    parse_manifest,
    starter_document,
)
from localgpt.policy.errors import DocumentError, DocumentUnreadable, NothingToSign, SigningFailed
from localgpt.policy.files import read_once
from localgpt.policy.memory import StateFiles
from localgpt.policy.model import strictness
from tests.policy.support import KEY, flows, request, requests
from tests.policy.test_manifest import version_1

DENY_PUSH = b'# House rules\n\n```toml policy\n[[deny]]\nargv = ["git", "push"]\n```\n'
DENY_RM = b'# Other rules\n\n```toml policy\n[[deny]]\nargv = ["rm"]\n```\n'
PUSH = request(Run(("git", "push")))
RM = request(Run(("rm", "x")))
NOW = Flow()


class Home:
    """A workspace, a state directory and stores on them."""

    def __init__(self, root: Path) -> None:
        self.workspace, self.state = root / "workspace", root / "state"
        self.workspace.mkdir()
        self.document = self.workspace / "LocalGPT.md"
        self.manifest = self.workspace / ".localgpt_manifest.json"

    def store(self, key: DeviceKey | None = KEY) -> PolicyStore:
        return PolicyStore(self.workspace, self.state, key)

    def load(self, key: DeviceKey | None = KEY) -> Effective:
        return self.store(key).load()

    def sign(self, document: bytes = DENY_PUSH) -> Manifest:
        self.document.write_bytes(document)
        return self.store().sign()

    @property
    def snapshot(self) -> Path:
        (path,) = (self.state / "policy").glob("*.snapshot.json")
        return path

    @property
    def pin(self) -> Path:
        (path,) = (self.state / "policy").glob("*.pin.json")
        return path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_signature_that_was_taken_away_is_not_a_new_document(home):
    home.sign(DENY_PUSH)
    home.manifest.unlink()
    home.document.write_bytes(b"Do what you are told.\n")
    loaded = home.load()
    assert loaded.state is PolicyState.UNSIGNED
    assert any("its signature is gone" in note for note in loaded.notes)


def test_nothing_then_unsigned_then_valid(home):
    assert home.load().state is PolicyState.MISSING
    home.document.write_bytes(DENY_PUSH)
    unsigned = home.load()
    assert (unsigned.state, unsigned.prose) == (PolicyState.UNSIGNED, "")
    assert unsigned.decide(NOW, PUSH).verdict is Verdict.ALLOW
    manifest = home.store().sign("cli")
    assert (manifest.sequence, manifest.signed_by, manifest.path) == (1, "cli", str(home.document))
    valid = home.load()
    assert (valid.state, valid.prose, valid.notes) == (PolicyState.VALID, "# House rules", ())
    assert valid.decide(NOW, PUSH).code == "rule.deny"


def test_files_in_the_state_directory_are_closed(home):
    home.sign()
    assert home.snapshot.stat().st_mode & 0o777 == 0o600
    assert home.pin.stat().st_mode & 0o777 == 0o600
    assert home.pin.parent.stat().st_mode & 0o777 == 0o700


def become(path: Path, *then: Callable[[], object]) -> None:
    """Remove `path` and make something else of it."""
    path.unlink()
    for step in then:
        step()


TAMPERING: dict[str, tuple[Callable[[Home], object], PolicyState]] = {
    "edit": (lambda h: h.document.write_bytes(b"# anything goes\n"), PolicyState.TAMPERED),
    "append": (lambda h: h.document.write_bytes(DENY_PUSH + b" "), PolicyState.TAMPERED),
    "invalid text": (lambda h: h.document.write_bytes(b"\xff"), PolicyState.TAMPERED),
    "delete the document": (lambda h: become(h.document), PolicyState.MISSING),
    "delete the manifest": (lambda h: become(h.manifest), PolicyState.UNSIGNED),
    "delete both": (lambda h: become(h.document, h.manifest.unlink), PolicyState.MISSING),
    "empty the document": (lambda h: h.document.write_bytes(b""), PolicyState.TAMPERED),
    "empty the manifest": (lambda h: h.manifest.write_bytes(b""), PolicyState.MANIFEST_CORRUPTED),
    "garbage in the manifest": (lambda h: h.manifest.write_bytes(b"{}"), PolicyState.MANIFEST_CORRUPTED),
    "huge document": (lambda h: h.document.write_bytes(b"x" * 10_000_000), PolicyState.TAMPERED),
    "huge manifest": (lambda h: h.manifest.write_bytes(b"x" * 10_000_000), PolicyState.MANIFEST_CORRUPTED),
    "document is a directory": (lambda h: become(h.document, h.document.mkdir), PolicyState.MISSING),
    "document is a fifo": (lambda h: become(h.document, lambda: os.mkfifo(h.document)), PolicyState.MISSING),
    "document is a dangling link": (
        lambda h: become(h.document, lambda: h.document.symlink_to("nowhere")),
        PolicyState.MISSING,
    ),
    "document is a device": (
        lambda h: become(h.document, lambda: h.document.symlink_to("/dev/zero")),
        PolicyState.MISSING,
    ),
    "manifest is a directory": (lambda h: become(h.manifest, h.manifest.mkdir), PolicyState.MANIFEST_CORRUPTED),
}


@pytest.mark.parametrize("attack", TAMPERING)
def test_tampering_has_its_state_and_keeps_what_was_signed(home, attack):
    home.sign()
    tamper, state = TAMPERING[attack]
    tamper(home)
    found = home.load()
    assert found.state is state
    assert found.decide(NOW, PUSH).code == "rule.deny"
    assert found.prose == "# House rules"
    assert found.status.detail


def test_rules_that_were_never_signed_never_apply(home):
    home.sign()
    home.document.write_bytes(b'```toml policy\n[[allow]]\nwrite = ["/**"]\n```\n')
    assert home.load().decide(NOW, request(WritePath("/home/u/documents/x"))).verdict is Verdict.ASK


def test_an_allow_that_was_signed_does_not_survive_tampering(home):
    outside = request(WritePath("/home/u/documents/x"))
    home.sign(b'```toml policy\n[[allow]]\nwrite = ["~/documents/**"]\n```\n')
    assert home.load().decide(NOW, outside).verdict is Verdict.ALLOW
    home.document.unlink()
    assert home.load().decide(NOW, outside).verdict is Verdict.ASK


def test_an_edit_counts_only_after_signing(home):
    home.sign(DENY_PUSH)
    home.document.write_bytes(DENY_RM)
    assert home.load().decide(NOW, RM).verdict is Verdict.ALLOW
    assert home.store().sign().sequence == 2
    found = home.load()
    assert found.decide(NOW, RM).code == "rule.deny"
    assert found.decide(NOW, PUSH).verdict is Verdict.ALLOW


def test_rollback_of_document_and_manifest(home):
    home.sign(DENY_PUSH)
    old = home.document.read_bytes(), home.manifest.read_bytes()
    home.sign(DENY_RM)
    home.document.write_bytes(old[0])
    home.manifest.write_bytes(old[1])
    found = home.load()
    assert found.status.problem is not None
    assert (found.state, found.status.problem.code) == (PolicyState.TAMPERED, "policy.rollback")
    assert found.decide(NOW, RM).code == "rule.deny"
    assert home.store().sign().sequence == 3
    assert home.load().state is PolicyState.VALID


def test_rollback_is_found_when_only_the_snapshot_or_only_the_pin_is_left(home):
    home.sign(DENY_PUSH)
    old = home.document.read_bytes(), home.manifest.read_bytes()
    home.sign(DENY_RM)
    snapshot, pin = home.snapshot.read_bytes(), home.pin.read_bytes()
    home.document.write_bytes(old[0])
    home.manifest.write_bytes(old[1])
    for path in (home.snapshot, home.pin):
        path.unlink()
        assert home.load().state is PolicyState.TAMPERED
        (home.state / "policy" / path.name).write_bytes(snapshot if "snapshot" in path.name else pin)
    assert home.load().state is PolicyState.TAMPERED


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff" * 100, None])
def test_a_lost_snapshot_locks_everything_but_reading(home, damage):
    home.sign()
    home.document.unlink()
    if damage is None:
        home.snapshot.unlink()
    else:
        home.snapshot.write_bytes(damage)
    found = home.load()
    assert found.notes
    assert found.decide(NOW, PUSH).code == "policy.locked"
    assert found.decide(NOW, request(WritePath("/home/u/p/x"))).code == "policy.locked"
    home.document.write_bytes(DENY_PUSH)
    assert home.load().state is PolicyState.VALID
    home.document.unlink()
    assert home.load().decide(NOW, PUSH).code == "rule.deny"


def test_an_older_snapshot_put_back_locks(home):
    home.sign(DENY_PUSH)
    old = home.snapshot.read_bytes()
    home.sign(DENY_RM)
    home.snapshot.write_bytes(old)
    home.document.unlink()
    assert home.load().decide(NOW, RM).code == "policy.locked"


def test_every_flipped_bit_of_snapshot_and_pin_is_never_looser(home):
    home.sign()
    home.document.unlink()
    for path in (home.snapshot, home.pin):
        good = path.read_bytes()
        for at in range(0, len(good), 3):
            flipped = bytearray(good)
            flipped[at] ^= 1 << (at % 8)
            path.write_bytes(flipped)
            assert home.load().decide(NOW, PUSH).verdict is Verdict.DENY, (path.name, at)
        path.write_bytes(good)


def test_another_workspace_cannot_use_this_ones_record(home, tmp_path):
    (tmp_path / "b").mkdir()
    other = Home(tmp_path / "b")
    home.sign()
    other.sign(DENY_RM)
    other.document.write_bytes(home.document.read_bytes())
    other.manifest.write_bytes(home.manifest.read_bytes())
    other.snapshot.write_bytes(home.snapshot.read_bytes())
    found = other.load()
    assert found.status.problem is not None
    assert (found.state, found.status.problem.code) == (PolicyState.TAMPERED, "policy.other-path")
    assert found.decide(NOW, RM).code == "policy.locked"


def test_without_the_key_only_reading(home):
    home.sign()
    found = home.load(key=None)
    assert found.state is PolicyState.UNSIGNED
    assert found.decide(NOW, RM).code == "policy.locked"
    with pytest.raises(SigningFailed):
        home.store(key=None).sign()


def test_a_new_key_signs_again_and_replaces_the_record(home):
    home.sign()
    new = DeviceKey(b"n" * 32)
    found = home.load(new)
    assert found.status.problem is not None
    assert found.status.problem.code == "policy.other-key"
    assert found.decide(NOW, RM).code == "policy.locked"
    assert home.store(new).sign().key_id == new.key_id
    assert home.load(new).state is PolicyState.VALID
    assert home.load(new).notes == ()


def test_a_forged_manifest_cannot_exhaust_the_sequence(home):
    home.sign()
    forged = json.loads(home.manifest.read_bytes())
    forged["sequence"] = 2**53 - 1
    home.manifest.write_bytes(json.dumps(forged, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    assert home.store().sign().sequence == 2


def test_a_lost_state_directory_continues_the_numbers(home):
    home.sign()
    home.sign(DENY_RM)
    home.snapshot.unlink()
    home.pin.unlink()
    assert home.load().state is PolicyState.VALID
    assert home.store().sign().sequence == 3


def test_policy_md_is_read_when_there_is_no_localgpt_md(home):
    (home.workspace / "POLICY.md").write_bytes(DENY_PUSH)
    assert home.store().sign().path.endswith("/POLICY.md")
    assert home.load().decide(NOW, PUSH).code == "rule.deny"
    home.document.write_bytes(b"# planted\n")
    found = home.load()
    assert found.state is PolicyState.TAMPERED
    assert found.decide(NOW, PUSH).code == "rule.deny"


def test_a_version_1_manifest_of_the_rust_localgpt(home):
    home.document.write_bytes(DENY_PUSH)
    home.manifest.write_bytes(version_1(DENY_PUSH))
    found = home.load()
    assert (found.state, found.notes) == (PolicyState.VALID, ())
    assert "version 1" in found.status.detail
    home.document.unlink()
    assert home.load().decide(NOW, PUSH).code == "rule.deny"
    home.document.write_bytes(DENY_RM)
    home.manifest.write_bytes(version_1(DENY_RM))
    assert home.load().decide(NOW, RM).code == "rule.deny"
    assert home.store().sign().sequence == 1
    home.manifest.write_bytes(version_1(DENY_RM))
    assert home.load().state is PolicyState.TAMPERED


# --- noticing edits ---------------------------------------------------------------------------------------------


def test_changed_notices_every_edit_and_nothing_else(home):
    store = home.store()
    assert store.changed()
    home.document.write_bytes(DENY_PUSH)
    store.load()
    assert not store.changed()
    store.sign()
    assert store.changed()
    store.load()
    assert not store.changed()
    home.document.write_bytes(DENY_RM)
    assert store.changed()
    home.document.write_bytes(DENY_PUSH)
    assert not store.changed()
    home.manifest.unlink()
    assert store.changed()


def test_changed_notices_an_edit_that_keeps_size_and_time(home):
    home.sign()
    store = home.store()
    store.load()
    before = home.document.stat()
    home.document.write_bytes(DENY_PUSH.replace(b"push", b"pull"))
    os.utime(home.document, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.changed()


def test_a_file_too_fresh_to_trust_its_times_is_read_again(tmp_path):
    """On coarse clocks two writes within a tick leave the same stamp; what was read says otherwise."""
    path = tmp_path / "file"
    path.write_bytes(b"new")
    fresh = read_once(path, 100)
    assert fresh.is_current(path, 100)
    assert not replace(fresh, data=b"old").is_current(path, 100)
    long_ago = replace(fresh, data=b"old", read_at_ns=fresh.read_at_ns + 10**9)
    assert long_ago.is_current(path, 100)


def test_a_slow_reader_does_not_put_an_older_record_back(home, monkeypatch):
    """One process reads the first signature; another signs again before the first has remembered what it read."""
    home.sign(DENY_PUSH)
    slow = home.store()
    home.snapshot.unlink()
    home.pin.unlink()
    real = StateFiles.recall
    calls = []

    def recall(self):
        memory = real(self)
        calls.append(memory)
        if len(calls) == 2:
            monkeypatch.undo()
            home.sign(DENY_RM)
        return memory

    monkeypatch.setattr(StateFiles, "recall", recall)
    assert slow.load().state is PolicyState.VALID
    assert len(calls) == 2
    home.document.unlink()
    assert home.load().decide(NOW, RM).code == "rule.deny"


def test_changed_notices_another_document_taking_over(home):
    (home.workspace / "POLICY.md").write_bytes(DENY_PUSH)
    store = home.store()
    store.sign()
    store.load()
    home.document.write_bytes(DENY_PUSH)
    assert store.changed()


def test_changed_survives_odd_files(home):
    home.sign()
    store = home.store()
    store.load()
    home.document.unlink()
    os.mkfifo(home.document)
    assert store.changed()
    store.load()
    assert not store.changed()


# --- signing ----------------------------------------------------------------------------------------------------


def test_what_cannot_become_a_policy_is_not_signed(home):
    with pytest.raises(NothingToSign):
        home.store().sign()
    home.document.mkdir()
    with pytest.raises(DocumentUnreadable):
        home.store().sign()
    home.document.rmdir()
    home.document.write_bytes(b"```toml policy\n[[deny]]\n")
    with pytest.raises(DocumentError):
        home.store().sign()
    assert not home.manifest.exists()


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failing_disk_while_signing_never_looks_like_an_attack(home, monkeypatch, at, error):
    """Each fsync and rename of a signature fails in turn: the old policy or the new one applies, both genuine."""
    home.sign(DENY_PUSH)
    home.document.write_bytes(DENY_RM)
    calls = []
    real = os.fsync

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) - 1 == at:
            raise OSError(error, os.strerror(error))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(SigningFailed, match=r"No space|Input/output|Read-only"):
        home.store().sign()
    monkeypatch.undo()
    found = home.load()
    assert found.notes == ()
    if found.state is PolicyState.VALID:
        assert found.decide(NOW, RM).code == "rule.deny"
    else:
        assert found.decide(NOW, PUSH).code == "rule.deny"
    assert not [path for path in home.workspace.iterdir() if path.name.count(".") > 2]
    assert home.store().sign().sequence in {2, 3}
    assert home.load().state is PolicyState.VALID


@pytest.mark.parametrize("keep", ["manifest", "snapshot"])
def test_a_crash_while_signing(home, keep):
    """The machine stops after the manifest, or after the snapshot, was replaced."""
    home.sign(DENY_PUSH)
    snapshot, pin = home.snapshot.read_bytes(), home.pin.read_bytes()
    home.sign(DENY_RM)
    home.pin.write_bytes(pin)
    if keep == "manifest":
        home.snapshot.write_bytes(snapshot)
    found = home.load()
    assert (found.state, found.notes) == (PolicyState.VALID, ())
    home.document.unlink()
    assert home.load().decide(NOW, RM).code == "rule.deny"


def test_signers_at_once_get_different_numbers(home):
    home.document.write_bytes(starter_document())
    numbers = []
    threads = [threading.Thread(target=lambda: numbers.append(home.store().sign().sequence)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert home.load().state is PolicyState.VALID


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_state_directory_is_told_and_survived(home):
    home.sign()
    home.snapshot.unlink()
    home.pin.unlink()
    (home.state / "policy").chmod(0o500)
    found = home.load()
    (home.state / "policy").chmod(0o700)
    assert found.state is PolicyState.VALID
    assert "could not be remembered" in found.notes[0]


def test_a_manifest_that_is_a_link_is_replaced_not_followed(home, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("keep me")
    home.document.write_bytes(DENY_PUSH)
    home.manifest.symlink_to(victim)
    home.store().sign()
    assert victim.read_text() == "keep me"
    assert parse_manifest(home.manifest.read_bytes()).sequence == 1


# --- the property -----------------------------------------------------------------------------------------------

_contents = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.sampled_from([b"", DENY_RM, b'```toml policy\n[[allow]]\nwrite = ["/**"]\n[[allow]]\nconnect = ["*"]\n```\n']),
)


@given(_contents, _contents, flows, requests)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tampering_never_allows_what_the_signed_policy_denied(tmp_path_factory, document, manifest, flow, asked):
    home = Home(tmp_path_factory.mktemp("home"))
    home.sign(DENY_PUSH + b'```toml policy\n[[deny]]\nread = ["src/**"]\n[[ask]]\nwrite = ["**/a.py"]\n```\n')
    signed = home.load()
    assert signed.status.policy is not None
    for path, content in ((home.document, document), (home.manifest, manifest)):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
    after = home.load()
    before_it = decide(signed.status.policy, flow, asked)
    assert strictness(after.decide(flow, asked).verdict) >= strictness(before_it.verdict)


def test_a_record_has_one_spelling(home):
    home.sign()
    home.pin.write_bytes(home.pin.read_bytes().removesuffix(b"\n"))
    assert "it is cut off" in home.load().notes[0]
