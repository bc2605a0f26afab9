"""What a session's commands reach: one list of secrets, no folder that opens more, never a lower rung than proven."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.monitor.confinement import Confinement
from localgpt.monitor.events import Answer, Choice
from localgpt.policy.builtin import builtin_policy
from localgpt.sandbox import Rung
from localgpt.sandbox.faults import PlanInvalid, RootHoldsSecrets, RootNotGrantable
from localgpt.sandbox.toolchains import SECRET_STORES, is_inside
from localgpt.wire import ToolOutcome
from tests.monitor.desk import Desk

GIT = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
SECRETS = (
    ".config/op/token",
    ".config/rclone/rclone.conf",
    ".config/BraveSoftware/profile",
    ".pgpass",
    ".my.cnf",
    ".bash_history",
)


@pytest.fixture(params=list(Rung))
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    for name in SECRETS:
        secret = tmp_path / "home" / name
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_text(f"CANARY {name}\n")
    (tmp_path / "home/.config/harmless.conf").write_text("CANARY harmless\n")
    opened = Desk(tmp_path, rung=request.param)
    yield opened
    opened.close()


def run(confinement: Confinement, command: str, *, read: tuple[str, ...] = (), write: tuple[str, ...] = ()) -> str:
    with confinement.executor(read, write) as executor:
        done = executor.run(["/bin/sh", "-c", command])
    return (done.stdout + done.stderr).decode()


def test_an_approved_folder_does_not_open_the_secrets_in_it(desk: Desk):
    folder = str(desk.home / ".config")
    text = run(desk.confinement, f"grep -r CANARY {folder} {folder}/harmless.conf", read=(folder,))
    assert {line for line in text.splitlines() if "CANARY" in line} == {f"{folder}/harmless.conf:CANARY harmless"}
    desk.user.answers = [Answer(Choice.ONCE)]
    result = desk.call("search_text", path=folder, pattern="CANARY")
    assert "harmless" in result.text or desk.confinement.rung == "B"  # where a folder with a denied one is not listed
    assert "rclone" not in result.text


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_itself_cannot_be_added(desk: Desk, name: str):
    with pytest.raises(RootHoldsSecrets), desk.confinement.executor((str(desk.home / name),), ()):
        pass


@pytest.mark.parametrize("root", ["/", "/proc", "/proc/self", "/sys/kernel", "/dev/shm", "/run", "HOME", "HOME/.."])
def test_folders_of_the_kernel_and_the_home_cannot_be_added(desk: Desk, root: str):
    path = root.replace("HOME", str(desk.home))
    for read, write in (((path,), ()), ((), (path,))):
        with pytest.raises(RootNotGrantable) as caught, desk.confinement.executor(read, write):
            pass
        assert caught.value.cure


def test_a_folder_to_write_holds_nothing_that_others_run_or_believe(desk: Desk):
    for name in (".config", ".local", ".local/share", ".local/bin", ".config/autostart"):
        (desk.home / name).mkdir(parents=True, exist_ok=True)
        with pytest.raises(PlanInvalid), desk.confinement.executor((), (str(desk.home / name),)):
            pass
    (desk.home / "other").mkdir()
    run(desk.confinement, f"echo x > {desk.home}/other/file", write=(str(desk.home / "other"),))
    assert (desk.home / "other/file").read_text() == "x\n"


def test_a_refused_folder_is_an_answer(desk: Desk):
    desk.user.answers = [Answer(Choice.ONCE)] * 2
    assert desk.call("search_text", path="/proc/self", pattern="x").outcome is not ToolOutcome.DONE
    assert desk.call("search_text", path=str(desk.home), pattern="x").outcome is not ToolOutcome.DONE


def test_the_sandbox_knows_no_store_of_credentials_that_the_policy_does_not():
    known = builtin_policy().table.home_secret
    missing = [s for s in SECRET_STORES if not any(is_inside(s, each) for each in known) and s != ".config/localgpt"]
    assert missing == [".local/share/uv/credentials"]


def git(*words: str, folder: Path) -> None:
    done = subprocess.run(["git", "-C", str(folder), *words], env=GIT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=list(Rung))
def cloned(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """A desk whose project is a real repository with editor settings."""
    project = tmp_path / "home" / "work"
    for name in (".vscode/tasks.json", ".claude/settings.json", ".husky/pre-commit", ".envrc", ".mcp.json"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("mine\n")
    (tmp_path / "home" / ".gitconfig").write_text("")
    git("init", "-q", ".", folder=project)
    (project / ".git/hooks").mkdir(exist_ok=True)
    opened = Desk(tmp_path, rung=request.param)
    yield opened
    opened.close()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commands_cannot_change_what_others_run(cloned: Desk):
    work = cloned.project
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    for attempt in (
        "echo evil > .git/hooks/pre-commit",
        "printf '[core]\\n\\tfsmonitor = evil\\n' >> .git/config",
        "echo evil > x && mv -f x .git/config",
        "mv .git old && cp -r old .git && echo evil > .git/hooks/pre-commit",
        "mv .git/hooks .git/other",
        "rm -rf .vscode; mkdir -p .vscode; echo evil > .vscode/tasks.json",
        "mv .claude c && mkdir .claude && echo evil > .claude/settings.json",
        "rm .envrc; echo evil > .envrc",
        "ln -f .vscode/tasks.json y && echo evil > y",
        "echo evil >> .mcp.json; chmod 777 .mcp.json",
        "echo evil > .husky/pre-commit; rm -rf .husky",
    ):
        run(cloned.confinement, attempt)
    assert {path: path.read_bytes() for path in before if path.exists()} == before
    assert not (work / ".git/hooks/pre-commit").exists()
    warnings = cloned.confinement.warnings()
    assert any("while a command runs" in warning for warning in warnings) == (cloned.confinement.rung == "B")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_works_inside(cloned: Desk):
    text = run(
        cloned.confinement,
        "set -e; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@localhost GIT_COMMITTER_NAME=a;"
        "export GIT_COMMITTER_EMAIL=a@localhost;"
        "echo 1 > file; git add file; git commit -qm one; git checkout -qb other; echo 2 > file; git commit -qam two;"
        "git stash list; git checkout -q -; cat file; git merge -q other; git tag x; git gc -q;"
        "mkdir fresh; cd fresh; git init -q .; echo 3 > f; git add f; git commit -qm three; git log --oneline | wc -l",
    )
    assert text.split() == ["1", "1"], text


@pytest.mark.parametrize(
    "change",
    [
        "echo TOKEN=planted > .env.tmp && mv .env.tmp .env",
        "mkdir -p a/b/c/d/e && echo TOKEN=planted > a/b/c/d/e/.env",
    ],
)
def test_a_secret_that_appears_later_is_hidden_from_the_next_command(desk: Desk, change: str):
    if desk.confinement.rung != "A":
        pytest.skip("nothing can be hidden inside a write root without namespaces")
    (desk.project / ".env").write_text("TOKEN=before")
    assert "before" not in run(desk.confinement, "cat .env")
    subprocess.run(["/bin/sh", "-c", change], cwd=desk.project, check=True)
    assert "planted" not in run(desk.confinement, "cat .env; grep -r TOKEN= .")
    assert desk.confinement.rung == "A"


def test_the_executor_stays_while_nothing_changes(desk: Desk):
    (desk.project / ".env").write_text("TOKEN=before")
    with desk.confinement.executor() as first:
        pass
    (desk.project / "other").write_text("x")
    with desk.confinement.executor() as second:
        assert first is second


def test_on_rung_b_a_secret_that_appears_later_is_named(desk: Desk):
    if desk.confinement.rung != "B":
        pytest.skip("it is hidden")
    assert desk.confinement.warnings() == ()
    (desk.project / ".env").write_text("TOKEN=before")
    assert run(desk.confinement, "echo ok") == "ok\n"
    (warning,) = desk.confinement.warnings()
    assert ".env" in warning


def test_a_project_too_large_to_be_searched_is_named(desk: Desk):
    deep = desk.project / Path("/".join("abcdefghijkl"))
    deep.mkdir(parents=True)
    run(desk.confinement, "true")
    assert any("too large" in warning for warning in desk.confinement.warnings())


def configured(tmp_path: Path, text: str, **options: object) -> Iterator[Desk]:
    opened = Desk(tmp_path, config=text, **options)  # type: ignore[arg-type]
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize("level", ["auto", "full", "standard", "minimal"])
@pytest.mark.parametrize("rung", list(Rung))
def test_level_full_is_rung_a_or_nothing(tmp_path: Path, level: str, rung: Rung):
    for opened in configured(tmp_path, f'[sandbox]\nlevel = "{level}"\n', rung=rung):
        if level == "full" and rung is Rung.B:
            assert "rung A" in opened.confinement.effects_off
            assert opened.call("shell", command="true").outcome is ToolOutcome.DENIED
        else:
            assert opened.confinement.effects_off == ""


def test_allow_paths_become_roots(tmp_path: Path):
    for name in ("data", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "data/x").write_text("given\n")
    text = f'[sandbox]\nallow_paths = {{ read = ["{tmp_path}/data"], write = ["{tmp_path}/out"] }}\n'
    for opened in configured(tmp_path, text):
        command = f"cat {tmp_path}/data/x; echo x > {tmp_path}/data/y; echo x > {tmp_path}/out/y"
        assert "given" in run(opened.confinement, command)
        assert not (tmp_path / "data/y").exists()
        assert (tmp_path / "out/y").read_text() == "x\n"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"y"}


def test_the_build_profile_has_caches_of_the_project(tmp_path: Path):
    for opened in configured(tmp_path, '[sandbox]\nprofile = "build"\n'):
        (tmp_path / "home/.cache").mkdir(exist_ok=True)
        text = run(opened.confinement, "echo x > $PIP_CACHE_DIR/x; echo $PIP_CACHE_DIR; echo x > ~/.cache/y")
        place = Path(text.splitlines()[0])
        assert place.is_relative_to(opened.paths.cache_dir / "build")
        assert (place / "x").read_text() == "x\n"
        assert not (tmp_path / "home/.cache/y").exists()


def test_an_untrusted_project_is_read_only_whatever_the_profile(tmp_path: Path):
    for opened in configured(tmp_path, '[sandbox]\nprofile = "build"\n', trusted=False):
        run(opened.confinement, "echo x > x")
        assert not (opened.project / "x").exists()


def test_what_a_command_left_is_told_and_logged(desk: Desk):
    result = desk.call("shell", command="mkdir sub; echo evil > sub/.envrc; echo all: > Makefile")
    assert "put away" in result.text
    assert "Makefile" in result.text
    changes = {(entry["action"], Path(str(entry["path"])).name) for entry in desk.entries("file.change")}
    assert changes == {("put-away", ".envrc"), ("executed-later", "Makefile")}
    assert "put away" not in desk.call("shell", command="true").text


RULES = b"""# P

