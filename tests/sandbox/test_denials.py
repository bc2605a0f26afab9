"""What was denied, in one line with the smallest grant, from what real programs say."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from localgpt.sandbox import Executor, Plan, Rung
from localgpt.sandbox.denials import MOST, Want, denials, judge
from tests.sandbox.world import executor

PYTHON = os.path.realpath(sys.executable)


@pytest.fixture
def place(tmp_path: Path, rung: Rung):
    project, other = tmp_path / "project", tmp_path / "other"
    for folder in (project, other):
        folder.mkdir()
    (other / "data").write_text("x")
    (project / ".env").write_text("x")
    plan = Plan.workspace_write(project, denied=[] if rung is Rung.B else [project / ".env"])
    with executor(plan, rung) as running:
        yield running, other


def said(running: Executor, *argv: str) -> list[tuple[str, str, str]]:
    return [(d.want.value, d.subject, d.grant) for d in denials(running.plan, running.run(argv))]


@pytest.mark.parametrize("program", ["cat {}", "python {}", "head -c1 {}", "sh -c '. {}'", "wc {}", "grep x {}"])
def test_a_file_that_was_not_to_be_read(place, program):
    running, other = place
    path = str(other / "data")
    argv = [PYTHON, "-c", f"open({path!r})"] if program.startswith("python") else program.format(path).split(" ", 2)
    if argv[0] == "sh":
        argv[2] = argv[2].strip("'")
    assert said(running, *argv) == [("read", path, path)]


@pytest.mark.parametrize(
    "script",
    [
        "touch {}",
        "mkdir {}",
        "echo x > {}",
        "cp /etc/hostname {}",
        "tee {} < /dev/null",
        "rm {}",
        "python -c 'open(1)'",
    ],
)
def test_a_file_that_was_not_to_be_changed(place, script):
    running, _ = place
    path = "/usr/new"
    if script.startswith("rm"):
        path = "/etc/hostname"
    command = f"{PYTHON} -c \"open('{path}', 'w')\"" if script.startswith("python") else script.format(path)
    assert said(running, "sh", "-c", command) == [("write", path, str(Path(path).parent))]


def test_a_denied_file_has_no_grant(place):
    running, _ = place
    if not running.plan.denied:
        pytest.skip("cannot be denied on this rung")
    secret = f"{running.plan.cwd}/.env"
    if secret in running.plan.denied:
        assert said(running, "cat", ".env") == [("read", secret, "")]


def test_what_is_refused_by_the_project_itself_is_not_the_sandbox_s_doing(place):
    running, _ = place
    assert said(running, "cat", "missing") == []
    assert said(running, "sh", "-c", "exit 3") == []
    assert said(running, "sh", "-c", 'echo "cat: /other: Permission denied" >&2') == []  # it succeeded


def test_no_network_names_the_host(place):
    running, _ = place
    assert said(running, "curl", "-sS", "https://pypi.org/") == [("connect", "pypi.org:443", "pypi.org:443")]
    assert said(running, "git", "ls-remote", "https://github.com/x/y") == [
        ("connect", "github.com:443", "github.com:443")
    ]


def test_a_refused_call_is_named(place):
    running, _ = place
    assert said(running, "chroot", "/", "true") == [("call", "chroot", "")]
    assert ("call", "of another architecture", "") not in said(running, "true")


def test_a_time_limit_is_one(place):
    running, _ = place
    done = running.run(["sleep", "5"], timeout_s=0.2)
    assert [d.want for d in denials(running.plan, done)] == [Want.LIMIT]


def test_many_are_cut(place):
    running, _ = place
    script = "for i in $(seq 50); do cat /nowhere/$i; done; exit 1"
    assert len(said(running, "sh", "-c", script)) == MOST


def test_lines_are_one_line_each(place):
    running, other = place
    done = replace(running.run(["true"]), exit_status=1, stderr=f"cat: {other}: Permission denied\n".encode())
    (denial,) = denials(running.plan, done)
    assert str(denial).endswith(f"; --read {other} would allow it")
    noise = b"x: '/a\x00b': EACCES\n: Permission denied\n'" + b"/" * 9000 + b"': EACCES\n\xff\xfe"
    hostile = replace(done, stderr=noise)
    assert all("\n" not in str(each) for each in denials(running.plan, hostile))


def test_whether_a_file_is_there_is_not_told(place, tmp_path):
    """A command that prints made-up errors must not learn what is on the host."""
    running, other = place
    there, missing = str(other / "data"), str(other / "nothing")
    answers = []
    for path in (there, missing):
        done = replace(running.run(["true"]), exit_status=1, stderr=f"cat: {path}: Permission denied\n".encode())
        answers.append([str(each).replace(path, "PATH") for each in denials(running.plan, done)])
    assert answers[0] == answers[1]


def test_devices_and_temporary_files_are_the_command_s_own(place):
    running, _ = place
    for path in ("/dev/null", "/tmp/x", "/dev/shm/x", "/tmp"):
        assert judge(running.plan, path, write=True) is None
    kernels = judge(running.plan, "/proc/1/environ", write=False)
    assert kernels is not None
    assert kernels.grant == ""


def test_connections_are_certain(tmp_path):
    project = tmp_path / "p"
    project.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with executor(Plan.workspace_write(project, hosts=["a.example"]), Rung.A) as running:
            script = f"curl -sS http://127.0.0.1:{port}/ http://evil.example/ http://169.254.169.254/; exit 1"
            found = denials(running.plan, running.run(["sh", "-c", script]))
    assert [(d.subject, d.grant) for d in found] == [
        (f"127.0.0.1:{port}", f"127.0.0.1:{port}"),
        ("evil.example:80", "evil.example:80"),
        ("169.254.169.254:80", ""),
    ]
