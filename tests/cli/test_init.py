"""`localgpt init`."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import Home, home

__all__ = ["home"]
IS_ROOT = os.geteuid() == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_makes_everything_privately_and_names_the_next_command(home):
    out = home.ok("init").out
    assert out.splitlines()[-1] == "next: localgpt sign"
    assert mode(home.data / "localgpt.device.key") == 0o600
    assert (home.data / "localgpt.device.key").stat().st_size == 32
    assert mode(home.config_file) == 0o600
    for directory in (home.data, home.state, home.config_file.parent, home.path / ".cache/localgpt", home.workspace):
        assert mode(directory) == 0o700
    assert "```toml policy" in (home.workspace / "LocalGPT.md").read_text()


def test_it_can_be_run_again_and_changes_nothing(home):
    home.ok("init")
    before = {f: f.read_bytes() for f in home.path.rglob("*") if f.is_file()}
    assert home.ok("init").out.startswith("everything is there already; nothing was changed\n")
    home.ok("sign", "--yes")
    assert home.ok("init").out.splitlines()[-1] == "next: localgpt chat"
    assert {f: f.read_bytes() for f in before} == before


def test_it_mends_what_is_missing(home):
    home.ok("init")
    home.config_file.unlink()
    report = home.ok("init", "--json").json
    assert [made["what"] for made in report["made"]] == ["configuration"]


def test_a_profile_has_its_own_everything(home):
    home.ok("init")
    home.ok("--profile", "work", "init")
    keys = list(home.path.rglob("localgpt.device.key"))
    assert len(keys) == 2
    assert keys[0].read_bytes() != keys[1].read_bytes()


def test_the_workspace_of_the_configuration_is_used(home):
    home.write_config('[memory]\nworkspace = "~/elsewhere"\n')
    home.ok("init")
    assert (home.path / "elsewhere/LocalGPT.md").exists()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_the_wrong_length_is_refused_and_kept(home, size):
    home.ok("init")
    key = home.data / "localgpt.device.key"
    key.write_bytes(b"k" * size)
    for command in (["init"], ["verify"], ["sign", "--yes"]):
        result = home.run(*command)
        assert result.status == 3
        assert result.err.startswith("error: the device key must have 32 bytes")
        assert "\ncure: " in result.err
    assert key.read_bytes() == b"k" * size


def test_a_key_that_others_can_read_is_refused(home):
    home.ok("init")
    (home.data / "localgpt.device.key").chmod(0o644)
    result = home.run("verify")
    assert result.status == 3
    assert "chmod 600" in result.err


@pytest.mark.skipif(IS_ROOT, reason="root reads everything")
def test_a_key_without_permission_is_refused(home):
    home.ok("init")
    (home.data / "localgpt.device.key").chmod(0)
    result = home.run("verify")
    assert result.status == 3
    assert "cannot be read" in result.err


def test_a_directory_that_others_may_write_to_is_refused(home):
    home.ok("init")
    home.state.chmod(0o777)
    result = home.run("init")
    assert result.status == 3
    assert f"cure: chmod 700 {home.state}" in result.err


def test_a_home_without_permission(home):
    if IS_ROOT:
        pytest.skip("root writes everywhere")
    home.path.chmod(0o500)
    try:
        result = home.run("init")
    finally:
        home.path.chmod(0o700)
    assert result.status == 1
    assert "permission denied" in result.err
    assert "LOCALGPT_" in result.err


def mounted(home: Home, options: str) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(home.path)], check=False)
    if done.returncode:
        pytest.skip("this environment does not allow mounts")


@pytest.mark.skipif(not IS_ROOT, reason="mounting needs root")
def test_a_read_only_home(home):
    mounted(home, "ro,size=64k,mode=700")
    try:
        result = home.run("init")
    finally:
        subprocess.run(["umount", str(home.path)], check=True)
    assert result.status == 1
    assert "read-only file system" in result.err
    assert "cure: the file system is read-only: use another place" in result.err


@pytest.mark.skipif(not IS_ROOT, reason="mounting needs root")
def test_a_full_disk_and_then_space_again(home):
    mounted(home, "size=48k,mode=700")
    try:
        filler = home.path / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * (1 << 20))
        result = home.run("init")
        assert result.status in {1, 3}
        assert "no space left on device" in result.err.lower()
        assert "\ncure: " in result.err
        filler.unlink()
        home.ok("init")
        home.ok("sign", "--yes")
        home.ok("verify")
    finally:
        subprocess.run(["umount", str(home.path)], check=True)
