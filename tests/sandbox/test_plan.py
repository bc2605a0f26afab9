"""Plans: what they grant by themselves, what they refuse, and toolchains without their credentials."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from localgpt.sandbox import Executor, Plan, Rung, faults
from localgpt.sandbox.grants import landlock_grants
from localgpt.sandbox.plan import check_runtime, closed_to_others
from localgpt.sandbox.toolchains import find_toolchains, is_inside, python_roots, search_path, venv_base
from tests.sandbox.world import executor


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with four toolchains, laid out as their installers do, and credentials beside them."""
    home = tmp_path / "home"
    files = {
        ".pyenv/versions/3.12.0/bin/tool-pyenv": "pyenv",
        ".pyenv/shims/shim": "shim",
        ".nvm/versions/node/v20/bin/tool-nvm": "nvm",
        ".cargo/bin/tool-cargo": "cargo",
        ".rustup/toolchains/stable/bin/rustc": "rustc",
        ".local/share/uv/python/cpython-3.13/bin/tool-uv": "uv",
        ".local/bin/tool-local": "local",
    }
    for path, word in files.items():
        tool = home / path
        tool.parent.mkdir(parents=True, exist_ok=True)
        tool.write_text(f"#!/bin/sh\necho {word}\n")
        tool.chmod(0o755)
    for path in (
        ".cargo/credentials.toml",
        ".ssh/id_rsa",
        ".aws/credentials",
        ".local/share/uv/credentials/token",
        ".netrc",
    ):
        secret = home / path
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_text("canary")
    return home


def tools_path(home: Path) -> str:
    folders = (
        ".pyenv/versions/3.12.0/bin", ".nvm/versions/node/v20/bin", ".cargo/bin",
        ".local/share/uv/python/cpython-3.13/bin", ".local/bin", ".secret/bin",
    )  # fmt: skip
    return ":".join([*(str(home / folder) for folder in folders), "relative", "/usr/bin", "/bin"])


@pytest.mark.parametrize("rung", list(Rung))
def test_toolchains_run_and_their_credentials_do_not_leak(rung: Rung, home: Path, tmp_path: Path) -> None:
    project = home / "work"
    project.mkdir()
    plan = Plan.workspace_write(project, environ={"HOME": str(home), "PATH": tools_path(home)})
    with executor(plan, rung) as running:
        for name in ("pyenv", "nvm", "cargo", "uv", "local"):
            assert running.run([f"tool-{name}"]).stdout == f"{name}\n".encode()
        for secret in (
            ".cargo/credentials.toml",
            ".ssh/id_rsa",
            ".aws/credentials",
            ".local/share/uv/credentials/token",
        ):
            assert running.run(["cat", str(home / secret)]).exit_status != 0
        assert running.run(["sh", "-c", f"echo x > {home}/.cargo/bin/tool-cargo"]).exit_status != 0
        assert running.run(["sh", "-c", "echo $RUSTUP_HOME"]).stdout == f"{home}/.rustup\n".encode()


