"""Every attempt of ``sandbox/probes``: seen to succeed without the sandbox, refused inside it, on both rungs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sandbox.world import World, attack_plan, attempt_argv, attempts, executor, planted

from localgpt.sandbox import Executor, Rung

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux")

FILES = ("files", "network", "processes", "privilege")
CASES = [(file, name, bare) for file in FILES for name, bare in attempts(file)]
# What rung B does not hold, each with its reason in sandbox/HAZARDS.md. Nothing may be added without a decision record.
NOT_HELD_ON_B = {
    "stat_secret",
    "change_mode_outside",
    "change_times_outside",
    "change_mode_of_system",
    "read_victim_command_line",
}
KILLED = {"i386_system_call", "x32_system_call"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with planted(tmp_path_factory.mktemp("world")) as planted_world:
        yield planted_world


@pytest.fixture(scope="module", params=list(Rung), ids=lambda rung: f"rung{rung}")
def confined(request: pytest.FixtureRequest, world: World) -> Iterator[Executor]:
    with executor(attack_plan(world), request.param) as running:
        yield running


@pytest.mark.parametrize(("file", "name", "bare"), CASES, ids=[f"{file}-{name}" for file, name, _ in CASES])
def test_refused(confined: Executor, world: World, file: str, name: str, bare: str | None) -> None:
    done = confined.run(attempt_argv(file, name, world))
    said = done.stdout.decode()
    if name in KILLED and os.uname().machine == "x86_64":
        assert done.signal == signal.SIGSYS
    elif confined.proof.rung is Rung.B and name in NOT_HELD_ON_B:
        if bare == "user" and name != "change_mode_of_system":
            assert said.startswith("REACHED"), f"{name} is held after all: take it off the list"
    else:
        assert said.startswith("REFUSED"), said + done.stderr.decode()


@pytest.mark.parametrize(
    ("file", "name"),
    [(file, name) for file, name, bare in CASES if bare == "user" or (bare == "root" and os.geteuid() == 0)],
)
def test_succeeds_without_the_sandbox(world: World, file: str, name: str) -> None:
    done = subprocess.run(
        attempt_argv(file, name, world),
        cwd=world.project,
        capture_output=True,
        text=True,
        timeout=20,
        env={"LOCALGPT_PROBE_SECRET": "canary", "PATH": os.environ.get("PATH", "")},
        check=False,
    )
    if done.stdout.startswith("REFUSED") and name in LEFT_TO_THE_HOST:
        pytest.skip(f"this host refuses it by itself: {done.stdout.strip()}")
    assert done.stdout.startswith("REACHED"), done.stdout + done.stderr


# These depend on how the kernel was built and set up.
LEFT_TO_THE_HOST = {
    "change_attribute_outside", "change_flags_outside", "change_mode_of_system", "count_events", "handle_page_faults",
    "io_uring", "listen_tcp", "load_bpf", "make_device", "mptcp", "own_user_namespace", "own_user_namespace_by_clone",
    "own_user_namespace_by_clone3", "read_by_handle", "read_kernel_log", "read_kernel_memory", "read_kernel_messages",
    "read_through_hardlink", "setuid_by_fchmodat2", "tcp_fast_open", "trace_victim", "type_into_a_terminal",
    "type_with_high_bits_set", "udp6", "use_io_ports", "vsock", "write_sysfs", "add_a_key", "session_keyring",
    "watch_outside_with_fanotify", "change_code_segments", "read_victim_memory", "take_victim_descriptor",
}  # fmt: skip


def test_nobody_outside_was_touched(confined: Executor, world: World) -> None:
    victim = Path(f"/proc/{world.facts['victim']}")
    assert victim.exists()
    assert Path(str(world.facts["secret"])).read_text() == "canary: private key"
    assert confined.run(["true"]).exit_status == 0
