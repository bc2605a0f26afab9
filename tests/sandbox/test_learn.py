"""What a command asks for is learned, whatever way it asks, and learning allows nothing."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.sandbox import Executor, Limits, Plan, Rung
from localgpt.sandbox.denials import Want
from localgpt.sandbox.learn import Learner, Touch, proposals
from tests.sandbox.world import executor

PYTHON = os.path.realpath(sys.executable)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    for name in ("one", "two", "three"):
        (path / name).write_text("secret")
    return path


@pytest.fixture
def learning(rung: Rung, project: Path, outside: Path) -> Iterator[Executor]:
    executor(Plan.read_only(project), rung)  # skips where there is no such rung
    plan = Plan.workspace_write(project, denied=[outside / "three"], limits=Limits(timeout_s=30))
    with Executor(plan, max_rung=rung, learn=True) as running:
        yield running


def grants(running: Executor, home: str = "/nowhere") -> list[tuple[str, str]]:
    return [(each.option, each.grant) for each in proposals(running.plan, running.touched, home)]


@pytest.mark.parametrize(
    "code",
    [
        "open('{}')",
        "import os; os.open('{}', 0)",
        "import os; os.chdir('/usr'); open(os.path.relpath('{}', '/usr'))",
        "import os; d = os.open('/', os.O_PATH); os.open('{}'[1:], 0, dir_fd=d)",
        "import os; os.stat('{}')",
        "import os; os.access('{}', 4) or 1 / 0",
        "import subprocess; subprocess.run(['cat', '{}'], check=True)",
        "import threading; t = threading.Thread(target=open, args=('{}',)); t.start(); t.join(); 1 / 0",
    ],
)
def test_what_is_read(learning, outside, code):
    path = str(outside / "one")
    learning.run([PYTHON, "-c", code.format(path)])
    assert ("--read", path) in grants(learning)


@pytest.mark.parametrize("program", ["touch {}/new", "mkdir {}/new", "mv /etc/hostname {}/new", "echo > {}/new"])
def test_what_is_written(learning, outside, program):
    learning.run(["sh", "-c", program.format(outside)])
    assert ("--write", str(outside)) in grants(learning)
    assert not (outside / "new").exists()


def test_a_file_that_is_there_is_granted_alone_for_writing(learning, outside):
    learning.run(["sh", "-c", f"echo x > {outside}/one"])
    assert grants(learning) == [("--write", f"{outside}/one")]


def test_learning_allows_nothing(learning, outside):
    done = learning.run(
        ["sh", "-c", f"cat {outside}/*; cat {outside}/one; echo x > {outside}/one; cat /proc/1/environ"]
    )
    assert done.exit_status != 0
    assert b"secret" not in done.stdout
    assert (outside / "one").read_text() == "secret"


def test_what_is_denied_or_missing_or_the_home_is_not_proposed(learning, outside):
    learning.run(["sh", "-c", f"cat {outside}/three {outside}/none /proc/1/environ; ls {outside}"])
    assert [grant for _, grant in grants(learning, home=str(outside))] == []
    assert ("--read", f"{outside}/three") not in grants(learning)


def test_what_the_user_may_not_do_either_is_not_proposed(project):
    if os.geteuid() == 0:
        pytest.skip("root may")
    assert proposals(Plan.workspace_write(project), [Touch("/opt/new", write=True)], "/nowhere") == ()


def test_many_files_of_a_folder_become_the_folder(project):
    touched = [Touch(f"/var/tmp/{name}", write=False) for name in ("a", "b")]
    assert proposals(Plan.workspace_write(project), touched, "/nowhere") == ()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        for name in "abc":
            Path(folder, name).write_text("")
        touched = [Touch(f"{folder}/{name}", write=False) for name in "abc"]
        (one,) = proposals(Plan.workspace_write(project), touched, "/nowhere")
        assert (one.want, one.grant) == (Want.READ, os.path.realpath(folder))
        assert len(proposals(Plan.workspace_write(project), touched, folder)) == 3  # never the home


def test_what_is_granted_is_not_learned(learning, project):
    learning.run(["sh", "-c", f"cat /etc/hostname; echo x > {project}/mine; touch /tmp/mine; cat < /dev/null"])
    assert grants(learning) == []


def test_bad_pointers_and_long_paths_end_nothing(learning):
    code = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None)\n"
        "for address in (0, 1, 4095, 1 << 46, (1 << 63) - 1):\n"
        "    libc.open(ctypes.c_void_p(address), 0)\n"
        "    libc.openat(ctypes.c_int(77), ctypes.c_void_p(address), 0)\n"
        "for path in (b'x' * 5000, b'\\xff\\xfe', b'/' + b'y/' * 2000, b''):\n"
        "    libc.open(path, 0)\n"
        "print('whole')"
    )
    assert learning.run([PYTHON, "-c", code]).stdout == b"whole\n"


def test_a_command_that_is_stopped_in_the_middle_leaves_the_next_whole(learning):
    flood = "while :; do cat /etc/hostname; done > /dev/null"
    assert learning.run(["sh", "-c", flood], timeout_s=0.5).timed_out
    assert learning.run(["echo", "next"]).stdout == b"next\n"


def test_it_closes_its_descriptor():
    read, write = os.pipe()
    learner = Learner(read)
    learner.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)
    os.close(write)
