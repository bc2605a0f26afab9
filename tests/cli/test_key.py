"""`localgpt key` and `recover`: rotation, loss, backup, restore, and the private key of mode ed25519."""

from __future__ import annotations

import shutil

import pexpect
import pytest

from tests.cli.command import Home, home
from tests.cli.test_sign import document, terminal

__all__ = ["home"]


@pytest.fixture
def signed(home: Home) -> Home:
    home.ok("init")
    home.ok("sign", "--yes")
    return home


def key_file(home: Home):
    return home.data / "localgpt.device.key"


def recover(home: Home, *more: str, answer: str = "recover") -> str:
    child = terminal(home, "recover", *more)
    child.expect("Type recover to sign", timeout=60)
    before = str(child.before)
    child.sendline(answer)
    child.expect(pexpect.EOF)
    return before + str(child.before)


def test_rotation_signs_anew_and_keeps_what_was_written(signed):
    before = signed.ok("key", "status", "--json").json
    log = signed.ok("audit", "verify", "--json").json["entries"]
    changed = signed.ok("key", "rotate", "--yes", "--json").json
    assert changed["previous"] == before["key_id"] != changed["key_id"]
    assert [policy["signed"] for policy in changed["policies"]] == [True]
    assert signed.ok("verify").out.startswith("Policy: VALID")
    assert signed.ok("audit", "verify").out.startswith("Audit log: INTACT")
    status = signed.ok("key", "status", "--json").json
    assert [(a["key_id"], a["verdict"], a["entries"]) for a in status["archives"]] == [
        (before["key_id"], "intact", log)
    ]
    entries = signed.ok("audit", "show", "--json", "--kind", "key.changed").out
    assert f'"log_entries": {log}' in entries
    signed.ok("sign", "--yes")
    assert "signature number 3" in signed.ok("verify").out


def test_rotation_waits_for_a_policy_that_is_not_as_it_was_signed(signed):
    document(signed).write_text("Do what you are told.\n")
    changed = signed.ok("key", "rotate", "--yes", "--json").json
    assert [policy["signed"] for policy in changed["policies"]] == [False]
    assert signed.run("verify").status == 3
    assert signed.ok("policy", "show", "--json").json["locked"]
    assert "Another device key signed it" in recover(signed)
    assert signed.ok("verify").out.startswith("Policy: VALID")


def test_backup_and_restore(signed, tmp_path):
    (tmp_path / "phrase").write_text("correct horse battery\n")
    phrase = ("--passphrase-file", str(tmp_path / "phrase"))
    backup = tmp_path / "backup.txt"
    signed.ok("key", "backup", str(backup), *phrase)
    assert backup.stat().st_mode & 0o777 == 0o600
    assert key_file(signed).read_bytes().hex() not in backup.read_text()
    assert signed.run("key", "backup", str(backup), *phrase).status == 3
    assert "there already" in signed.ok("key", "restore", str(backup), *phrase).out
    key_file(signed).unlink()
    assert signed.run("verify").status == 3
    (tmp_path / "other").write_text("something else\n")
    assert signed.run("key", "restore", str(backup), "--passphrase-file", str(tmp_path / "other")).status == 3
    signed.ok("key", "restore", str(backup), *phrase)
    assert signed.ok("verify").out.startswith("Policy: VALID")
    assert signed.ok("audit", "verify").out.startswith("Audit log: INTACT")


def test_losing_the_key_loses_signing_never_reading(signed):
    shown = signed.ok("audit", "show").out
    key_file(signed).unlink()
    assert signed.ok("audit", "show").out == shown
    assert "CHAINED" in signed.ok("audit", "verify").out
    assert signed.run("sign", "--yes").status == 3
    signed.ok("init")  # a new key, without the old one
    refused = signed.run("key", "rotate", "--yes")
    assert (refused.status, "key rotate --lost" in refused.err) == (3, True)
    signed.ok("key", "rotate", "--yes", "--lost")
    assert signed.ok("audit", "verify").out.startswith("Audit log: INTACT")
    (archive,) = signed.ok("key", "status", "--json").json["archives"]
    assert (archive["key_id"], archive["verdict"]) == ("lost", None)
    assert signed.ok("policy", "show", "--json").json["locked"]
    recover(signed)
    assert signed.ok("verify").out.startswith("Policy: VALID")


