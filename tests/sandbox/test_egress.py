"""Hosts one by one, with the programs that people use; and what happens where it cannot be."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import resource
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.sandbox import Executor, Plan, Rung
from localgpt.sandbox.faults import BadHost, HostsUnsupported
from tests.sandbox.town import Town, town

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
HOSTS = ("good.example",)
PYTHON = os.path.realpath(sys.executable)


@pytest.fixture(scope="module")
def place() -> Iterator[Town]:
    with town() as running:
        yield running


def test_without_a_namespace_hosts_are_refused(project: Path) -> None:
    with (
        pytest.raises(HostsUnsupported, match="without a network namespace"),
        Executor(Plan.workspace_write(project, hosts=["good.example"]), max_rung=Rung.B),
    ):
        pass


@pytest.mark.parametrize(
    "host", ["", "http://x", "a b", "127.1", "x:0", "x:99999", "0.0.0.0", "*.127.0.0.1", "[::]:1", "x@y"]
)
def test_a_plan_names_hosts_and_nothing_else(project: Path, host: str) -> None:
    with pytest.raises(BadHost):
        Plan.workspace_write(project, hosts=[host])


def test_hosts_of_a_plan_have_one_spelling(project: Path) -> None:
    plan = Plan.workspace_write(project, hosts=["PyPI.org", "pypi.org.", "[::FFFF:10.0.0.1]:80", "*.Example.com:443"])
    assert plan.hosts == ("pypi.org", "10.0.0.1:80", "*.example.com:443")


def test_a_plan_without_hosts_has_no_sockets_at_all(place: Town) -> None:
    answer = place.python("import socket; socket.socket()")
    assert "PermissionError" in answer["err"]


def test_what_commands_may_still_do_is_proven(project: Path) -> None:
    with Executor(Plan.workspace_write(project, hosts=["good.example"])) as running:
        assert {"proxy-front", "proxy-dialer", "canary-socket"} <= {
            n for n, held, _ in running.proof.mechanisms if held
        }
        environment = running.run(["env"]).stdout.decode()
        assert "https_proxy=http://127.0.0.1:3128" in environment


def test_a_question_takes_none_of_the_command_s_time(place: Town) -> None:
    answer = place.run(
        "curl", "-sS", "http://neighbour.example/page", hosts=HOSTS, answers={"neighbour.example": True},
        timeout_s=1.5, think_s=2.5,
    )  # fmt: skip
    assert (answer["status"], answer["out"]) == (0, "the web\n")


@pytest.mark.parametrize("arguments", [[], ["--proxytunnel"], ["--socks5-hostname", "127.0.0.1:3128", "--proxy", ""]])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_curl(place: Town, scheme: str, arguments: list[str]) -> None:
    if "--socks5-hostname" in arguments:
        arguments = ["--proxy", "socks5h://127.0.0.1:3128"]
    answer = place.run(
        "curl", "-sSf", "--cacert", str(place.ca), *arguments, f"{scheme}://good.example/page", hosts=HOSTS
    )
    assert (answer["status"], answer["out"]) == (0, "the web\n"), answer


def test_urllib_and_a_large_body_both_ways(place: Town) -> None:
    code = (
        "import urllib.request, ssl, hashlib\n"
        f"context = ssl.create_default_context(cafile={str(place.ca)!r})\n"
        "data = bytes(range(256)) * 16384\n"
        "for scheme in ('http', 'https'):\n"
        "    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))\n"
        "    print(hashlib.sha256(opener.open(f'{scheme}://good.example/echo', data).read()).hexdigest())\n"
        "import http.client\n"
        "c = http.client.HTTPConnection('127.0.0.1', 3128)\n"
        "c.request('POST', 'http://good.example/echo', body=iter([data[:999], data[999:]]), encode_chunked=True)\n"
        "print(hashlib.sha256(c.getresponse().read()).hexdigest())\n"
    )
    answer = place.python(code, hosts=HOSTS)
    assert answer["out"].split() == [hashlib.sha256(bytes(range(256)) * 16384).hexdigest()] * 3, answer


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_git_clone(place: Town, scheme: str, tmp_path: Path) -> None:
    web = place.folder.parent / "web"
    if not (web / "repo.git").exists():
        source = tmp_path / "source"
        for line in (f"init -q {source}", f"-C {source} commit -q --allow-empty -m first",
                     f"clone -q --bare {source} {web / 'repo.git'}",
                     f"-C {web / 'repo.git'} update-server-info"):  # fmt: skip
            who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
            subprocess.run(["git", *who, *line.split()], check=True)
    target = str(place.folder / f"clone-{scheme}")
    environment = {"GIT_SSL_CAINFO": str(place.ca), "GIT_TERMINAL_PROMPT": "0"}
    answer = place.run("git", "clone", "-q", f"{scheme}://good.example/repo.git", target, hosts=HOSTS, env=environment)
    assert answer["status"] == 0, answer
    refused = place.run("git", "ls-remote", f"{scheme}://neighbour.example/repo.git", hosts=HOSTS, env=environment)
    assert refused["status"] != 0
    assert "403" in refused["err"]


def test_pip_installs_from_the_listed_index_only(place: Town) -> None:
    index = place.folder.parent / "web" / "simple" / "wares"
    index.mkdir(parents=True)
    wheel = index / "wares-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("wares.py", "")
        archive.writestr("wares-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: wares\nVersion: 1\n")
        archive.writestr("wares-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("wares-1.dist-info/RECORD", "")
    (index / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    pip = [sys.executable, "-I", "-m", "pip", "install", "-q", "--no-cache-dir", "--disable-pip-version-check",
           "--retries", "0", "--cert", str(place.ca), "--target"]  # fmt: skip
    answer = place.run(*pip, str(place.folder / "site"), "-i", "https://good.example/simple/", "wares", hosts=HOSTS,
                       read=[sys.prefix])  # fmt: skip
    assert answer["status"] == 0, answer
    assert (place.folder / "site" / "wares.py").exists()
    elsewhere = place.run(*pip, str(place.folder / "other"), "-i", "https://neighbour.example/simple/", "wares",
                          hosts=HOSTS, read=[sys.prefix])  # fmt: skip
    assert elsewhere["status"] != 0
    assert elsewhere["connections"][0][2] == "net.unlisted"


def test_descriptors_with_large_numbers(project: Path) -> None:
    """A runtime with a thousand open files hands its own numbers on."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[1] < 2048:
        pytest.skip("this host allows no 2048 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], 2048), limit[1]))
    with contextlib.ExitStack() as many:
        for _ in range(1100):
            many.callback(os.close, os.open("/dev/null", os.O_RDONLY))
        with Executor(Plan.workspace_write(project, hosts=["good.example"])) as running:
            done = running.run(["curl", "-sS", "http://evil.example/"])
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert [each.code for each in done.connections] == ["net.unlisted"]


def test_forty_at_once(place: Town) -> None:
    code = (
        "import urllib.request, concurrent.futures as f\n"
        "get = lambda i: urllib.request.urlopen('http://good.example/page').read()\n"
        "with f.ThreadPoolExecutor(40) as pool: print([*pool.map(get, range(120))].count(b'the web\\n'))"
    )
    answer = place.python(code, hosts=HOSTS)
    assert answer["out"] == "120\n", answer
    assert len(answer["connections"]) == 120


@pytest.mark.parametrize("requests", [100, pytest.param(5000, marks=pytest.mark.nightly)])
def test_descriptors_and_threads_stay_flat(project: Path, requests: int) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_address[1]}"
        code = (
            "import contextlib, socket, sys\n"
            f"for number in range({requests}):\n"
            "    host = sys.argv[1] if number % 2 else 'evil.example:80'\n"
            "    with socket.create_connection(('127.0.0.1', 3128)) as s, contextlib.suppress(OSError):\n"
            "        s.sendall(f'CONNECT {host} HTTP/1.1\\r\\n\\r\\n'.encode()); s.recv(1000)\n"
            "        s.sendall(b'HEAD / HTTP/1.1\\r\\nHost: ' + host.encode() + b'\\r\\n\\r\\n'); s.recv(1000)\n"
        )
        with Executor(Plan.workspace_write(project, hosts=[place])) as running:
            held = []
            for _ in range(3):
                done = running.run([PYTHON, "-I", "-S", "-c", code, place])
                assert done.exit_status == 0, done.stderr
                assert len(done.connections) == min(requests, 4096)
                held.append([_held(pid) for pid in _peers()])
            assert held[1] == held[2], held
        server.shutdown()


def _peers() -> list[int]:
    """The two processes of the proxy, children of this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"localgpt.sandbox." in process.read_bytes() and _parent(process) == os.getpid():
                found.append(int(process.parent.name))
    return sorted(found)


def _held(pid: int) -> tuple[int, int]:
    """Descriptors and threads of a process."""
    descriptors, threads = (sum(1 for _ in Path(f"/proc/{pid}/{what}").iterdir()) for what in ("fd", "task"))
    return descriptors, threads


@pytest.mark.parametrize("program", ["proxy", "dialer"])
def test_a_proxy_that_was_killed_is_replaced(project: Path, program: str) -> None:
    with Executor(Plan.workspace_write(project, hosts=["good.example"])) as running:
        for _ in range(2):
            assert running.run(["true"]).exit_status == 0
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                words = process.read_bytes().split(b"\0")
                if len(words) > 5 and f"sandbox.{program} ".encode() in words[5] and _parent(process) == os.getpid():
                    os.kill(pid := int(process.parent.name), 9)
                    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            running.run(["true"])


def _parent(cmdline: Path) -> int:
    return int((cmdline.parent / "stat").read_text().rpartition(")")[2].split()[1])
