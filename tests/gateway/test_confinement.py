"""What the gateway and the model server can still do once they have confined themselves."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from localgpt.gateway.confinement import gateway_read_paths
from localgpt.wire import EmbeddedStart, GatewayReady, GatewayStart, ModelFailed, PeerGone, TurnCancel
from tests.gateway.conversation import child, endpoint_of, make_call, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="confinement needs Landlock and seccomp")

ATTEMPTS = """
import json, os, socket, subprocess, sys, threading
from localgpt.gateway.confinement import {confine}, harden
secret, scratch, folder, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
harden()
{call}
def attempt(what):
    try:
        what()
    except (OSError, subprocess.SubprocessError) as error:
        return type(error).__name__
    return "done"
def unix_listen():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(folder + "/s.sock")
    listener.listen()
thread = threading.Thread(target=lambda: None)
thread.start()
print(json.dumps({{
    "read": attempt(lambda: open(secret).read()),
    "home": attempt(lambda: os.listdir(os.path.dirname(secret))),
    "write": attempt(lambda: open(scratch, "w").write("x")),
    "exec": attempt(lambda: subprocess.run([sys.executable, "-c", "0"], check=True)),
    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", port), 5)),
    "listen": attempt(lambda: socket.create_server(("127.0.0.1", 0))),
    "unix listen": attempt(unix_listen),
    "signal": attempt(lambda: os.kill(os.getppid(), 0)),
    "import": attempt(lambda: __import__("httpx2")),
    "core": __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE)[0],
}}))
"""


def attempts(tmp_path: Path, confine: str, call: str) -> dict[str, object]:
    (tmp_path / "home").mkdir()
    (tmp_path / "run").mkdir()
    secret = tmp_path / "home" / "id_rsa"
    secret.write_text("private")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        argv = [str(secret), str(tmp_path / "out"), str(tmp_path / "run"), str(listener.getsockname()[1])]
        code = ATTEMPTS.format(confine=confine, call=call)
        done = subprocess.run([sys.executable, "-I", "-c", code, *argv], capture_output=True, timeout=60, check=True)
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def test_the_gateway_connects_and_nothing_else(tmp_path: Path) -> None:
    tried = attempts(tmp_path, "confine_gateway", "confine_gateway(())")
    assert {name for name, outcome in tried.items() if outcome == "done"} == {"connect", "import"}
    assert tried["core"] == 0


def test_the_model_server_listens_on_its_socket_and_nothing_else(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    call = f"confine_embedded({str(model)!r}, folder + '/s.sock')"
    tried = attempts(tmp_path, "confine_embedded", call)
    assert {name for name, outcome in tried.items() if outcome == "done"} == {"unix listen", "import"}


def test_certificates_and_resolver_are_all_that_is_read_besides_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    for path in gateway_read_paths():
        assert path.startswith(("/etc/", "/usr/", "/run/")), path
        assert path not in {"/etc", "/usr", "/run"}


def test_the_gateway_process_is_confined(tmp_path: Path) -> None:
    with child("localgpt.gateway") as talk:
        talk.send(GatewayStart(()))
        assert talk.channel.receive(30) == GatewayReady()
        status = Path(f"/proc/{talk.process.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


def test_a_message_that_does_not_belong_ends_the_process() -> None:
    for module in ("localgpt.gateway", "localgpt.gateway.embedded"):
        with child(module) as talk:
            talk.send(TurnCancel("t"))
            with pytest.raises(PeerGone):
                talk.channel.receive(30)
            assert talk.process.wait(10) == 1
            assert talk.process.stderr is not None
            assert b"TurnCancel" in talk.process.stderr.read()


def test_the_end_of_the_channel_ends_the_process_with_calls_under_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, child("localgpt.gateway") as talk:
        talk.send(GatewayStart(()))
        talk.send(make_call(endpoint_of(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")))
        assert talk.channel.receive(30) == GatewayReady()
        silent.accept()
        talk.channel.close()
        assert talk.process.wait(10) == 0


def test_a_killed_monitor_takes_its_children_along(tmp_path: Path) -> None:
    """The kernel does it: the socket stays open in the killed process's other children."""
    code = (
        "import os, socket, subprocess, sys, time\n"
        "ours, theirs = socket.socketpair()\n"
        "argv = [sys.executable, '-I', '-m', 'localgpt.gateway', '--fd', str(theirs.fileno())]\n"
        "child = subprocess.Popen(argv, pass_fds=(theirs.fileno(),))\n"
        "keeper = subprocess.Popen(['sleep', '60'], pass_fds=(ours.fileno(),))\n"
        "from localgpt.wire import Channel, GatewayStart\n"
        "channel = Channel(ours)\n"
        "channel.send(GatewayStart(()))\n"
        "channel.receive(30)\n"
        "print(child.pid, keeper.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as monitor:
        assert monitor.stdout is not None
        pid, keeper = map(int, monitor.stdout.readline().split())
        monitor.kill()
        try:
            wait_until(lambda: not _alive(pid))
        finally:
            os.kill(keeper, 9)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the extra 'embedded' is not installed")
    for path, words in ((tmp_path / "missing.gguf", "missing.gguf"), (tmp_path / "junk.gguf", "junk.gguf")):
        if "junk" in words:
            path.write_bytes(b"GGUF" + bytes(100))
        with child("localgpt.gateway.embedded") as server:
            server.send(EmbeddedStart(str(path), "m", str(tmp_path / "m.sock"), "k" * 32, 1, 512))
            message = server.channel.receive(60)
        assert not isinstance(message, ModelFailed)
        assert words in getattr(message, "message", "")
        assert "cure:" in getattr(message, "message", "")
        assert not (tmp_path / "m.sock").exists()


@pytest.mark.parametrize("name", ["model", "x" * 120 + ".sock"])
def test_a_socket_that_cannot_be_one_is_named(tmp_path: Path, name: str) -> None:
    with child("localgpt.gateway.embedded") as server:
        server.send(EmbeddedStart("/m.gguf", "m", str(tmp_path / name), "k" * 32, 1, 512))
        assert "cannot be a model server's socket" in getattr(server.channel.receive(60), "message", "")
