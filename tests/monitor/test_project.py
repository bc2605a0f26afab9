"""Which folders may be a project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from localgpt.config import Paths, resolve_paths
from localgpt.monitor.project import ProjectHoldsRuntime, ProjectRefused, Trust, TrustStore, check_project


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def paths(home: Path) -> Paths:
    return resolve_paths({"HOME": str(home)})


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_a_folder_below_home_is_a_project(home: Path, paths: Paths):
    assert check_project(folder(home / "work"), paths) == (home / "work").resolve()


def test_a_link_is_resolved(home: Path, paths: Paths):
    target = folder(home / "work")
    (home / "link").symlink_to(target)
    assert check_project(home / "link", paths) == target.resolve()


@pytest.mark.parametrize("path", ["", "..", "../..", "/"])
def test_home_and_whatever_holds_it_are_refused(home: Path, paths: Paths, path: str):
    with pytest.raises(ProjectRefused, match="home"):
        check_project(home / path, paths)


def test_a_link_to_home_is_refused(tmp_path: Path, home: Path, paths: Paths):
    (tmp_path / "innocent").symlink_to(home)
    with pytest.raises(ProjectRefused):
        check_project(tmp_path / "innocent", paths)


def test_a_folder_with_the_running_interpreter_is_refused(paths: Paths):
    with pytest.raises(ProjectHoldsRuntime):
        check_project(Path(sys.prefix), paths)


def test_a_folder_with_the_package_is_refused(paths: Paths):
    import localgpt

    with pytest.raises(ProjectHoldsRuntime):
        check_project(Path(localgpt.__file__).parent.parent, paths)


def test_a_folder_with_the_state_is_refused(tmp_path: Path, home: Path):
    work = folder(home / "work")
    paths = resolve_paths({"HOME": str(home), "LOCALGPT_STATE_DIR": str(work / "hidden" / "state")})
    with pytest.raises(ProjectHoldsRuntime):
        check_project(work, paths)


def test_the_workspace_is_no_project(paths: Paths):
    with pytest.raises(ProjectRefused, match="belongs to LocalGPT"):
        check_project(folder(paths.workspace), paths)


def test_a_file_and_nothing_are_refused(home: Path, paths: Paths):
    (home / "file").write_text("x")
    for name in ("file", "missing"):
        with pytest.raises(ProjectRefused):
            check_project(home / name, paths)


def test_trust_is_remembered_for_exactly_one_folder(tmp_path: Path):
    store = TrustStore(tmp_path / "state" / "trust.json")
    assert store.look_up(tmp_path) is Trust.UNKNOWN
    store.remember(tmp_path, Trust.TRUSTED)
    assert TrustStore(tmp_path / "state" / "trust.json").look_up(tmp_path) is Trust.TRUSTED
    assert store.look_up(tmp_path / "clone") is Trust.UNKNOWN
    assert store.look_up(tmp_path.parent) is Trust.UNKNOWN


def test_a_folder_whose_name_is_not_text_can_be_trusted(tmp_path: Path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    store = TrustStore(tmp_path / "trust.json")
    store.remember(odd, Trust.TRUSTED)
    assert store.look_up(odd) is Trust.TRUSTED


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"00":"root"}', b"\xff"])
def test_a_damaged_file_trusts_nothing(tmp_path: Path, damage: bytes):
    file = tmp_path / "trust.json"
    store = TrustStore(file)
    store.remember(tmp_path, Trust.TRUSTED)
    file.write_bytes(damage)
    assert store.look_up(tmp_path) is Trust.UNKNOWN
