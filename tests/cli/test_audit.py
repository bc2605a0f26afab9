"""`localgpt audit`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localgpt.audit.files import LOG_NAME
from tests.cli.command import Home, home

__all__ = ["home"]


@pytest.fixture
def logged(home):
    home.ok("init")
    home.ok("sign", "--yes")
    home.ok("sandbox", "run", "--", "true")
    return home


def log_file(home: Home) -> Path:
    return home.state / "audit" / LOG_NAME


def test_an_empty_log(home):
    assert home.ok("audit", "show").out == ""
    assert home.ok("audit", "verify").out.startswith("Audit log: EMPTY")
    assert home.ok("audit", "verify", "--json").json["entries"] == 0


def test_signing_and_running_are_logged(logged):
    out = logged.ok("audit", "show", "--limit", "0").out
    for kind in ("policy.signed", "policy.state", "sandbox.proof", "decision", "outcome"):
        assert f"  {kind} " in out
    assert logged.ok("audit", "verify").out.startswith("Audit log: INTACT")


def test_filters(logged):
    lines = logged.ok("audit", "show", "--kind", "decision", "--kind", "outcome", "--json").out.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["decision", "outcome"]
    assert logged.ok("audit", "show", "--session", "no-such").out == ""
    last = logged.ok("audit", "show", "--limit", "1", "--json").out.splitlines()
    assert len(last) == 1
    assert json.loads(last[0])["kind"] == "log.close"
    unknown = logged.run("audit", "show", "--kind", "nonsense")
    assert unknown.status == 2
    assert "no such kind" in unknown.err


def test_any_flipped_byte_is_found_and_the_first_bad_entry_named(logged):
    file = log_file(logged)
    good = file.read_bytes()
    lines = good.split(b"\n")
    for number in range(len(lines) - 1):
        start = sum(len(line) + 1 for line in lines[:number])
        data = bytearray(good)
        data[start + len(lines[number]) // 2] ^= 1
        file.write_bytes(bytes(data))
        result = logged.run("audit", "verify", "--json")
        assert result.status == 3, number
        # What still reads as an entry is betrayed by the next one, which does not continue it.
        assert result.json["first_bad"] in {number, number + 1}, result
    file.write_bytes(good)
    logged.ok("audit", "verify")


def test_a_tampered_log_says_where_and_stops_effects(logged):
    file = log_file(logged)
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(bytes(data))
    result = logged.run("audit", "verify")
    assert result.status == 3
    assert "TAMPERED" in result.out
    assert "first bad entry: " in result.out
    shown = logged.run("audit", "show", "--limit", "0")
    assert shown.status == 3
    assert "log.open" in shown.out
    assert logged.run("doctor").status == 1


def test_a_cut_log_and_a_deleted_log_are_found(logged):
    file = log_file(logged)
    good = file.read_bytes()
    file.write_bytes(b"\n".join(good.split(b"\n")[:-3]) + b"\n")
    assert "audit.truncated" in logged.run("audit", "verify").out
    file.unlink()
    result = logged.run("audit", "verify")
    assert result.status == 3
    assert "audit.log-missing" in result.out


def test_a_removed_log_and_head_are_not_a_new_start(logged):
    log_file(logged).unlink()
    (logged.state / "audit" / "head").unlink()
    result = logged.run("audit", "verify")
    assert result.status == 1
    assert result.out.startswith("Audit log: EMPTY")
    assert "there was one" in result.out
    assert ".pin.json" in result.out
    assert "there was one" in logged.run("doctor").out


def test_without_the_key_a_log_is_not_called_intact(logged):
    (logged.data / "localgpt.device.key").rename(logged.data / "elsewhere")
    report = logged.run("audit", "verify", "--json").json
    assert report["verdict"] != "intact"
