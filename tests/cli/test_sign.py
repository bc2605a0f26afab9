"""`localgpt sign`, `verify` and their aliases."""

from __future__ import annotations

import re
from pathlib import Path

import pexpect
import pytest

from tests.cli.command import COMMAND, Home, home

__all__ = ["home"]


@pytest.fixture
def ready(home):
    home.ok("init")
    return home


def document(home: Home) -> Path:
    return home.workspace / "LocalGPT.md"


def terminal(home: Home, *argv: str) -> pexpect.spawn[str]:
    command = [*COMMAND, *argv]
    size = (60, 120)
    return pexpect.spawn(
        command[0], command[1:], env=home.environ, cwd=str(home.cwd), encoding="utf-8", timeout=20, dimensions=size
    )


def test_states_and_exit_statuses(home):
    assert home.run("verify").status == 1
    home.ok("init")
    assert home.run("verify").status == 3
    signed = home.ok("sign", "--yes").out
    assert re.fullmatch(r"Signed LocalGPT\.md \(sha256: [0-9a-f]{16} \| hmac: [0-9a-f]{16}\)\n", signed)
    assert home.ok("verify").out.startswith("Policy: VALID\n")
    document(home).write_text(document(home).read_text() + "more\n")
    tampered = home.run("verify")
    assert (tampered.status, tampered.out.splitlines()[0]) == (3, "Policy: TAMPERED")
    home.ok("sign", "--yes")
    (home.workspace / ".localgpt_manifest.json").write_text("{}")
    corrupted = home.run("verify")
    assert (corrupted.status, corrupted.out.splitlines()[0]) == (3, "Policy: MANIFEST CORRUPTED")
    document(home).unlink()
    missing = home.run("verify")
    assert (missing.status, missing.out.splitlines()[0]) == (1, "Policy: MISSING")


def test_one_flipped_byte_is_tampering(ready):
    ready.ok("sign", "--yes")
    data = bytearray(document(ready).read_bytes())
    data[len(data) // 2] ^= 1
    document(ready).write_bytes(bytes(data))
    result = ready.run("verify", "--json")
    assert result.status == 3
    assert result.json["state"] == "tampered"
    assert result.json["code"]


def test_an_old_policy_put_back_is_noticed(ready):
    files = [document(ready), ready.workspace / ".localgpt_manifest.json"]
    ready.ok("sign", "--yes")
    old = [f.read_bytes() for f in files]
    document(ready).write_text(document(ready).read_text() + "\nstricter\n")
    ready.ok("sign", "--yes")
    for file, data in zip(files, old, strict=True):
        file.write_bytes(data)
    result = ready.run("verify", "--json")
    assert (result.status, result.json["code"]) == (3, "policy.rollback")


def test_without_a_terminal_nothing_is_signed_unasked(ready):
    result = ready.run("sign", stdin="y\n")
    assert result.status == 2
    assert result.err.endswith("cure: localgpt sign --yes\n")
    assert ready.run("verify").status == 3


def test_without_a_document_there_is_nothing_to_sign(home):
    result = home.run("sign", "--yes")
    assert result.status == 3
    assert "cure: run `localgpt init`" in result.err


def test_a_document_that_is_no_policy_is_not_signed(ready):
    document(ready).write_text("```toml policy\n[[deny]]\nnonsense = 1\n```\n")
    result = ready.run("sign", "--yes")
    assert result.status == 3
    assert "line 3" in result.err
    assert ready.run("verify").status == 3


def test_the_terminal_shows_text_digest_and_question(ready):
    child = terminal(ready, "sign")
    child.expect("was never signed with this key")
    child.expect("sha256: ([0-9a-f]{64})")
    assert isinstance(child.match, re.Match)
    digest = child.match.group(1)
    child.expect(r"Sign it\? \[y/N\] ")
    child.sendline("y")
    child.expect(f"sha256: {digest[:16]}")
    child.expect(pexpect.EOF)
    assert child.wait() == 0
    ready.ok("verify")


@pytest.mark.parametrize("answer", ["", "n", "yess", "\x04"])
def test_anything_but_yes_means_no(ready, answer):
    child = terminal(ready, "sign")
    child.expect(r"\[y/N\] ")
    child.send(answer if answer == "\x04" else answer + "\r")
    child.expect("not signed")
    child.expect(pexpect.EOF)
    assert child.wait() == 1
    assert ready.run("verify").status == 3


def test_the_second_time_only_changes_are_shown_and_escaped(ready):
    ready.ok("sign", "--yes")
    document(ready).write_text("# LocalGPT.md\n\nbe kind\n")
    child = terminal(ready, "sign")
    child.expect(r"\[y/N\] ")
    shown = child.before or ""
    assert "+be kind" in shown
    assert "- Say what you did" in shown
    child.close(force=True)


def test_what_is_signed_is_what_was_shown(ready):
    child = terminal(ready, "sign")
    child.expect(r"\[y/N\] ")
    document(ready).write_text("now something else\n")
    child.sendline("y")
    child.expect("changed after it was shown")
    child.expect(pexpect.EOF)
    assert child.wait() == 3
    assert ready.run("verify", "--json").json["state"] == "unsigned"


def test_aliases(ready):
    ready.ok("md", "sign", "--yes")
    assert ready.ok("md", "verify").out == ready.ok("verify").out
    document(ready).unlink()
    assert ready.run("md", "verify").status == 1
    assert ready.ok("md", "status").out.startswith("Policy: MISSING")


def test_the_newer_rust_name_works(ready):
    document(ready).rename(ready.workspace / "POLICY.md")
    assert "Signed POLICY.md" in ready.ok("sign", "--yes").out
    ready.ok("verify")
