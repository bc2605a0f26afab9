"""Commands that make or change what other programs obey: prevented by mounts, or undone before their result is back."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.sandbox.world import executor

from localgpt.sandbox import Executor, Limits, Plan, Rung, kernel, watch
from localgpt.sandbox.aftermath import Left
from localgpt.sandbox.copies import SUFFIX
from localgpt.sandbox.running import Completed

GIT = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
ROOT_NAMES = (
    ".envrc", ".mcp.json", ".vscode/tasks.json", ".idea/workspace.xml", ".husky/pre-commit", ".claude/settings.json",
    "LocalGPT.md", "POLICY.md", ".localgpt_manifest.json", "IDENTITY.md", ".bashrc", "sitecustomize.py",
    ".git/hooks/pre-commit",
)  # fmt: skip
MAPPED = 'import mmap; f = open("sub/.envrc", "r+b"); m = mmap.mmap(f.fileno(), 0); f.close(); m[:4] = b"evil"'
LINKED = "mkdir -p n w; git init -q --bare n/t; git -C n/t config core.fsmonitor evil; echo 'gitdir: ../n/t' > w/.git"
MADE = "mkdir -p e/objects e/refs; printf '[core]\\nfsmonitor = evil\\n' > e/config; echo 'ref: refs/heads/x' > e/HEAD"
WAIT = "touch {0}; while [ -e {0} ]; do sleep 0.02; done"

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *words: str) -> None:
    done = subprocess.run(["git", "-C", str(folder), *words], env=GIT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository without hooks, and without any other protected name, in which a smaller one lies."""
    project = tmp_path / "project"
    for folder in (project, project / "sub"):
        folder.mkdir()
        git(folder, "init", "-q", "--template=", ".")
    (project / "sub/.vscode").mkdir()
    (project / "sub/.vscode/tasks.json").write_text("mine\n")
    (project / "sub/.envrc").write_text("mine\n")
    (project / "file").write_text("x\n")
    return project


@pytest.fixture
def running(rung: Rung, repository: Path) -> Iterator[Executor]:
    with executor(Plan.workspace_write(repository, limits=Limits(timeout_s=20)), rung) as entered:
        yield entered


def sh(running: Executor, command: str) -> Completed:
    return running.run(["/bin/sh", "-c", command])


@pytest.fixture(params=list(Rung), ids=lambda rung: f"rung{rung}")
def rung(request: pytest.FixtureRequest) -> Rung:
    value = request.param
    assert isinstance(value, Rung)
    return value


@pytest.mark.parametrize("name", ROOT_NAMES)
def test_absent_names_cannot_be_made(running: Executor, repository: Path, name: str) -> None:
    """Each of these commands makes the file where there are no mounts; it is gone before the result is back."""
    made = 0
    for attempt in (
        f"mkdir -p $(dirname {name}); echo evil > {name}",
        f"rm -rf {name}; rmdir {name}; mkdir -p $(dirname {name}); echo evil > {name}",
        f"echo evil > x; mkdir -p $(dirname {name}); mv -f -T x {name}",
        f"mkdir -p $(dirname {name}); ln -s $PWD/file {name}",
        f"mkdir -p $(dirname {name}); ln -f file {name}",
        f"mkdir -p $(dirname {name}); mkfifo {name}",
    ):
        done = sh(running, f"{attempt}; if [ -f {name} ] || [ -L {name} ] || [ -p {name} ]; then echo MADE; fi")
        made += b"MADE" in done.stdout
        assert not os.path.lexists(repository / name) or (repository / name).is_dir()
    prevented = running.proof.rung is Rung.A and name not in {".bashrc", "sitecustomize.py"}
    assert made == (0 if prevented else 6)


