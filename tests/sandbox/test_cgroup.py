"""The control group: the real one where this host delegates any, and what is said where it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localgpt.sandbox import Plan, Rung, cgroup
from tests.sandbox.world import PYTHON, executor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux")
_WAITS = "import sys; sys.stdin.readline(); "


def start(code: str) -> subprocess.Popen[bytes]:
    words = [PYTHON, "-I", "-S", "-c", _WAITS + code]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_memory_and_processes_are_bounded() -> None:
    group, said = cgroup.delegated(64 << 20, 10)
    if group is None:
        assert said
        pytest.skip(f"no cgroup is delegated here: {said}")
    memory = start("x = bytearray(200 << 20)")
    forks = start("import os, time\nfor n in range(50):\n  if not os.fork(): time.sleep(60)")
    for process in (memory, forks):
        group.add(process.pid)
        assert group.holds(process.pid)
    assert not group.holds(1)
    memory.communicate(b"\n")
    assert memory.returncode == -9
    assert group.ran_out()
    assert not group.ran_out()
    assert forks.stdin is not None
    forks.stdin.write(b"\n")
    forks.stdin.flush()
    assert forks.wait(20) == 1  # what it started still sleeps, and holds its pipes
    group.close()
    assert b"BlockingIOError" in forks.communicate()[1]
    assert not Path(group.path).exists()


def test_without_one_it_is_said_and_watched(rung: Rung, project: Path) -> None:
    with executor(Plan.read_only(project), rung) as running:
        proof = {name: (held, detail) for name, held, detail in running.proof.mechanisms}
        held, said = proof["cgroup"]
        assert said
        assert proof["memory-limit"][0] is held
        if held:
            assert proof["process-limit"][0]


def test_what_was_written_must_hold(tmp_path: Path) -> None:
    """A hierarchy without the controllers, or one that is not ours, gives no group and leaves nothing."""
    for name, content in (("cgroup.subtree_control", ""), ("cgroup.controllers", "cpu"), ("cgroup.procs", "")):
        (tmp_path / name).write_text(content)
    with pytest.raises(OSError, match="controllers"):
        cgroup._make(tmp_path, {"memory.max": 1, "pids.max": 1})
    assert len([*tmp_path.iterdir()]) == 3
