"""Profiles: data that parses, limits that only rise, caches of one project that no other project executes."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from localgpt.cli.sandbox import Profile as Choice
from localgpt.sandbox import Limits, Plan, Rung
from localgpt.sandbox.names import shipped_names
from localgpt.sandbox.profiles import NAMES, UnknownProfile, own_caches, profile
from localgpt.sandbox.protection import names_by_protection
from tests.sandbox.world import executor

DATA = Path(__file__).resolve().parents[2] / "sandbox/profiles"


def test_every_file_is_a_profile_and_every_profile_can_be_chosen() -> None:
    assert {path.stem for path in DATA.glob("*.toml")} == set(NAMES) == {choice.value for choice in Choice}
    for name in NAMES:
        found = profile(name)
        assert found.summary
        assert found.name == name
        for _, folder in found.caches:
            assert folder == Path(folder).name


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(UnknownProfile) as caught:
        profile("full-access")
    assert "workspace-write" in (caught.value.cure or "")


def test_limits_only_rise(project: Path, tmp_path: Path) -> None:
    plan = Plan.workspace_write(project, limits=Limits(timeout_s=5, processes=1000))
    equipped = profile("build").equip(plan, str(tmp_path / "caches"))
    assert equipped.limits.timeout_s == 1800
    assert equipped.limits.processes == 1000
    assert profile("workspace-write").equip(plan, str(tmp_path / "caches")) == plan
    assert not (tmp_path / "unused").exists()


def test_a_folder_that_nobody_vouched_for_gets_no_caches(project: Path, tmp_path: Path) -> None:
    plan = profile("build").equip(Plan.read_only(project), str(tmp_path / "caches"))
    assert plan.write_roots == ()
    assert not (tmp_path / "caches").exists()


def test_caches_last_and_are_one_projects(rung: Rung, tmp_path: Path) -> None:
    caches, build = tmp_path / "caches", profile("build")
    for name, expected in (("one", b""), ("one", b"x\n"), ("two", b"")):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        with executor(build.equip(Plan.workspace_write(folder), str(caches)), rung) as running:
            assert running.run(["sh", "-c", "cat $PIP_CACHE_DIR/x; echo x > $PIP_CACHE_DIR/x"]).stdout == expected
            assert running.run(["sh", "-c", f"ls {own_caches(str(caches), str(tmp_path / 'other'))}"]).exit_status != 0
    assert oct(caches.stat().st_mode & 0o777) == "0o700"


def test_caches_hold_nothing_and_nothing_in_them_is_put_away(rung: Rung, project: Path, tmp_path: Path) -> None:
    plan = profile("build").equip(Plan.workspace_write(project), str(tmp_path / "caches"))
    (own,) = plan.caches
    with executor(plan, rung) as running:
        assert ".envrc" not in {path.name for path in Path(own).iterdir()}
        done = running.run(["sh", "-c", f"mkdir {own}/npm/pkg; echo x > {own}/npm/pkg/.envrc"])
        assert done.left.put_away == ()


@pytest.mark.skipif(shutil.which("npm", path="/usr/bin") is None, reason="needs npm")
def test_npm_uses_the_projects_cache(rung: Rung, project: Path, tmp_path: Path) -> None:
    (project / "dep").mkdir()
    (project / "dep/package.json").write_text('{"name": "dep", "version": "1.0.0"}')
    (project / "package.json").write_text('{"name": "it", "version": "1.0.0", "dependencies": {"dep": "file:dep"}}')
    environ = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    plan = profile("build").equip(Plan.workspace_write(project, environ=environ), str(tmp_path / "caches"))
    with executor(replace(plan, limits=replace(plan.limits, timeout_s=60)), rung) as running:
        done = running.run(["npm", "install", "--offline", "--no-audit", "--no-fund"])
    assert done.exit_status == 0, done.stderr
    assert (project / "node_modules/dep/package.json").exists()
    assert os.listdir(Path(plan.caches[0]) / "npm")  # noqa: PTH208 -- read once


def test_what_is_said_of_names_is_what_is_done() -> None:
    on_a, on_b = dict(names_by_protection(Rung.A)), dict(names_by_protection(Rung.B))
    assert set(on_a) == {"prevented", "detected, not prevented"}
    assert set(on_b) == {"detected, not prevented"}
    for name in (*shipped_names().held, ".git/hooks"):
        assert name in on_a["prevented"]
        assert name in on_b["detected, not prevented"]