def test_a_moved_folder_takes_no_protection_with_it(running: Executor, repository: Path) -> None:
    """`mv .git x; mkdir -p .git/hooks` walks around a protection of the inner folder alone."""
    before = (repository / ".git/config").read_bytes()
    done = sh(running, "mv .git x; mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit; echo evil > .git/config")
    assert (repository / ".git/config").read_bytes() == before
    assert not (repository / ".git/hooks/pre-commit").exists()
    assert bool(done.left.put_away) == (running.proof.rung is Rung.B)


@pytest.mark.parametrize(
    "name",
    [".envrc", ".vscode/settings.json", ".idea/x", ".mcp.json", ".bashrc", "deeper/.claude/settings.json", ".ENVRC",
     ".VsCode/x", ".env\u200brc", "LocalGPT.md"],
)  # fmt: skip
def test_deeper_names_are_put_away(running: Executor, repository: Path, name: str) -> None:
    done = sh(running, f"mkdir -p new/$(dirname {name}); echo evil > new/{name}; echo fine > new/fine")
    assert not (repository / "new" / name).exists()
    assert (repository / "new/fine").read_text() == "fine\n"
    (away,) = done.left.put_away
    found = Path(away + SUFFIX)
    assert found.read_text() == "evil\n" if found.is_file() else [p.read_text() for p in found.iterdir()] == ["evil\n"]
    assert sh(running, "true").left.put_away == ()


@pytest.mark.parametrize(
    "attempt",
    [
        "echo evil > sub/.envrc",
        "echo evil > x; mv -f x sub/.envrc",
        "rm sub/.envrc; mkdir sub/.envrc",
        "rm sub/.envrc; ln -s ../file sub/.envrc",
        "ln sub/.envrc y; echo evil > y; rm y",
        "rm sub/.envrc",
        "echo evil > sub/.envrc; touch -d @0 sub/.envrc; chmod 000 sub",
        "chmod 666 sub/.envrc",
        "echo evil > sub/.vscode/tasks.json; chmod 555 sub/.vscode sub",
        "rm -r sub/.vscode; mkdir sub/.vscode; echo evil > sub/.vscode/tasks.json",
        "mv sub/.vscode sub/v; cp -r sub/v sub/.vscode; echo evil > sub/.vscode/tasks.json",
        "truncate -s 0 sub/.envrc",
        f"python3 -c '{MAPPED}'",
        "exec 3<>sub/.envrc; (sleep 0.2; echo evil >&3) & sleep 0.1",
    ],
)
def test_deeper_files_are_put_back(running: Executor, repository: Path, attempt: str) -> None:
    done = sh(running, attempt)
    (repository / "sub").chmod(0o755)
    assert (repository / "sub/.envrc").read_text() == "mine\n"
    assert (repository / "sub/.vscode/tasks.json").read_text() == "mine\n"
    assert (repository / "sub/.envrc").stat().st_mode & 0o777 == 0o644
    assert done.left.restored or "sleep 0.1" in attempt
    assert not done.left.remaining


@pytest.mark.parametrize(
    ("attempt", "gone"),
    [
        ("git -C sub config core.fsmonitor evil", None),
        ("git -C sub config core.hooksPath ../h", None),
        ("git -C sub config include.path ../h", None),
        ("git -C sub config alias.st '!evil'", None),
        ("git -C sub remote add x 'ext::sh -c evil'", None),
        ("mkdir sub/.git/hooks; echo evil > sub/.git/hooks/pre-push; chmod +x sub/.git/hooks/*",
         "sub/.git/hooks/pre-push"),
        ("mkdir h; ln -s ../../h sub/.git/hooks", "sub/.git/hooks"),
        ("echo /elsewhere > sub/.git/commondir", "sub/.git/commondir"),
        ("git init -q --bare b; git -C b config core.fsmonitor evil", "b/config"),
        ("git init -q n; git -C n config core.sshCommand evil", "n/.git/config"),
        ("mkdir n; mv sub/.git n/g; git -C n/g config core.fsmonitor evil", "n/g/config"),
        (LINKED, "n/t/config"),
        ("mkdir w; echo 'gitdir: /etc' > w/.git", "w/.git"),
        ("mkdir w; echo 'gitdir: ../later' > w/.git", "w/.git"),
        ("mkdir w; ln -s ../sub/.git w/.git", "w/.git"),
        ("mkdir w; ln -s ../sub/.git w/.GIT", "w/.GIT"),
        (MADE, "e/config"),
        ("git -C sub config extensions.worktreeConfig true; git -C sub config --worktree core.fsmonitor evil",
         "sub/.git/config.worktree"),
        ("printf '[core' > sub/.git/config", None),
    ],
)  # fmt: skip
def test_git_obeys_nothing_that_a_command_wrote(
    running: Executor, repository: Path, attempt: str, gone: str | None
) -> None:
    before = (repository / "sub/.git/config").read_bytes()
    done = sh(running, attempt)
    assert done.left.put_away, done.stderr
    if gone is not None:
        assert not os.path.lexists(repository / gone), done.left
    if gone is None:
        assert (repository / "sub/.git/config").read_bytes() == before


