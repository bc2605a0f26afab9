"""Toolchains under an ordinary user's home, used by commands on both rungs; see `homes` for the layout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import localgpt
from localgpt.sandbox import Rung

ORDINARY = 1000
PYTHON = "/usr/bin/python3"
Said = dict[str, tuple[int, str]]

pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason="needs the system's Python")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home outside of /tmp, of which commands have one of their own, with the program where its owner can read it."""
    with tempfile.TemporaryDirectory(prefix="localgpt-home-", dir=_outside_tmp()) as folder:
        base = Path(folder).resolve()
        package = Path(localgpt.__file__).parent
        target = base / "program/src/localgpt"
        target.mkdir(parents=True)
        for name in ("__init__.py", "errors.py"):
            shutil.copy(package / name, target / name)
        shutil.copytree(package / "sandbox", target / "sandbox", ignore=shutil.ignore_patterns("*.pyc"))
        shutil.copytree(
            package.parents[1] / "sandbox", base / "program/sandbox", ignore=shutil.ignore_patterns("*.pyc")
        )
        shutil.copy(Path(__file__).with_name("homes.py"), base / "homes.py")
        owned = base / "home"
        owned.mkdir()
        _put_real_tools(owned)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{ORDINARY}:{ORDINARY}", str(owned)], check=True)
            base.chmod(0o755)
        yield owned


def _outside_tmp() -> str:
    return "/var/lib" if os.geteuid() == 0 else str(Path.home())


def _put_real_tools(home: Path) -> None:
    """The real pyenv and the real uv where there are some: they are scripts and one program."""
    real = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "libexec"
    if (real / "pyenv").exists():
        shutil.copytree(real, home / ".pyenv/libexec")
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        (home / ".local/bin").mkdir(parents=True)
        shutil.copy(uv, home / ".local/bin/uv")


@pytest.fixture(scope="module")
def said(home: Path) -> dict[str, Said | None]:
    user: dict[str, int | list[int]] = {}
    if os.geteuid() == 0:
        user = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}
    done = subprocess.run(
        [PYTHON, "-B", str(home.parent / "homes.py"), str(home)],
        cwd="/",
        env={"PYTHONPATH": str(home.parent / "program/src"), "PATH": "/usr/bin:/bin", "HOME": str(home)},
        capture_output=True,
        timeout=300,
        check=False,
        **user,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(params=list(Rung), ids=lambda rung: f"rung{rung}")
def on_rung(request: pytest.FixtureRequest, said: dict[str, Said | None]) -> Said:
    found = said[request.param.value]
    if found is None:
        pytest.skip(f"this host does not reach rung {request.param} as an ordinary user")
    assert "start" not in found, found
    return found


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("pyenv", "HOME/.pyenv/versions/3.11.0/bin/python\n"),
        ("nvm", "42\n"),
        ("cargo", "cargo in HOME/caches/"),
        ("uv", "True\n"),
        ("uv itself", "Python 3."),
        ("identity", "A User user@example.invalid\n"),
        ("caches", "HOME/caches/"),
    ],
)
def test_toolchains_work(on_rung: Said, home: Path, command: str, expected: str) -> None:
    status, text = on_rung[command]
    assert status == 0, text
    assert text.startswith(expected.replace("HOME", str(home)))


def test_nothing_secret_is_read(on_rung: Said) -> None:
    assert "CANARY" not in on_rung["secrets"][1]
    assert "helper" not in on_rung["secrets"][1]
    assert "id_ed25519" not in on_rung["list the home"][1]


def test_git_gets_who_commits_and_nothing_that_executes(on_rung: Said) -> None:
    assert on_rung["git settings"][1].splitlines() == [
        "core.autocrlf=input",
        "safe.directory=*",
        "user.email=user@example.invalid",
        "user.name=A User",
    ]


def test_nothing_of_the_home_is_written(on_rung: Said, home: Path) -> None:
    written = {name: result for name, result in on_rung.items() if name.startswith("write ")}
    assert len(written) == 7
    for name, (status, _) in written.items():
        assert status != 0 or not (home / name.removeprefix("write ")).exists()
    assert all(path.is_relative_to(home / "caches") for path in home.rglob("x") if path.is_file())
