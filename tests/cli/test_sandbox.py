"""`localgpt sandbox`, with the real sandbox."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, Home, home

__all__ = ["home"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")


def entries(home: Home) -> list[dict[str, object]]:
    out = home.ok("audit", "show", "--json", "--limit", "0").out
    return [json.loads(line) for line in out.splitlines()]


def test_status_names_the_proven_rung(home):
    report = home.run("sandbox", "status", "--json").json
    assert report["rung"] in {"A", "B"}
    assert report["landlock_abi"] >= 1
    assert {"landlock", "seccomp"} <= {m["name"] for m in report["mechanisms"] if m["held"]}
    assert f"proven: rung {report['rung']}" in home.ok("sandbox", "status").out


def test_every_escape_fails_and_ordinary_work_succeeds(home):
    home.extra["TMPDIR"] = str(home.path.parent / ("long" * 30))  # longer than the path of a socket may be
    Path(home.extra["TMPDIR"]).mkdir()
    result = home.run("sandbox", "test", "--json")
    report = result.json
    assert [a for a in report["attempts"] if not a["held"]] == []
    assert report["attempts"][0]["name"].startswith("control")
    assert len(report["attempts"]) > 18
    assert result.status == 0


def test_an_escape_that_succeeds_is_seen_and_reported(home, monkeypatch, capsys):
    from localgpt.cli import escapes

    monkeypatch.setattr(escapes, "_ATTEMPTS", (("read", escapes._reads_nothing("cat known")),))
    real = escapes._planted

    def leaky(environ):
        class Leak:
            def __enter__(self):
                self.inner = real(environ)
                field = self.inner.__enter__()
                (field.project / "known").write_text(field.secret)
                return field

            def __exit__(self, *error):
                return self.inner.__exit__(*error)

        return Leak()

    monkeypatch.setattr(escapes, "_planted", leaky)
    (attempt,) = escapes.try_escapes(home.environ)
    assert (attempt.held, attempt.detail) == (False, "the secret was read")


@pytest.mark.parametrize("status", [0, 1, 3, 7, 255])
def test_output_and_exit_status_pass_through(home, status):
    result = home.run("sandbox", "run", "--", "sh", "-c", f"echo out; echo err >&2; exit {status}")
    assert (result.status, result.out, result.err) == (status, "out\n", "err\n")


def test_a_signal_becomes_128_and_its_number(home):
    assert home.run("sandbox", "run", "--", "sh", "-c", "kill -9 $$").status == 137


def test_options_after_the_dashes_belong_to_the_command(home):
    assert (
        home.ok("sandbox", "run", "--", "echo", "--json", "--timeout", "1", "--help").out
        == "--json --timeout 1 --help\n"
    )


def test_the_current_folder_is_the_one_place_to_write(home):
    home.ok("sandbox", "run", "--", "sh", "-c", "echo made > file")
    assert (home.cwd / "file").read_text() == "made\n"
    other = home.cwd.parent / "other"
    other.mkdir()
    assert home.run("sandbox", "run", "--", "sh", "-c", f"echo x > {other}/f").status != 0
    home.ok("sandbox", "run", "--write", str(other), "--", "sh", "-c", f"echo x > {other}/f")
    assert (other / "f").read_text() == "x\n"
    assert home.run("sandbox", "run", "--profile", "read-only", "--", "sh", "-c", "echo x > file2").status != 0
    assert not (home.cwd / "file2").exists()


def test_another_folder_is_read_only_when_named(home):
    other = home.cwd.parent / "other"
    other.mkdir()
    (other / "data").write_text("text")
    denied = home.run("sandbox", "run", "--", "cat", str(other / "data"))
    assert denied.status != 0
    assert f"localgpt: denied: read {other}/data: " in denied.err
    assert f"; --read {other}/data would allow it" in denied.err
    assert home.ok("sandbox", "run", "--read", str(other), "--", "cat", str(other / "data")).out == "text"
    assert home.run("sandbox", "run", "--read", "/does/not/exist", "--", "true").status == 2


def test_a_planted_key_and_a_socket_are_out_of_reach(home):
    (home.path / ".ssh").mkdir(mode=0o700)
    (home.path / ".ssh/id_rsa").write_text("PLANTED")
    result = home.run("sandbox", "run", "--", "sh", "-c", f"cat {home.path}/.ssh/id_rsa ~/.ssh/id_rsa; env")
    assert "PLANTED" not in result.out + result.err
    denied = home.run("sandbox", "run", "--read", str(home.path / ".ssh"), "--", "true")
    assert denied.status == 3
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        python = os.path.realpath(sys.executable)
        result = home.run("sandbox", "run", "--", python, "-I", "-S", "-c", code)
        assert result.status != 0
        assert "not permitted" in result.err
        with pytest.raises(BlockingIOError):
            server.accept()


def test_secrets_of_the_environment_do_not_reach_commands(home):
    home.extra["OPENAI_API_KEY"] = "sk-canary"
    assert "sk-canary" not in home.ok("sandbox", "run", "--", "env").out
    assert "sk-canary" not in json.dumps(entries(home))


def test_time_runs_out_with_124(home):
    result = home.run("sandbox", "run", "--timeout", "0.3", "--", "sh", "-c", "echo early; sleep 60")
    assert (result.status, result.out) == (124, "early\n")
    assert "time limit" in result.err


def test_output_is_escaped_unless_raw(home):
    argv = ["sandbox", "run", "--", "printf", r"\033]0;owned\007\033[31mred\377"]
    escaped = home.ok(*argv)
    assert "\x1b" not in escaped.out
    assert "\x07" not in escaped.out
    assert escaped.out.endswith("red\\xff")
    done = subprocess.run(
        [*COMMAND, "sandbox", "run", "--raw", *argv[2:]],
        capture_output=True,
        env=home.environ,
        cwd=home.cwd,
        check=True,
    )
    assert done.stdout == b"\x1b]0;owned\x07\x1b[31mred\xff"


def test_json_holds_everything(home):
    result = home.run("sandbox", "run", "--json", "--", "sh", "-c", "printf '\\033x'; echo e >&2; exit 5")
    assert result.status == 5
    report = result.json
    assert report["stdout"] == "\x1bx"
    assert "\x1b" not in result.out
    assert (report["exit_status"], report["stderr"], report["timed_out"], report["verdict"]) == (
        5,
        "e\n",
        False,
        "allow",
    )


def test_a_large_output_is_cut_and_counted(home):
    report = home.ok("sandbox", "run", "--json", "--", "head", "-c", "3000000", "/dev/zero").json
    assert report["stdout_bytes"] == 3_000_000
    assert len(report["stdout"]) < 1_100_000


def test_decision_is_logged_before_the_run_and_outcome_after(home):
    home.run("sandbox", "run", "--", "sh", "-c", "exit 4")
    kinds = [e["kind"] for e in entries(home)]
    assert kinds.index("sandbox.proof") < kinds.index("decision") < kinds.index("outcome")
    decision, outcome = (next(e for e in entries(home) if e["kind"] == kind) for kind in ("decision", "outcome"))
    assert (decision["verdict"], decision["argv0"], outcome["exit_status"]) == ("allow", "sh", 4)
    assert decision["call"] == outcome["call"]


def test_the_decision_is_durable_while_the_command_runs(home):
    """The command waits until this test has read the log."""
    home.ok("init")
    for name in ("gate", "release"):
        os.mkfifo(home.cwd / name)
    running: list[object] = []
    thread = threading.Thread(
        target=lambda: running.append(home.run("sandbox", "run", "--", "sh", "-c", "echo > gate; cat release"))
    )
    thread.start()
    with (home.cwd / "gate").open() as gate:  # opens when the command does
        kinds = [e["kind"] for e in entries(home)]
        assert "decision" in kinds
        assert "outcome" not in kinds
        gate.read()
    (home.cwd / "release").write_text("go\n")
    thread.join(20)
    assert "outcome" in [e["kind"] for e in entries(home)]


def test_without_a_log_nothing_runs(home):
    home.ok("init")
    audit = home.state / "audit"
    audit.write_text("a file in the way")
    result = home.run("sandbox", "run", "--", "touch", "ran")
    assert result.status != 0
    assert not (home.cwd / "ran").exists()
    assert "\ncure: " in result.err


def test_a_signed_deny_rule_bites_and_survives_deletion(home):
    home.ok("init")
    document = home.workspace / "LocalGPT.md"
    document.write_text('# P\n\n```toml policy\n[[deny]]\nargv = ["touch"]\nreason = "no touching"\n```\n')
    home.ok("sandbox", "run", "--", "touch", "unsigned")
    home.ok("sign", "--yes")
    denied = home.run("sandbox", "run", "--", "touch", "ran")
    assert denied.status == 3
    assert "no touching" in denied.err
    document.unlink()
    assert home.run("sandbox", "run", "--", "touch", "ran").status == 3
    document.write_text("# nothing denied any more\n")
    assert home.run("sandbox", "run", "--", "touch", "ran").status == 3
    assert not (home.cwd / "ran").exists()
    assert home.run("verify").status == 3


def test_a_host_is_reached_when_it_is_named_and_only_then(home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answering = threading.Thread(target=_answer_once, args=(server,), daemon=True)
        answering.start()
        url = f"http://127.0.0.1:{port}/"
        refused = home.run("sandbox", "run", "--allow-host", "example.com", "--json", "--", "curl", "-sS", url)
        assert [c["code"] for c in refused.json["connections"]] == ["net.private"]
        assert refused.json["denied"][0]["grant"] == f"127.0.0.1:{port}"
        reached = home.run("sandbox", "run", "--allow-host", f"127.0.0.1:{port}", "--", "curl", "-sS", url)
        assert (reached.status, reached.out) == (0, "hello\n"), reached
        answering.join(5)
    seen = [(e["verdict"], e["code"]) for e in entries(home) if e["kind"] == "connection"]
    assert seen == [("deny", "net.private"), ("allow", "listed"), ("allow", "net.closed")]
    for bad in ("example.com:x", "127.1", "*.example.com"):
        assert home.run("sandbox", "run", "--allow-host", bad, "--", "true").status == 2
    assert home.run("sandbox", "run", "--allow-host", "169.254.169.254:80", "--", "true").status == 3


def _answer_once(server):
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")


def test_what_a_command_asked_for_is_proposed_and_then_enough(home):
    other = home.cwd.parent / "other"
    other.mkdir()
    (other / "data").write_text("text\n")
    (home.path / ".ssh").mkdir(mode=0o700)
    (home.path / ".ssh/id_rsa").write_text("PLANTED")
    script = f"cat {other}/data 2>/dev/null; cat {home.path}/.ssh/id_rsa ~/.bashrc; curl -sS http://example.org/"
    seen = home.run("sandbox", "run", "--learn", "--json", "--", "sh", "-c", script).json
    assert seen["proposed"][:2] == ["--read", f"{other}/data"]
    assert not [word for word in seen["proposed"] if ".ssh" in word or "PLANTED" in word]
    if seen["rung"] == "A":
        assert seen["proposed"][2:] == ["--allow-host", "example.org:80"]
    again = home.run("sandbox", "run", *seen["proposed"][:2], "--", "cat", f"{other}/data")
    assert again.out == "text\n"
    told = home.run("sandbox", "run", "--learn", "--", "cat", f"{other}/data")
    assert f"localgpt sandbox run --read {other}/data -- cat {other}/data" in told.err


def test_places_that_are_no_project(home):
    for folder in (home.path, home.path.parent, "/"):
        home.cwd = folder
        result = home.run("sandbox", "run", "--", "true")
        assert result.status in {2, 3}, (folder, result)
        assert "\ncure: " in result.err


def test_a_program_that_is_not_there(home):
    result = home.run("sandbox", "run", "--", "no-such-program")
    assert result.status == 1
    assert "not found" in result.err


def test_without_a_command_usage_is_told(home):
    assert home.run("sandbox", "run").status == 2
    assert home.run("sandbox", "run", "--").status == 2


@pytest.mark.parametrize("value", ["0", "-1", "x", "nan", "inf"])
def test_bad_timeouts(home, value):
    assert home.run("sandbox", "run", "--timeout", value, "--", "true").status == 2