@pytest.mark.parametrize("by", ["a command", "whoever made the project"])
def test_a_repository_is_completed_by_a_later_command(rung: Rung, repository: Path, by: str) -> None:
    """What git did not obey when it was written is judged when git would."""
    parts = "mkdir -p e/hooks; printf '[core]\\nfsmonitor = evil\\n' > e/config; echo evil > e/hooks/pre-commit"
    if by != "a command":
        subprocess.run(["/bin/sh", "-c", parts], cwd=repository, check=True)
    with executor(Plan.workspace_write(repository), rung) as running:
        if by == "a command":
            assert sh(running, parts).left.put_away == ()
        assert (repository / "e/config").exists()
        done = sh(running, "mkdir e/objects e/refs; echo 'ref: refs/heads/x' > e/HEAD")
        assert {Path(path).name for path in done.left.put_away} == {"config", "pre-commit"}


def test_what_git_itself_writes_stays(running: Executor, repository: Path) -> None:
    """Clones, worktrees and submodules of the usual kind work, and the user's own settings of a repository stay."""
    git(repository / "sub", "config", "core.fsmonitor", "mine")
    done = sh(
        running,
        "set -e; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@localhost GIT_COMMITTER_NAME=a;"
        "export GIT_COMMITTER_EMAIL=a@localhost; git init -q one; cd one; echo 1 > f; git add f; git commit -qm 1;"
        "git worktree add -q ../tree; git clone -q . ../two; cd ../two; git checkout -qb x;"
        "git branch -u origin/master;"
        "git -c protocol.file.allow=always submodule --quiet add $PWD/../one inner; git commit -qm 2; cd ..;"
        "git -C sub remote add origin https://example.invalid/x.git",
    )
    assert done.exit_status == 0, done.stderr
    assert done.left.put_away == ()
    for folder in ("one", "two", "tree", "two/inner"):
        git(repository / folder, "status")
    assert "fsmonitor" in (repository / "sub/.git/config").read_text()


def test_a_repository_may_be_made_in_a_project_without_one(rung: Rung, tmp_path: Path) -> None:
    project = tmp_path / "fresh"
    project.mkdir()
    later = [project / ".git/hooks", project / ".git/config"]  # what a policy may name before there is a repository
    with executor(Plan.workspace_write(project, protected=later), rung) as running:
        done = sh(running, "git init -q . && git config user.name A && git status")
        assert (done.exit_status, done.left.put_away) == (0, ()), done
        done = sh(running, "git config core.fsmonitor evil; echo evil > .git/hooks/pre-commit")
        assert {Path(path).name for path in done.left.put_away} == {"config", "pre-commit"}
        assert "A" in (project / ".git/config").read_text()
        done = sh(running, "rm -rf .git/hooks")
        assert done.exit_status == 0