def test_recover_explains_a_restored_backup_and_records_the_gap(signed):
    old = [path.read_bytes() for path in (document(signed), signed.workspace / ".localgpt_manifest.json")]
    document(signed).write_text("# Newer\n")
    signed.ok("sign", "--yes")
    for path, data in zip((document(signed), signed.workspace / ".localgpt_manifest.json"), old, strict=True):
        path.write_bytes(data)
    assert signed.run("recover").status == 2
    said = recover(signed, answer="yes")
    assert "a backup was put back" in said
    assert "left as it was" in said
    assert "-# Newer" in said.replace("\r", "")
    assert signed.run("verify").status == 3
    recover(signed)
    assert "signature number 3" in signed.ok("verify").out
    (entry,) = signed.ok("audit", "show", "--json", "--kind", "policy.recovered").out.splitlines()
    assert '"last_seen": 2' in entry
    assert '"reason": "policy.rollback"' in entry
    nothing = terminal(signed, "recover")
    nothing.expect("nothing to recover", timeout=60)
    nothing.expect(pexpect.EOF)


def test_recover_after_a_move(signed):
    moved = signed.path / "elsewhere"
    shutil.copytree(signed.workspace, moved)
    signed.extra["LOCALGPT_WORKSPACE"] = str(moved)
    assert signed.run("verify").status == 3
    assert "the workspace was moved or copied" in recover(signed)
    assert signed.ok("verify").out.startswith("Policy: VALID")


def test_a_rollback_is_found_when_only_the_log_is_left(signed):
    old = [path.read_bytes() for path in (document(signed), signed.workspace / ".localgpt_manifest.json")]
    document(signed).write_text("# Newer\n")
    signed.ok("sign", "--yes")
    for path, data in zip((document(signed), signed.workspace / ".localgpt_manifest.json"), old, strict=True):
        path.write_bytes(data)
    shutil.rmtree(signed.state / "policy")
    found = signed.run("verify", "--json").json
    assert (found["state"], found["code"]) == ("tampered", "policy.rollback")
    for path in (document(signed), signed.workspace / ".localgpt_manifest.json"):
        path.unlink()
    assert signed.ok("policy", "show", "--json").json["locked"]


def test_mode_ed25519(signed, tmp_path):
    private, starter = tmp_path / "policy.key", document(signed).read_bytes()
    public = signed.ok("key", "new", str(private), "--name", "me.example/policy").out.strip()
    assert private.stat().st_mode & 0o777 == 0o600
    assert signed.run("key", "new", str(private), "--name", "x").status == 3
    signed.ok("config", "set", "security.policy_public_key", public)
    found = signed.run("verify", "--json")
    assert (found.status, found.json["state"]) == (3, "unsigned")
    assert signed.run("sign", "--yes").status == 3
    refused = signed.run("sign", "--yes", "--key", str(private))
    assert (refused.status, "localgpt recover" in refused.err) == (3, True)
    assert "signed, number 2" in recover(signed, "--key", str(private))
    assert signed.ok("verify").out.startswith("Policy: VALID")
    document(signed).write_text("# Mine\n")
    assert signed.run("verify").status == 3
    done = signed.ok("sign", "--yes", "--key", str(private), "--portable", "--json").json
    assert (done["public_key"], done["hmac_sha256"], done["sequence"]) == (public, None, 3)
    assert signed.ok("verify").out.startswith("Policy: VALID")
    private.chmod(0o644)
    assert "others can read the private key" in signed.run("sign", "--yes", "--key", str(private)).err
    # CI: the repository holds document, note and public key, and no secret is anywhere
    for name in ("LocalGPT.md", ".localgpt_manifest.note"):
        shutil.copy(signed.workspace / name, signed.cwd)
    (signed.cwd / "policy.pub").write_text(public + "\n")
    other = Home(tmp_path / "ci", signed.cwd)
    other.path.mkdir()
    assert other.ok("verify", "--public-key", "policy.pub").out.startswith("Policy: VALID")
    assert other.ok("verify", "--public-key", public, "--json").json["sequence"] == 3
    (signed.cwd / "LocalGPT.md").write_text("# Yours\n")
    assert other.run("verify", "--public-key", "policy.pub").status == 3
    assert not (other.path / ".local").exists()
    signed.ok("config", "set", "security.policy_public_key", "")
    document(signed).write_bytes(starter)  # which the device key had signed
    changed = signed.run("verify", "--json").json
    assert (changed["state"], changed["code"]) == ("tampered", "policy.other-signer")
