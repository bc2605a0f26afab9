"""Programs with a sandbox of their own: a named error, and never anything unconfined."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from localgpt.sandbox import Completed, Executor
from localgpt.sandbox.aftermath import NOTHING
from localgpt.sandbox.faults import NamespacesRefused
from localgpt.sandbox.nesting import refused_namespaces

CHROMIUM = (
    b"[8:8:1128/FATAL:zygote_host_impl_linux.cc(128)] No usable sandbox! If you are running on Ubuntu 23.10+ ...\n"
)


def ended(program: str, status: int, stderr: bytes) -> Completed:
    return Completed((program,), status, None, b"", stderr, 0, len(stderr), 0.1, timed_out=False)


@pytest.mark.parametrize(
    "argv", [["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"], ["unshare", "-Ur", "true"]]
)
def test_a_real_one_is_named(running: Executor, project: Path, argv: list[str]) -> None:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    with pytest.raises(NamespacesRefused, match=argv[0]) as caught:
        running.run(argv)
    assert caught.value.code == "sandbox.command.namespaces"
    assert "confined already" in (caught.value.cure or "")
    assert running.run(["true"]).exit_status == 0


def test_inside_a_script_its_output_is_not_taken_away(running: Executor) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    done = running.run(["sh", "-c", "echo before; unshare -Ur true; echo after"])
    assert done.stdout == b"before\nafter\n"


def test_what_one_left_is_told_first(running: Executor, project: Path) -> None:
    """A project's own program of that name: that something was put away matters more than what it said."""
    script = project / "bwrap"
    script.write_text("#!/bin/sh\nmkdir sub; echo evil > sub/.envrc; echo 'creating new namespace' >&2; exit 1\n")
    script.chmod(0o755)
    done = running.run(["./bwrap"])
    assert done.left is not NOTHING
    assert not (project / "sub/.envrc").exists()


def test_chromium_is_known_by_its_words() -> None:
    error = refused_namespaces(ended("/usr/bin/chromium", 133, CHROMIUM))
    assert error is not None
    assert "--no-sandbox" in (error.cure or "")


@pytest.mark.parametrize(
    "done",
    [
        ended("bwrap", 0, b"namespace"),
        ended("bwrap", 1, b"bwrap: Unknown option --nope"),
        ended("cat", 1, CHROMIUM),
        replace(ended("bwrap", 124, b"namespace"), timed_out=True),
        replace(ended("bwrap", 130, b"namespace"), cancelled=True),
    ],
)
def test_others_are_returned(done: Completed) -> None:
    assert refused_namespaces(done) is None
