"""`localgpt doctor`, before and in broken installations."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from localgpt.audit.files import LOG_NAME
from localgpt.cli.checks import install
from localgpt.cli.checks.finding import worst
from localgpt.cli.output import Mark
from tests.cli.command import COMMAND, Home, home

__all__ = ["home"]


def findings(home: Home, status: int) -> dict[str, list[dict[str, Any]]]:
    result = home.run("doctor", "--json")
    assert result.status == status, result
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in result.json["findings"]:
        rows.setdefault(row["check"], []).append(row)
    return rows


def test_a_fresh_home_is_not_broken_and_nothing_is_made(home):
    rows = findings(home, 0)
    assert rows["device key"][0]["mark"] == "warn"
    assert rows["device key"][0]["cure"] == "localgpt init"
    assert list(home.path.iterdir()) == []


def test_a_set_up_home_is_well(home):
    home.ok("init")
    home.ok("sign", "--yes")
    rows = findings(home, 0)
    for check in ("python", "directories", "configuration", "device key", "policy", "log", "kernel"):
        assert [row["mark"] for row in rows[check]] == ["ok"], rows[check]
    assert rows["confinement"][0]["mark"] in {"ok", "warn"}
    out = home.ok("doctor").out
    assert "✓ device key" in out
    assert " 0 wrong\n" in out


def broken_toml(home):
    home.write_config("[agent\n")


def unsafe_setting(home):
    home.write_config('[sandbox]\nlevel = "none"\n')


def short_key(home):
    (home.data / "localgpt.device.key").write_bytes(b"short")


def open_key(home):
    (home.data / "localgpt.device.key").chmod(0o644)


def key_is_a_directory(home):
    (home.data / "localgpt.device.key").unlink()
    (home.data / "localgpt.device.key").mkdir()


def edited_policy(home):
    (home.workspace / "LocalGPT.md").write_text("changed\n")


def broken_manifest(home):
    (home.workspace / ".localgpt_manifest.json").write_text("{")


def flipped_log(home):
    file = home.state / "audit" / LOG_NAME
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(bytes(data))


def open_state(home):
    home.state.chmod(0o777)


def file_in_the_way(home):
    home.state.rename(home.state.parent / "moved")
    home.state.write_text("")


def unknown_default_model(home):
    home.write_config('[agent]\ndefault_model = "nonsense/x"\n')


def keyless_default_model(home):
    home.write_config('[agent]\ndefault_model = "opus"\n')


@pytest.mark.parametrize(
    ("breaks", "check"),
    [
        (broken_toml, "configuration"),
        (unsafe_setting, "configuration"),
        (short_key, "device key"),
        (open_key, "device key"),
        (key_is_a_directory, "device key"),
        (edited_policy, "policy"),
        (broken_manifest, "policy"),
        (flipped_log, "log"),
        (open_state, "state"),
        (file_in_the_way, "state"),
        (unknown_default_model, "default model"),
        (keyless_default_model, "default model"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_each_breakage_is_a_cross_with_a_cure(home, breaks, check):
    home.ok("init")
    home.ok("sign", "--yes")
    breaks(home)
    rows = findings(home, 1)
    bad = [row for row in rows[check] if row["mark"] == "fail"]
    assert bad
    assert all(row["cure"] for row in bad)
    assert rows["confinement"], "one broken thing hides no other check"


def test_a_cli_model_is_a_warning_with_the_reason(home):
    home.write_config('[agent]\ndefault_model = "claude-cli/opus"\n')
    rows = findings(home, 0)
    assert rows["default model"][0]["mark"] == "warn"


def test_a_project_that_holds_the_runtime_is_named(home):
    home.cwd = Path(sys.prefix).parent
    assert findings(home, 0)["project"][0]["mark"] == "warn"


def test_another_command_of_the_name_is_named(home, tmp_path):
    other = tmp_path / "bin" / "localgpt"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    home.extra["PATH"] = f"{other.parent}:{os.environ['PATH']}"
    assert str(other) in findings(home, 0)["command"][0]["text"]


def test_links_to_this_command_are_not_another_one(tmp_path):
    own = install.own_command()
    if own is None:
        pytest.skip("the command is not installed beside the interpreter")
    (tmp_path / "localgpt").symlink_to(own)
    assert install.other_commands(f"{tmp_path}:{own.parent}:/does/not/exist", own) == []


def test_the_foreign_distribution_is_a_cross(tmp_path):
    """A distribution of that name, as an installer leaves it."""
    info = tmp_path / "localgpt-0.0.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: LocalGPT\nVersion: 0.0.9\n")
    code = "from localgpt.cli.checks.install import _name, metadata_names; print(*_name(metadata_names(), ''))"
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert "belongs to somebody else" in done.stdout
    assert worst(list(install._name(frozenset({"localgpt-agent", "localgpt"}), ""))) is Mark.FAIL
    assert worst(list(install._name(frozenset({"localgpt-agent"}), ""))) is Mark.OK


def test_a_check_that_breaks_is_a_finding(home, monkeypatch):
    from localgpt.cli import doctor
    from localgpt.cli.state import State

    def broken(_state):
        yield from iter(())
        raise RuntimeError("boom")

    (finding,) = doctor._run("models", broken, State(home.environ))
    assert (finding.mark, "boom" in finding.text) == (Mark.FAIL, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_without_space_is_a_cross(home):
    home.ok("init")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(home.state)], check=False
    ).returncode:
        pytest.skip("this environment does not allow mounts")
    try:
        rows = findings(home, 1)
    finally:
        subprocess.run(["umount", str(home.state)], check=True)
    assert [row["mark"] for row in rows["disk"]].count("fail") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_state_that_cannot_be_written_is_a_cross(home):
    home.ok("init")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=700", "none", str(home.state)], check=False).returncode:
        pytest.skip("this environment does not allow mounts")
    try:
        rows = findings(home, 1)
    finally:
        subprocess.run(["umount", str(home.state)], check=True)
    assert rows["state"][0]["mark"] == "fail"


def test_nothing_is_contacted(home):
    """Under strace no connect and no sendto to an internet address happens."""
    import shutil

    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    home.ok("init")
    trace = home.cwd / "trace"
    argv = ["strace", "-f", "-o", str(trace), "-e", "trace=connect", *COMMAND, "doctor"]
    done = subprocess.run(argv, env=home.environ, cwd=home.cwd, capture_output=True, check=False)
    if b"ptrace" in done.stderr:
        pytest.skip("this environment does not allow tracing")
    lines = [line for line in trace.read_text().splitlines() if "connect(" in line and "EPERM" not in line]
    assert [line for line in lines if "AF_INET" in line] == []