def test_a_linked_toolchain_is_found_where_programs_look(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (home / ".nvm" / "versions").rename(elsewhere)
    (home / ".nvm" / "versions").symlink_to(elsewhere)
    found = find_toolchains(str(home))
    assert str(elsewhere) in found.roots
    assert (str(home / ".nvm" / "versions"), str(elsewhere)) in found.links


def test_a_toolchain_that_leads_to_secrets_is_left_out(home: Path) -> None:
    (home / ".bun").mkdir()
    (home / ".bun" / "bin").symlink_to(home / ".ssh")
    (home / ".deno").symlink_to(home)
    (home / "bin").mkdir()
    roots = find_toolchains(str(home)).roots
    assert not any(is_inside(str(home / ".ssh" / "id_rsa"), root) for root in roots)
    assert str(home) not in roots


def test_the_path_keeps_only_what_a_command_can_see(home: Path) -> None:
    path = search_path({"PATH": tools_path(home)}, ("/usr", str(home / ".cargo" / "bin"))).split(":")
    assert str(home / ".cargo/bin") in path
    assert str(home / ".secret/bin") not in path
    assert "relative" not in path
    assert path[0] == str(home / ".cargo/bin")


def test_the_base_of_a_venv_must_be_a_python(home: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".venv").mkdir(parents=True)
    base = tmp_path / "python"
    (base / "bin").mkdir(parents=True)
    (project / ".venv" / "pyvenv.cfg").write_text(f"home = {base}/bin\n")
    assert venv_base(str(project)) == str(base)
    assert python_roots(str(base), str(home)) == ()
    (base / "lib" / "python3.12").mkdir(parents=True)
    (base / "lib" / "python3.12" / "os.py").write_text("")
    assert python_roots(str(base), str(home)) == (str(base / "bin"), str(base / "lib"))
    (home / "lib" / "python3.12").mkdir(parents=True)
    (home / "lib" / "python3.12" / "os.py").write_text("")
    assert python_roots(str(home), str(home)) == ()


def python_in(base: Path) -> Path:
    """A folder that looks like an installation of Python."""
    (base / "bin").mkdir(parents=True)
    (base / "lib/python3.12").mkdir(parents=True)
    (base / "lib/python3.12/os.py").write_text("")
    return base


def venv_of(project: Path, home_line: str) -> Path:
    (project / ".venv").mkdir(parents=True)
    (project / ".venv/pyvenv.cfg").write_text(f"home = {home_line}\n")
    return project


def test_a_hostile_venv_opens_nothing(home: Path) -> None:
    """An interpreter inside the project, whose parts are links to what somebody wants to read."""
    (home / "Documents").mkdir()
    base = python_in(home / "work/py")
    (base / "share").symlink_to(home / "Documents")
    project = venv_of(home / "work", f"{base}/bin")
    assert venv_base(str(project)) is None
    for make in (Plan.workspace_write, Plan.read_only):
        plan = make(project, environ={"HOME": str(home)})
        assert not any(is_inside(str(home / "Documents"), root) for root in plan.read_roots)
        with Executor(plan) as running:  # a root behind a link would refuse everything
            assert running.run(["true"]).exit_status == 0


@pytest.mark.parametrize("target", ["Documents", ".ssh", "."])
def test_linked_parts_of_a_python_are_left_out(home: Path, tmp_path: Path, target: str) -> None:
    (home / "Documents").mkdir()
    base = python_in(tmp_path / "python")
    (base / "share").symlink_to(home / target)
    assert python_roots(str(base), str(home)) == (str(base / "bin"), str(base / "lib"))


@pytest.mark.parametrize("line", ["relative/bin", "/\0/bin", "/", "PROJECT/bin", "PROJECT/.venv/bin", "ABOVE/bin"])
def test_odd_homes_of_a_venv_are_ignored(tmp_path: Path, line: str) -> None:
    project = tmp_path / "project"
    venv_of(project, line.replace("PROJECT", str(project)).replace("ABOVE", str(tmp_path)))
    assert venv_base(str(project)) is None
    Plan.workspace_write(project)


@pytest.mark.parametrize("root", [".", ".ssh", ".cargo"])
def test_roots_with_secrets_are_refused(home: Path, root: str) -> None:
    with pytest.raises(faults.RootHoldsSecrets) as caught:
        Plan.workspace_write(home / root, environ={"HOME": str(home)})
    assert caught.value.cure
    (home / "work").mkdir()
    with pytest.raises(faults.RootHoldsSecrets):
        Plan.read_only(home / "work", read=[home / root], environ={"HOME": str(home)})


def test_denying_the_secrets_makes_a_root_acceptable(home: Path) -> None:
    plan = Plan.workspace_write(home / ".cargo", denied=[home / ".cargo/credentials.toml"], environ={"HOME": str(home)})
    assert str(home / ".cargo/credentials.toml") in plan.denied


def test_paths_must_be_absolute_and_there(tmp_path: Path) -> None:
    with pytest.raises(faults.RelativeRoot):
        Plan.workspace_write("relative")
    with pytest.raises(faults.RelativeRoot):
        Plan.workspace_write(tmp_path, read=["../x"])
    with pytest.raises(faults.MissingRoot):
        Plan.workspace_write(tmp_path / "missing")
    with pytest.raises(faults.RelativeRoot):
        Plan(cwd="/usr/../etc", read_roots=("/usr",), write_roots=())
    with pytest.raises(faults.PlanInvalid):
        Plan(cwd="/elsewhere", read_roots=("/usr",), write_roots=())


def test_links_are_resolved_once(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    plan = Plan.workspace_write(tmp_path / "link")
    assert plan.cwd == str(tmp_path / "real")
    assert plan.write_roots == (str(tmp_path / "real"),)


def test_the_runtime_may_not_be_rewritten(tmp_path: Path) -> None:
    import localgpt

    source = Path(localgpt.__file__).resolve().parents[1]
    with pytest.raises(faults.RuntimeInsideWriteRoot) as caught:
        check_runtime(Plan(cwd=str(source), read_roots=(), write_roots=(str(source),)))
    assert caught.value.cure
    check_runtime(Plan(cwd=str(source), read_roots=(str(source),), write_roots=()))


def test_grants_go_around_what_is_denied(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a" / "deep").mkdir(parents=True)
    (root / "b").mkdir()
    (root / "a" / "deep" / "key").write_text("canary")
    (root / "a" / "open").write_text("x")
    plan = Plan(cwd=str(root), read_roots=(str(root),), write_roots=(), denied=(str(root / "a/deep/key"),))
    granted = {os.fsdecode(path): rights for path, rights in landlock_grants(plan, str(tmp_path))}
    readable = {path for path, rights in granted.items() if rights & 4}
    assert readable == {str(root / "a/open"), str(root / "b"), str(tmp_path)}


def test_what_the_mode_denies_needs_no_detour(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads every mode")
    plan = Plan(cwd="/etc", read_roots=("/etc",), write_roots=(), denied=("/etc/shadow",))
    assert [path for path, _ in landlock_grants(plan, str(tmp_path))] == [b"/etc", os.fsencode(tmp_path)]
    assert not Path("/etc/shadow").stat().st_mode & stat.S_IROTH


def test_what_is_closed_to_others_is_found(tmp_path: Path) -> None:
    for name in ("open", "closed", "a/b/closed", "a/b/c/too-deep", "private/inside"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644 if name == "open" else 0o640)
    (tmp_path / "private").chmod(0o700)
    (tmp_path / "link").symlink_to("closed")
    for folder in ("a", "a/b", "a/b/c"):
        (tmp_path / folder).chmod(0o755)
    found = {Path(path).relative_to(tmp_path).as_posix() for path in closed_to_others(str(tmp_path))}
    assert found == {"closed", "a/b/closed", "private"}


@pytest.mark.parametrize("rung", list(Rung))
def test_root_reads_no_file_of_etc_that_is_closed_to_others(rung: Rung, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the modes do it")
    closed = closed_to_others("/etc")
    (tmp_path / "project").mkdir()
    with executor(Plan.workspace_write(tmp_path / "project"), rung) as running:
        for path in closed:
            if Path(path).is_file() and Path(path).stat().st_size:
                assert running.run(["cat", path]).stdout == b"", path
        assert running.run(["cat", "/etc/passwd"]).exit_status == 0


def test_system_secrets_are_denied_even_to_root(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    plan = Plan.workspace_write(tmp_path / "project")
    assert "/etc/shadow" in plan.denied
    with Executor(plan) as running:
        assert running.run(["cat", "/etc/shadow"]).exit_status != 0
        assert running.run(["cat", "/etc/passwd"]).exit_status == 0
