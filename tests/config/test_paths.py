"""Where things are kept, and how directories are made."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from localgpt.config.errors import BadProfileName, DirectoryForeign, DirectoryUnusable, NoHome
from localgpt.config.paths import ensure_directories, ensure_directory, resolve_paths

HOME = {"HOME": "/home/u"}
IS_ROOT = os.geteuid() == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_defaults():
    paths = resolve_paths(HOME)
    assert str(paths.config_file) == "/home/u/.config/localgpt/config.toml"
    assert str(paths.device_key) == "/home/u/.local/share/localgpt/localgpt.device.key"
    assert str(paths.workspace) == "/home/u/.local/share/localgpt/workspace"
    assert str(paths.sessions_dir("main")) == "/home/u/.local/state/localgpt/agents/main/sessions"
    assert str(paths.cache_dir) == "/home/u/.cache/localgpt"
    assert str(paths.runtime_dir) == f"/tmp/localgpt-{os.getuid()}"
    assert paths.warnings == ()


def test_own_variables_win_over_xdg_and_xdg_over_defaults():
    paths = resolve_paths(
        {
            **HOME,
            "XDG_CONFIG_HOME": "/xc",
            "XDG_DATA_HOME": "/xd",
            "LOCALGPT_DATA_DIR": "/own",
            "XDG_RUNTIME_DIR": "/run/u",
        }
    )
    assert str(paths.config_dir) == "/xc/localgpt"
    assert str(paths.data_dir) == "/own"
    assert str(paths.workspace) == "/own/workspace"
    assert str(paths.state_dir) == "/home/u/.local/state/localgpt"
    assert str(paths.runtime_dir) == "/run/u/localgpt"


@pytest.mark.parametrize("variable", ["LOCALGPT_STATE_DIR", "XDG_STATE_HOME", "LOCALGPT_WORKSPACE"])
def test_relative_variables_are_ignored_and_named(variable):
    paths = resolve_paths({**HOME, variable: "relative/dir"})
    assert str(paths.state_dir) == "/home/u/.local/state/localgpt"
    assert paths.warnings == (f"{variable}=relative/dir is ignored: not an absolute path",)


def test_dots_in_variables_are_folded():
    assert str(resolve_paths({**HOME, "LOCALGPT_DATA_DIR": "/a/../b/./c/"}).data_dir) == "/b/c"


def test_a_profile_separates_every_directory():
    plain, work = resolve_paths(HOME), resolve_paths(HOME, "work")
    assert str(work.config_dir) == "/home/u/.config/localgpt-work"
    for name in ("config_dir", "data_dir", "state_dir", "cache_dir", "runtime_dir", "workspace"):
        assert getattr(work, name) != getattr(plain, name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a..b", "x" * 33, "a\n", "-p", "a b", "\x1b"])
def test_names_that_are_no_part_of_a_path_are_refused(name):
    with pytest.raises(BadProfileName):
        resolve_paths(HOME, name)
    with pytest.raises(BadProfileName):
        resolve_paths(HOME).sessions_dir(name)


def test_order_of_the_workspace():
    configured = "~/.localgpt/workspace"
    assert str(resolve_paths(HOME).with_workspace(configured).workspace) == "/home/u/.localgpt/workspace"
    assert str(resolve_paths(HOME).with_workspace("/w/../x").workspace) == "/x"
    profile = resolve_paths(HOME, "p")
    assert profile.with_workspace(configured) is profile
    fixed = resolve_paths({**HOME, "LOCALGPT_WORKSPACE": "/fixed"}, "p")
    assert str(fixed.with_workspace(configured).workspace) == "/fixed"


def test_without_home_the_user_database_is_asked(monkeypatch):
    import pwd

    assert resolve_paths({}).home == Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert "HOME=x is ignored" in resolve_paths({"HOME": "x"}).warnings[0]

    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(NoHome):
        resolve_paths({})


def test_the_newer_rust_name_of_the_policy_is_found(tmp_path):
    paths = resolve_paths({"HOME": str(tmp_path), "LOCALGPT_WORKSPACE": str(tmp_path)})
    assert paths.policy_document.name == "LocalGPT.md"
    (tmp_path / "POLICY.md").touch()
    assert paths.policy_document.name == "POLICY.md"
    (tmp_path / "LocalGPT.md").touch()
    assert paths.policy_document.name == "LocalGPT.md"


def test_directories_are_private_even_with_a_loose_umask(tmp_path):
    before = os.umask(0)
    try:
        made = ensure_directories(resolve_paths({"HOME": str(tmp_path)}))
    finally:
        os.umask(before)
    assert len(made) == 5
    assert all(mode(directory) == 0o700 for directory in made)
    assert mode(tmp_path / ".local/share") == 0o700
    assert ensure_directories(resolve_paths({"HOME": str(tmp_path)})) == ()


def test_a_directory_others_may_write_to_is_refused(tmp_path):
    directory = tmp_path / "d"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(DirectoryForeign, match="0777") as caught:
        ensure_directory(directory)
    assert caught.value.cure == f"chmod 700 {directory}"


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(tmp_path):
    directory = tmp_path / "d"
    directory.mkdir()
    os.chown(directory, 1000, 1000)
    with pytest.raises(DirectoryForeign, match="user id 1000"):
        ensure_directory(directory)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(DirectoryUnusable, match="a file is in the way"):
        ensure_directory(tmp_path / "f")
    with pytest.raises(DirectoryUnusable, match="not a directory"):
        ensure_directory(tmp_path / "f" / "below")


@pytest.mark.skipif(IS_ROOT, reason="root writes everywhere")
def test_a_home_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DirectoryUnusable, match="permission denied"):
            ensure_directory(tmp_path / "a" / "b")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(("number", "word"), [(errno.EROFS, "read-only"), (errno.ENOSPC, "free some space")])
def test_read_only_and_full_disks_have_their_cure(tmp_path, monkeypatch, number, word):
    def fail(self, *args, **kwargs):
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(DirectoryUnusable) as caught:
        ensure_directory(tmp_path / "x")
    assert word in str(caught.value)


@pytest.mark.skipif(not IS_ROOT, reason="mounting needs root")
def test_a_really_read_only_home(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this environment does not allow mounts")
    try:
        with pytest.raises(DirectoryUnusable, match="read-only file system"):
            ensure_directories(resolve_paths({"HOME": str(tmp_path)}))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
