"""The executor: what runs, what is refused with which name, what is left afterwards."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from localgpt.errors import SandboxError
from localgpt.sandbox import Completed, Executor, Limits, Plan, Rung, faults, tree
from localgpt.sandbox.proof import REQUIRED
from tests.sandbox.world import PYTHON, executor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux")


def sh(running: Executor, line: str, **options: float) -> Completed:
    return running.run(["sh", "-c", line], timeout_s=options.get("timeout_s"))


def marked(mark: str) -> list[int]:
    """Processes anywhere on the host with `mark` in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


# --- what works ---------------------------------------------------------------------------------------------------


def test_output_and_exit_status_pass_through(running: Executor) -> None:
    done = sh(running, "echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr, done.exit_status, done.signal) == (b"out\n", b"err\n", 3, None)
    assert not done.timed_out


def test_a_signal_is_named(running: Executor) -> None:
    done = sh(running, "kill -SEGV $$")
    assert (done.signal, done.exit_status) == (signal.SIGSEGV, 128 + signal.SIGSEGV)


def test_standard_input(running: Executor) -> None:
    data = os.urandom(300_000)
    assert running.run(["wc", "-c"], stdin=data).stdout.strip() == b"300000"
    assert running.run(["cat"]).stdout == b""


def test_unread_standard_input_blocks_nobody(running: Executor) -> None:
    assert running.run(["true"], stdin=bytes(1_000_000)).exit_status == 0


def test_ordinary_work(running: Executor, project: Path) -> None:
    line = """
    set -e
    echo text > /dev/null
    echo one > a; mv a b; mkdir d; mv b d/c; : > d/c; ln -s d/c link; chmod +x d/c; rm -r d
    mkfifo fifo; cp /etc/hostname copy 2>/dev/null || cp /etc/passwd copy
    head -c 10 /dev/urandom | wc -c; echo "$HOME" > "$TMPDIR/x"; test -d "$HOME"; touch "$HOME/dotfile"
    (echo sub) | cat; for i in 1 2 3; do echo $i; done | tail -1; echo "$(ls)"
    echo here > /dev/stderr
    """
    done = sh(running, line)
    assert done.exit_status == 0, done.stderr
    assert done.stderr == b"here\n"
    assert (project / "copy").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git(running: Executor) -> None:
    line = (
        "git init -q && git add -A && git -c user.name=n -c user.email=e commit -q --allow-empty -m m && git log | cat"
    )
    assert sh(running, line).exit_status == 0


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a compiler")
def test_a_compiler(running: Executor) -> None:
    done = sh(running, "echo 'int main(){return 7;}' > m.c && cc m.c -o m && ./m")
    assert done.exit_status == 7, done.stderr


def test_python_with_threads_processes_and_pairs(running: Executor) -> None:
    code = """
import asyncio, socket, subprocess, threading
threading.Thread(target=print, args=("thread",)).start()
print(subprocess.run(["echo", "child"], capture_output=True).stdout)
a, b = socket.socketpair(); a.send(b"x"); print(b.recv(1))
asyncio.run(asyncio.sleep(0))
"""
    done = running.run([PYTHON, "-I", "-c", code])
    assert done.exit_status == 0, done.stderr


def test_the_environment_is_clean(running: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    done = running.run(["env"], env=[("MINE", "1")])
    names = {line.partition(b"=")[0] for line in done.stdout.splitlines()}
    assert b"canary" not in done.stdout
    assert {b"HOME", b"PATH", b"TMPDIR", b"MINE"} <= names


def test_a_working_directory_inside_the_plan(running: Executor, project: Path) -> None:
    (project / "sub").mkdir()
    assert running.run(["pwd"], cwd=str(project / "sub")).stdout == f"{project}/sub\n".encode()


def test_temporary_files_are_not_the_hosts(running: Executor, tmp_path: Path) -> None:
    (tmp_path / "stranger").write_text("canary")
    sh(running, 'echo x > "$TMPDIR/mine"')
    assert sh(running, 'cat "$TMPDIR/mine"').stdout == b"x\n"
    assert sh(running, f"cat {tmp_path}/stranger").exit_status != 0


def test_nothing_remains_of_the_temporary_files(rung: Rung, project: Path) -> None:
    with executor(Plan.workspace_write(project), rung) as running:
        private = running.temporary
        sh(running, 'mkdir -p "$TMPDIR/a/b"; touch "$TMPDIR/a/b/c"; chmod 0 "$TMPDIR/a/b/c"')
    assert rung is Rung.A or not Path(private).exists()


def test_what_a_killed_runtime_left_behind_is_removed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stale = tmp_path / "localgpt-tmp-stale"
    (stale / "home" / "locked" / "deep").mkdir(parents=True)
    (stale / "link").symlink_to(project)
    (project / "kept").write_text("x")
    (stale / "home" / "locked").chmod(0)
    with executor(Plan.workspace_write(project), Rung.B) as first:
        assert not stale.exists()
        with Executor(Plan.workspace_write(project), max_rung=Rung.B):
            assert Path(first.temporary).exists()
    assert (project / "kept").exists()
    assert {path.name for path in tmp_path.iterdir()} - {f"localgpt-turns-{os.geteuid()}"} == {"project"}


def test_a_read_only_plan_changes_nothing(rung: Rung, project: Path) -> None:
    (project / "file").write_text("x")
    with executor(Plan.read_only(project), rung) as running:
        done = sh(
            running, "cat file; echo y > file; echo z > new; rm file; mkdir d; echo t > $TMPDIR/t && cat $TMPDIR/t"
        )
    assert done.stdout == b"xt\n"
    assert [path.name for path in project.iterdir()] == ["file"]


def test_denied_paths_are_hidden(rung: Rung, project: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "inner").mkdir(parents=True)
    (shared / "secret").write_text("canary")
    (shared / "inner" / "key").write_text("canary")
    (shared / "inner" / "open").write_text("readable")
    plan = Plan.workspace_write(project, read=[shared], denied=[shared / "secret", shared / "inner" / "key"])
    with executor(plan, rung) as running:
        done = sh(running, f"cat {shared}/secret {shared}/inner/key {shared}/inner/open")
    assert done.stdout == b"readable"


def test_a_denied_folder_is_hidden(rung: Rung, project: Path, tmp_path: Path) -> None:
    (tmp_path / "shared" / "vault").mkdir(parents=True)
    (tmp_path / "shared" / "vault" / "key").write_text("canary")
    (tmp_path / "shared" / "open").write_text("readable")
    plan = Plan.workspace_write(project, read=[tmp_path / "shared"], denied=[tmp_path / "shared" / "vault"])
    with executor(plan, rung) as running:
        done = running.run(["sh", "-c", "cat vault/key; ls vault; cat open"], cwd=str(tmp_path / "shared"))
    assert done.stdout == b"readable"


def test_denied_inside_a_write_root(rung: Rung, project: Path) -> None:
    (project / ".env").write_text("canary")
    plan = Plan.workspace_write(project, denied=[project / ".env"])
    if rung is Rung.B:
        with pytest.raises(faults.DeniedNotEnforceable), executor(plan, rung):
            pass
        return
    with executor(plan, rung) as running:
        assert sh(running, "cat .env; echo x > .env; rm -f .env; mv .env y").stdout == b""
    assert (project / ".env").read_text() == "canary"


# --- what is refused ----------------------------------------------------------------------------------------------


def test_commands_that_cannot_start(running: Executor, project: Path) -> None:
    (project / "plain").write_text("x")
    (project / "shebang").write_text("#!/nonexistent/interpreter\n")
    (project / "shebang").chmod(0o755)
    (project / "garbage").write_bytes(b"\x00\x01")
    (project / "garbage").chmod(0o755)
    cases: list[tuple[list[str], type[SandboxError]]] = [
        ([], faults.CommandInvalid),
        ([""], faults.CommandInvalid),
        (["a\0b"], faults.CommandInvalid),
        (["no-such-program"], faults.CommandNotFound),
        (["./missing"], faults.CommandNotFound),
        (["./shebang"], faults.CommandNotFound),
        (["./plain"], faults.CommandNotExecutable),
        (["./garbage"], faults.CommandNotExecutable),
        (["./"], faults.CommandNotExecutable),
        (["true", "x" * (3 << 20)], faults.CommandNotStarted),
    ]
    for argv, kind in cases:
        with pytest.raises(kind) as caught:
            running.run(argv)
        assert caught.value.cure
    assert running.run(["true"]).exit_status == 0


def test_an_environment_with_nul(running: Executor) -> None:
    with pytest.raises(faults.CommandInvalid):
        running.run(["true"], env=[("A", "b\0c")])


@pytest.mark.parametrize("cwd", ["relative", "/root", "/", "/nonexistent"])
def test_a_working_directory_outside(running: Executor, cwd: str) -> None:
    with pytest.raises(faults.WorkingDirectoryOutside):
        running.run(["true"], cwd=cwd)


def test_a_working_directory_that_is_gone(running: Executor, project: Path) -> None:
    with pytest.raises(faults.WorkingDirectoryOutside):
        running.run(["true"], cwd=str(project / "never"))


def test_the_runtime_inside_a_write_root(tmp_path: Path) -> None:
    plan = Plan(cwd=str(tmp_path), read_roots=(), write_roots=(str(tmp_path), str(Path(sys.prefix).resolve())))
    with pytest.raises(faults.RuntimeInsideWriteRoot), Executor(plan):
        pass


def test_a_root_that_became_a_link(rung: Rung, project: Path, tmp_path: Path) -> None:
    plan = Plan.workspace_write(project)
    project.rename(tmp_path / "moved")
    project.symlink_to("/etc")
    with pytest.raises(faults.SwappedRoot), executor(plan, rung):
        pass


def test_outside_the_with_block(project: Path) -> None:
    idle = Executor(Plan.workspace_write(project))
    with pytest.raises(faults.ExecutorClosed):
        idle.run(["true"])
    with pytest.raises(faults.ExecutorClosed):
        _ = idle.proof
    idle.close()


# --- limits -------------------------------------------------------------------------------------------------------


def test_output_is_cut_with_a_marker_and_counted(running: Executor) -> None:
    done = sh(running, "head -c 1000000 /dev/zero; head -c 5 /dev/zero >&2")
    assert done.stdout_total == 1_000_000
    assert done.stdout.startswith(bytes(1 << 16))
    assert done.stdout.endswith(b"[output cut: 65536 of 1000000 bytes kept]\n")
    assert done.stderr == bytes(5)


def test_a_flood_of_output_costs_little_memory(running: Executor) -> None:
    running.run(["true"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = sh(running, "head -c 300000000 /dev/zero")
    assert done.stdout_total == 300_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before <= 8 * 1024  # KiB


def test_files_are_bounded(running: Executor, project: Path) -> None:
    done = sh(running, "head -c 3000000 /dev/zero > big")
    assert done.exit_status != 0
    assert (project / "big").stat().st_size == 1 << 20


def test_no_core_file(running: Executor, project: Path) -> None:
    before = set(project.iterdir())
    sh(running, "kill -ABRT $$")
    assert set(project.iterdir()) == before


def test_processes_are_bounded(running: Executor) -> None:
    code = """
import os, sys
n = 0
try:
    for n in range(200):
        if not os.fork():
            import time; time.sleep(30); os._exit(0)
except OSError as error:
    print("stopped at", n)
else:
    import time; time.sleep(30)
"""
    done = running.run([PYTHON, "-I", "-S", "-c", code], timeout_s=10)
    if running.proof.holds("process-limit"):
        assert 15 <= int(done.stdout.split()[-1]) <= 24
    else:
        assert done.limit == "processes"
    assert running.run(["true"]).exit_status == 0


def test_a_fork_bomb_ends(rung: Rung, project: Path) -> None:
    """On rung A a real one; on rung B, where nothing hard stops it, one of 512 processes that all stay busy."""
    bomb = ["sh", "-c", "f() { f | f & }; f; sleep 30"]
    if rung is Rung.B:
        bomb = [PYTHON, "-I", "-S", "-c", "import os\nfor _ in range(9): os.fork()\nwhile True: pass"]
    with executor(Plan.workspace_write(project, limits=Limits(processes=24)), rung) as running:
        done = running.run(bomb, timeout_s=3)
        assert done.duration_s < 10
        assert done.limit == ("" if rung is Rung.A else "processes")
        assert tree.descendants(zygote_of(running)) == []
        assert running.run(["true"]).exit_status == 0


# --- ending -------------------------------------------------------------------------------------------------------

LINGERERS = {
    "background": "sleep {mark} & echo started",
    "setsid": "setsid sleep {mark} & echo started",
    "double fork": "(setsid sh -c 'sleep {mark} & sleep {mark}' &) ; echo started",
    "deaf": "sh -c \"trap '' TERM INT HUP; sleep {mark}; sleep {mark}\" & echo started",
    "stopped": "sh -c 'kill -STOP $$; sleep {mark}' & sleep {mark} & kill -STOP $! ; echo started",
    "without output": "sleep {mark} >/dev/null 2>&1 </dev/null & echo started",
}


@pytest.mark.parametrize("line", LINGERERS.values(), ids=LINGERERS.keys())
def test_nobody_outlives_the_command(running: Executor, line: str) -> None:
    mark = f"6{time.time_ns() % 10**9}.5"
    done = sh(running, line.format(mark=mark))
    assert done.stdout == b"started\n"
    assert not done.timed_out
    assert marked(mark) == []


@pytest.mark.parametrize("line", [*LINGERERS.values(), "kill -STOP $$"], ids=[*LINGERERS.keys(), "self-stopped"])
def test_nobody_outlives_the_deadline(running: Executor, line: str) -> None:
    mark = f"7{time.time_ns() % 10**9}.5"
    done = sh(running, line.format(mark=mark) + f"; sleep {mark}", timeout_s=0.4)
    assert done.timed_out
    assert done.exit_status == 124
    assert done.duration_s < 5
    assert marked(mark) == []
    assert running.run(["echo", "next"]).stdout == b"next\n"


def test_a_subreaper_inside_keeps_nobody(running: Executor) -> None:
    mark = f"8{time.time_ns() % 10**9}.5"
    code = f"""
import ctypes, subprocess, os
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
subprocess.Popen(["setsid", "sleep", "{mark}"])
if os.fork(): os._exit(0)
import time; time.sleep(30)
"""
    running.run([PYTHON, "-I", "-S", "-c", code], timeout_s=5)
    assert marked(mark) == []


def test_cancel_from_another_thread(running: Executor) -> None:
    mark = f"9{time.time_ns() % 10**9}.5"
    timer = threading.Timer(0.2, running.cancel)
    timer.start()
    done = sh(running, f"setsid sleep {mark} & sleep {mark}")
    timer.join()
    assert done.cancelled
    assert done.exit_status == 130
    assert marked(mark) == []
    assert running.run(["true"]).exit_status == 0


def test_cancel_without_a_command_does_nothing(running: Executor) -> None:
    running.cancel()
    assert running.run(["true"]).exit_status == 0


def test_an_interrupt_ends_the_command(running: Executor) -> None:
    mark = f"5{time.time_ns() % 10**9}.5"
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        sh(running, f"setsid sleep {mark} & sleep {mark}")
    assert marked(mark) == []
    assert running.run(["true"]).exit_status == 0


def test_one_command_at_a_time_from_many_threads(running: Executor) -> None:
    results: list[Completed] = []

    def work(number: int) -> None:
        results.append(sh(running, f"echo {number}; sleep 0.02; echo {number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done.stdout for done in results) == [f"{n}\n{n}\n".encode() for n in range(6)]


# --- a zygote that dies -------------------------------------------------------------------------------------------


def zygote_of(running: Executor) -> int:
    assert running._link is not None
    (zygote,) = tree.children(running._link.warden_pid)
    return zygote


def test_a_zygote_that_died_idle_is_replaced(running: Executor) -> None:
    os.kill(zygote_of(running), signal.SIGKILL)
    assert running._link is not None
    running._link._warden.wait(5)
    assert running.run(["echo", "again"]).stdout == b"again\n"


def test_a_zygote_that_dies_during_a_command_is_named(running: Executor) -> None:
    mark = f"4{time.time_ns() % 10**9}.5"
    threading.Timer(0.3, os.kill, (zygote_of(running), signal.SIGKILL)).start()
    with pytest.raises(faults.ZygoteDied):
        sh(running, f"setsid sleep {mark} & sleep {mark}")
    assert marked(mark) == []
    assert running.run(["echo", "again"]).stdout == b"again\n"


def test_a_stopped_zygote_is_named(running: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localgpt.sandbox.running._GRACE_S", 0.3)
    os.kill(zygote_of(running), signal.SIGSTOP)
    with pytest.raises(faults.ZygoteDied):
        running.run(["true"], timeout_s=0.3)
    assert running.run(["echo", "again"]).stdout == b"again\n"


def test_everything_ends_with_the_runtime(rung: Rung, project: Path) -> None:
    """A runtime that is killed outright leaves no command behind."""
    executor(Plan.workspace_write(project), rung)
    mark = f"3{time.time_ns() % 10**9}.5"
    code = f"""
import sys
from localgpt.sandbox import Executor, Plan, Rung
with Executor(Plan.workspace_write({str(project)!r}), max_rung=Rung({rung.value!r})) as running:
    running.run(["sh", "-c", "setsid sleep {mark} & echo; sleep {mark}"])
"""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], {**os.environ})
    start = time.monotonic()
    while len(marked(f"sleep\0{mark}")) < 2:
        assert time.monotonic() - start < 10
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 5
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert marked(mark) == []


def test_nothing_leaks_over_many_commands(running: Executor) -> None:
    running.run(["true"])
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(100):
        running.run(["true"])
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    assert tree.children(zygote_of(running)) == []
    if os.geteuid() == 0:  # the zygote cannot be looked into by anybody else
        # Two of them may still be those of the last command.
        assert len([*Path(f"/proc/{zygote_of(running)}/fd").iterdir()]) <= 6


# --- proof --------------------------------------------------------------------------------------------------------


def test_the_proof_names_its_rung(running: Executor, rung: Rung) -> None:
    proof = running.proof
    assert proof.rung is rung
    assert proof.holds("landlock")
    assert all(proof.holds(name) for name in REQUIRED[rung])
    assert proof.holds("canary-file")
    assert proof.holds("metadata") is (rung is Rung.A)
    assert bool(proof.why_not_higher) is (rung is Rung.B)


@pytest.mark.parametrize("abi", [3, 4, 5])
def test_older_landlock_on_rung_b(project: Path, abi: int) -> None:
    """Without scopes a command may signal nobody at all, rather than anybody of the user's."""
    with executor(Plan.workspace_write(project), Rung.B, abi) as running:
        assert running.proof.holds("canary-process")
        assert sh(running, "sleep 5 & kill $!; echo $?").stdout.strip() != b"0"


@pytest.mark.parametrize("abi", [1, 2])
def test_landlock_too_old_for_rung_b(project: Path, abi: int) -> None:
    with pytest.raises(faults.NotConfined, match="truncate"), executor(Plan.workspace_write(project), Rung.B, abi):
        pass


@pytest.mark.parametrize("abi", [1, 2, 3, 6])
def test_older_landlock_on_rung_a(project: Path, abi: int) -> None:
    with executor(Plan.workspace_write(project), Rung.A, abi) as running:
        assert sh(running, "echo x > y && cat y && : > y").exit_status == 0


def test_limits_must_make_sense() -> None:
    for wrong in ({"timeout_s": 0.0}, {"processes": 1}, {"open_files": 3}, {"output_bytes": 0}):
        with pytest.raises(faults.PlanInvalid):
            Limits(**wrong)