def test_what_hides_behind_too_many_folders_is_said_to_be_unknown(
    rung: Rung, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_FOLDERS", 40)
    with executor(Plan.workspace_write(repository), rung) as running:
        assert sh(running, "echo > x").left.complete
        assert not sh(
            running, "mkdir -p m; cd m; for i in $(seq 60); do mkdir d$i; echo evil > d$i/.envrc; done"
        ).left.complete
        assert not running.looks_everywhere


def test_without_watches_everything_is_looked_through(
    rung: Rung, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This user's watches are used up, or the kernel has none."""

    def refused(name: str, *arguments: int | bytes) -> int:
        if name == "inotify_init1":
            raise OSError(24, "too many")
        return call(name, *arguments)

    call = kernel.call
    monkeypatch.setattr(kernel, "call", refused)
    with executor(Plan.workspace_write(repository), rung) as running:
        monkeypatch.undo()
        done = sh(
            running, "mkdir n; echo evil > n/.envrc; echo evil > sub/.envrc; touch -d @0 n n/.envrc; echo > Makefile"
        )
        assert set(done.left.put_away) == {str(repository / "n/.envrc"), str(repository / "sub/.envrc")}
        assert done.left.executed_later == (str(repository / "Makefile"),)
        assert sh(running, "git -C sub config core.fsmonitor evil").left.restored == (
            str(repository / "sub/.git/config"),
        )
        assert sh(running, "true").left == Left()


def test_a_folder_may_be_moved_with_what_it_holds(running: Executor, repository: Path) -> None:
    done = sh(running, "mv sub elsewhere")
    assert done.left.put_away == ()
    assert (repository / "elsewhere/.envrc").read_text() == "mine\n"
    assert sh(running, "echo evil > elsewhere/.envrc").left.restored


@pytest.mark.parametrize("other", ["serves", "starts", "starts above"])
def test_what_one_command_writes_is_not_put_back_by_another(rung: Rung, repository: Path, other: str) -> None:
    """The other session must not take it for the user's while it is there, and put it back when it is put away."""
    plan = Plan.workspace_write(repository)
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(2))
        stack.callback(shutil.rmtree, repository, ignore_errors=True)  # whoever waits for a file to go goes on
        first = stack.enter_context(executor(plan, rung))
        beside = stack.enter_context(executor(plan, rung)) if other == "serves" else None
        writing = threads.submit(sh, first, "mkdir n; echo evil | tee n/.envrc > sub/.envrc; " + WAIT.format("a"))
        until_there(repository / "a")
        if beside is None:
            folder = repository if other == "starts" else repository.parent
            beside = stack.enter_context(executor(Plan.workspace_write(folder), rung))
        watching = threads.submit(sh, beside, f"cd {repository}; " + WAIT.format("b"))
        until_there(repository / "b")
        (repository / "a").unlink()
        assert {Path(path).parent.name for path in writing.result().left.put_away} == {"n", "sub"}
        (repository / "b").unlink()
        watching.result()
        for running in (beside, first, beside):
            assert sh(running, "touch x").left == Left()
            assert not (repository / "n/.envrc").exists()
            assert (repository / "sub/.envrc").read_text() == "mine\n"
        (repository / "sub/.envrc").write_text("the user's\n")
        for running in (beside, first):
            assert sh(running, "touch x").left == Left()
            assert (repository / "sub/.envrc").read_text() == "the user's\n"


def until_there(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.005)


def test_what_is_too_large_to_be_put_back_is_put_away(rung: Rung, repository: Path) -> None:
    large = repository / "sub/.vscode/large.json"
    large.write_bytes(b"x" * 300_000)
    with executor(Plan.workspace_write(repository), rung) as running:
        assert sh(running, "touch sub/.vscode/large.json").left.put_away == ()
        done = sh(running, "printf y | dd of=sub/.vscode/large.json seek=299999 bs=1 conv=notrunc 2>/dev/null")
    assert done.left.put_away == (str(large),)
    assert not large.exists()


def test_what_the_user_changes_between_commands_is_the_users(running: Executor, repository: Path) -> None:
    (repository / "sub/.envrc").write_text("changed\n")
    (repository / "new").mkdir()
    (repository / "new/.envrc").write_text("new\n")
    assert sh(running, "true").left.put_away == ()
    sh(running, "echo evil | tee sub/.envrc > new/.envrc")
    assert (repository / "sub/.envrc").read_text() == "changed\n"
    assert (repository / "new/.envrc").read_text() == "new\n"


def test_a_flood_of_changes_hides_nothing(running: Executor, repository: Path) -> None:
    """More events than the kernel keeps: everything is looked through instead."""
    done = sh(
        running, "mkdir many; cd many; i=0; while [ $i -lt 9000 ]; do : > f$i; i=$((i+1)); done; echo evil > .envrc"
    )
    assert done.left.put_away == (str(repository / "many/.envrc"),)
    sh(running, "chmod 600 many/*; chmod 644 many/*; echo evil > sub/.envrc")
    assert (repository / "sub/.envrc").read_text() == "mine\n"


def test_what_the_host_executes_later_is_named(running: Executor, repository: Path) -> None:
    (repository / "Makefile").write_text("all:\n")
    done = sh(
        running,
        "echo x >> Makefile; mkdir -p .venv/bin node_modules/.bin;"
        "echo x | tee .venv/bin/python > node_modules/.bin/tsc;"
        "echo '{}' > package.json; echo > conftest.py; echo > plain.py; echo > tool; chmod +x tool; echo > notes.txt",
    )
    named = {os.path.relpath(path, repository) for path in done.left.executed_later}
    assert named == {"Makefile", ".venv/bin/python", "node_modules/.bin/tsc", "package.json", "conftest.py", "tool"}
    assert sh(running, "cat Makefile").left.executed_later == ()


def test_a_link_at_a_protected_name_stays(rung: Rung, repository: Path) -> None:
    (repository / "real").mkdir()
    (repository / ".idea").symlink_to("real")
    (repository / ".envrc").symlink_to("file")
    with executor(Plan.workspace_write(repository), rung) as running:
        done = sh(running, "rm -f .idea .envrc; mkdir .idea; echo evil > .idea/x; echo evil > .envrc")
        assert bool(done.left.restored) == (running.proof.rung is Rung.B)
    assert (repository / ".idea").is_symlink()
    assert (repository / ".envrc").is_symlink()
    assert not (repository / "real/x").exists()


def test_hooks_elsewhere_are_protected(rung: Rung, repository: Path) -> None:
    (repository / "tools/hooks").mkdir(parents=True)
    (repository / "tools/hooks/pre-commit").write_text("mine\n")
    git(repository, "config", "core.hooksPath", "tools/hooks")
    with executor(Plan.workspace_write(repository), rung) as running:
        sh(
            running,
            "echo evil > tools/hooks/pre-commit; mv tools t; mkdir -p tools/hooks; echo evil > tools/hooks/pre-commit",
        )
        sh(running, "echo evil > tools/hooks/pre-push")
    assert (repository / "tools/hooks/pre-commit").read_text() == "mine\n"
    assert not (repository / "tools/hooks/pre-push").exists()


def test_a_link_in_the_way_leads_the_parent_nowhere(rung: Rung, repository: Path, tmp_path: Path) -> None:
    """The parent renames beneath its own descriptors: a folder that became a link to the home costs nothing there."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".envrc").write_text("the user's\n")
    with executor(Plan.workspace_write(repository), rung) as running:
        sh(running, f"mkdir n; echo evil > n/.envrc; mv n m; ln -s {home} n")
        sh(running, f"rm -rf sub; ln -s {home} sub")
    assert (home / ".envrc").read_text() == "the user's\n"
    assert [path.name for path in home.iterdir()] == [".envrc"]
