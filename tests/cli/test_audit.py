"""`localgpt audit`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localgpt.audit.disk import SystemClock, SystemDisk
from localgpt.audit.epoch import Limits
from localgpt.audit.files import LOG_NAME
from localgpt.audit.writer import Writer
from localgpt.crypto import load_device_key
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
    for number in range(0, len(lines) - 1, 3):
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
    for name in ("head", "epoch"):
        (logged.state / "audit" / name).unlink()
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


def test_three_verdicts_and_where_to_begin_next_time(logged):
    report = logged.ok("audit", "verify", "--json").json
    assert (report["verdict"], report["completeness"]) == ("intact", "complete")
    assert report["freshness"] in {"none", "behind", "current"}
    assert report["identity"].startswith(report["origin"] + "+")
    again = logged.ok("audit", "verify", "--new", "--json").json
    assert (again["verdict"], again["entries"]) == ("intact", report["entries"])


def sealed(home: Home) -> None:
    """Close the epoch, as a minute does."""
    key = load_device_key(home.data / "localgpt.device.key")
    writer = Writer(home.state / "audit", key, SystemClock(), SystemDisk(), limits=Limits(epoch_s=0))
    writer.open()
    writer.close_if_due()
    writer.close()


def test_a_proof_convinces_without_the_log(logged, tmp_path):
    sealed(logged)
    lines = logged.ok("audit", "head").out.splitlines()
    proof = tmp_path / "proof"
    proof.write_text(logged.ok("audit", "prove", "3").out)
    shown = logged.ok("audit", "check-proof", str(proof), "--identity", lines[0]).out
    assert shown.startswith("proven: entry 3 of localgpt.audit/")
    proof.write_text(proof.read_text().replace("index 3", "index 4"))
    assert logged.run("audit", "check-proof", str(proof), "--identity", lines[0]).status == 3
    late = logged.run("audit", "prove", "99999")
    assert late.status == 1
    assert "no checkpoint covers entry 99999" in late.err


def test_filters_timeline_tail_stats_and_today(logged):
    told = logged.ok("audit", "show", "--timeline", "--limit", "0").out
    assert "allowed  sandbox.run" in told or "allowed" in told
    assert logged.ok("audit", "show", "--verdict", "deny").out == ""
    assert logged.ok("audit", "show", "--since", "1h", "--kind", "decision").out.count("decision") == 1
    assert logged.run("audit", "show", "--since", "yesterday").status == 2
    assert len(logged.ok("audit", "tail", "--no-follow", "--limit", "3").out.splitlines()) == 3
    counts = logged.ok("audit", "stats", "--json").json
    assert counts["kinds"]["decision"] == 1
    today = logged.ok("today", "--json").json
    assert sum(today["done"].values()) == 1
    assert "done: 1" in logged.ok("today").out


@pytest.mark.parametrize("name", ["jsonl", "syslog", "otlp", "ocsf"])
def test_exports_have_one_line_an_entry(logged, name):
    lines = logged.ok("audit", "export", "--format", name).out.splitlines()
    assert len(lines) == len(logged.ok("audit", "show", "--limit", "0", "--json").out.splitlines())
    if name != "syslog":
        assert all(json.loads(line) for line in lines)
    assert logged.run("audit", "export", "--format", "cef").status == 2


def test_recover_needs_a_terminal_and_prune_a_session(logged):
    assert logged.run("audit", "recover").status == 2
    assert logged.run("audit", "prune").status == 2
    assert logged.run("audit", "prune", "--session", "none").status == 1
    assert "User=localgpt-pin" in logged.ok("audit", "install-service", "--print").out


def test_the_rust_log(logged):
    assert logged.run("audit", "legacy").status == 1
    line = {"ts": "2026-02-03T04:05:06Z", "action": "created", "content_sha256": "", "prev_entry_sha256": "0" * 64}
    path = logged.state / "localgpt.audit.jsonl"
    path.write_text(json.dumps({**line, "source": "cli"}) + "\n")
    assert "chain whole" in logged.ok("audit", "legacy").out
    path.write_text(path.read_text() * 2)
    result = logged.run("audit", "legacy", "--json")
    assert (result.status, result.json["first_bad"]) == (3, 2)