```toml policy
[[deny]]
read = ["**/customers/**", "plain.txt"]
[[deny]]
write = ["migrations/**", "**/*.lock", "later.txt"]
```
"""


@pytest.fixture(params=list(Rung))
def ruled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    project = tmp_path / "home/work"
    for name in ("a/customers/list.csv", "plain.txt", "migrations/1.sql", "deep/er/x.LOCK", "deep/er/free"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("CANARY\n")
    opened = Desk(tmp_path, document=RULES, rung=request.param)
    yield opened
    opened.close()


def test_what_the_users_rules_deny_holds_for_commands(ruled: Desk):
    text = run(ruled.confinement, "cat a/customers/list.csv plain.txt; grep -r CANARY .")
    if ruled.confinement.rung == "A":
        assert {line.partition(":")[0] for line in text.splitlines() if line.endswith(":CANARY")} == {
            "./migrations/1.sql", "./deep/er/x.LOCK", "./deep/er/free"
        }  # fmt: skip
    else:
        assert any("customers" in warning for warning in ruled.confinement.warnings())
    for name in ("migrations/1.sql", "migrations/2.sql", "deep/er/x.LOCK", "later.txt", "deep/er/free"):
        run(ruled.confinement, f"echo evil > {name}")
    run(ruled.confinement, "mv migrations m; mkdir migrations; echo evil > migrations/1.sql")
    assert (ruled.project / "migrations/1.sql").read_text() == "CANARY\n"
    assert (ruled.project / "deep/er/x.LOCK").read_text() == "CANARY\n"
    assert (ruled.project / "deep/er/free").read_text() == "evil\n"
    assert not (ruled.project / "migrations/2.sql").exists()
    assert not (ruled.project / "later.txt").exists()


def test_a_rule_that_is_signed_later_holds_from_the_next_command(desk: Desk):
    (desk.project / "new.txt").write_text("CANARY\n")
    assert "CANARY" in run(desk.confinement, "cat new.txt")
    desk.paths.policy_document.write_bytes(b'# P\n\n```toml policy\n[[deny]]\nwrite = ["new.txt"]\n```\n')
    desk.store.sign()
    desk.guard.refresh()
    run(desk.confinement, "echo evil > new.txt")
    assert (desk.project / "new.txt").read_text() == "CANARY\n"
