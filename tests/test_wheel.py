"""What is released: the wheel is the same bytes wherever it is built, holds the data it needs, installs as a tool, and
its bill of materials names every locked dependency."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from scripts import build, sbom

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The commit's wheel, built twice."""
    if not (CHECKOUT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout: there is no commit to build")
    return build.reproducible_wheel(tmp_path_factory.mktemp("wheel"))


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def committed(folder: str) -> set[str]:
    return set(build.git("ls-tree", "-r", "--name-only", "HEAD", folder).decode().splitlines())


def test_two_builds_differ_only_when_the_source_does(wheel, tmp_path):
    """The fixture has compared two builds; one that is made from other files must not compare equal."""
    source = tmp_path / "changed"
    source.mkdir()
    build.export(source)
    (source / "src/localgpt/__init__.py").open("a").write("\n# changed\n")
    assert build.build(source, tmp_path / "out", build.FIRST).read_bytes() != wheel.read_bytes()


@pytest.mark.parametrize("folder", ["policies", "sandbox"])
def test_data_is_in_the_wheel(wheel, folder):
    expected = {f"localgpt/data/{name}" for name in committed(folder)}
    assert expected
    assert expected - members(wheel) == set()


def test_code_is_in_the_wheel_and_nothing_else_of_the_checkout(wheel):
    code = {name.removeprefix("src/") for name in committed("src")}
    others = {name for name in members(wheel) - code if not name.startswith("localgpt/data/")}
    assert code - members(wheel) == set()
    assert {name.split("/")[0] for name in others} == {f"localgpt_agent-{sbom.version()}.dist-info"}


def test_metadata_names_the_distribution_and_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        info = f"localgpt_agent-{sbom.version()}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert "\nName: localgpt-agent\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "localgpt = localgpt.__main__:main" in entry_points


@pytest.mark.e2e
def test_uv_tool_install_gives_a_working_command(wheel, tmp_path):
    """`uv tool install WHEEL`, with the dependencies that are locked here as the only ones it may choose."""
    uv = Path(sys.prefix) / "bin/uv"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "XDG_", "PYTHON"))}
    place = {"HOME": tmp_path, "UV_TOOL_DIR": tmp_path / "tools", "UV_TOOL_BIN_DIR": tmp_path / "bin"}
    environment = kept | {name: str(value) for name, value in place.items()} | {"UV_CACHE_DIR": str(tmp_path / "cache")}
    constraint = CHECKOUT / "requirements/core.txt"
    argv = [uv, "tool", "install", "--quiet", "--python", sys.executable, "--constraints", constraint, wheel]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    if re.search(r"error sending request|Failed to fetch|dns error", done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    shown = subprocess.run([tmp_path / "bin/localgpt", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"localgpt {sbom.version()}\n"
    data = next((tmp_path / "tools").rglob("localgpt/data"))
    assert {each.name for each in data.iterdir()} >= {"policies", "sandbox", "claims.toml"}


@pytest.mark.nightly
@pytest.mark.e2e
def test_pipx_install_gives_a_working_command(wheel, tmp_path):
    """`pipx install WHEEL`, with the locked dependencies as the only ones it may choose."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIPX_", "XDG_", "PYTHON"))}
    place = {"HOME": tmp_path, "PIPX_HOME": tmp_path / "pipx", "PIPX_BIN_DIR": tmp_path / "bin"}
    constraint = tmp_path / "constraint.txt"  # a constraint may not carry hashes beside a wheel that has none
    locked = (CHECKOUT / "requirements/core.txt").read_text()
    constraint.write_text("".join(f"{pin}\n" for pin in re.findall(r"^[a-z0-9._-]+==[^ \\;]+", locked, re.MULTILINE)))
    environment = kept | {name: str(value) for name, value in place.items()} | {"PIP_CONSTRAINT": str(constraint)}
    uv = Path(sys.prefix) / "bin/uv"
    argv = [uv, "tool", "run", "pipx", "install", "--python", sys.executable, wheel]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    if re.search(r"error sending request|Failed to fetch|dns error", done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    shown = subprocess.run([tmp_path / "bin/localgpt", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"localgpt {sbom.version()}\n"


@pytest.fixture(scope="module")
def bill() -> bytes:
    return sbom.bill_of_materials()


class TestBillOfMaterials:
    def test_is_valid_cyclonedx(self, bill):
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.decode()) is None

    def test_is_the_same_bytes_every_time(self, bill):
        assert sbom.bill_of_materials() == bill

    def test_names_every_locked_package_with_its_hashes(self, bill):
        locked = re.findall(r"^([a-z0-9-]+)==([^ ]+) ", sbom.LOCKED.read_text(), re.MULTILINE)
        components = {(each["name"], each["version"]): each for each in json.loads(bill)["components"]}
        assert set(locked) == set(components)
        assert all(each["externalReferences"][0]["hashes"] for each in components.values())

    def test_root_depends_on_all(self, bill):
        document = json.loads(bill)
        (root,) = (each for each in document["dependencies"] if "dependsOn" in each)
        assert document["metadata"]["component"]["version"] == sbom.version()
        assert len(root["dependsOn"]) == len(document["components"])

    def test_empty_requirements_are_refused(self, tmp_path):
        (tmp_path / "empty.txt").touch()
        with pytest.raises(sbom.Incomplete):
            sbom.bill_of_materials(tmp_path / "empty.txt")
