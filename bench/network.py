"""What hosts one by one cost: the start of a plan with hosts, a connection through the proxy, and bytes through it.

   python -m bench.network [--json] [--requests N] [--check]

A server on loopback, named by the plan, is asked by one Python client: bare, and as a command. Both do the same
requests, each on a connection of its own, and take the time themselves, so that starting the command does not count.
The last figure is what `sandbox run --learn` adds. Ends with status 1 when a limit is missed; a loud machine is not
judged.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from localgpt.sandbox import Executor, Plan
from localgpt.sandbox.egress import Egress

LIMIT_START_MS = 250.0
LIMIT_ADDED_MS = 5.0
LIMIT_MB_S = 100.0
LIMIT_LEARN_US = 250.0
BODY = bytes(64 << 20)
_PYTHON = os.path.realpath(sys.executable)
_CLIENT = """
import http.client, sys, time
host, port, path, count, proxy = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]
for _ in range(count):
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", 3128) if proxy else http.client.HTTPConnection(host, port)
    connection.request("GET", f"http://{host}:{port}{path}" if proxy else path, headers={"Host": f"{host}:{port}"})
    size = len(connection.getresponse().read())
    connection.close()
    print(time.perf_counter() - start, size)
"""
_STATS = """
import os, time
start = time.perf_counter()
for _ in range(2000): os.stat("/etc/hostname")
print((time.perf_counter() - start) / 2000)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure in its unit; `bare` is the same without the sandbox, None where there is no such thing."""

    what: str
    unit: str
    bare: float | None
    ours: float
    limit: float
    met: bool


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = BODY if self.path == "/large" else b"small"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def client(port: int, path: str, count: int, proxy: str) -> list[str]:
    """Command line of the client."""
    return [_PYTHON, "-I", "-S", "-c", _CLIENT, "127.0.0.1", str(port), path, str(count), proxy]


def seconds(output: bytes) -> list[float]:
    """What the client took for each request."""
    return [float(line.split()[0]) for line in output.splitlines()]


def connections(executor: Executor, port: int, requests: int) -> Row:
    """Milliseconds that a request on a connection of its own takes longer through the proxy, in rounds in turn."""
    pairs = []
    for _ in range(3):
        bare = subprocess.run(client(port, "/", requests, ""), capture_output=True, check=True).stdout
        ours = executor.run(client(port, "/", requests, "yes")).stdout
        pairs.append((statistics.median(seconds(bare)) * 1e3, statistics.median(seconds(ours)) * 1e3))
    added = statistics.median(b - a for a, b in pairs)
    return Row("added by a connection", "ms", None, added, LIMIT_ADDED_MS, added <= LIMIT_ADDED_MS)


def throughput(executor: Executor, port: int) -> Row:
    """Megabytes a second of one large answer."""
    size = len(BODY) / 1e6
    bare = subprocess.run(client(port, "/large", 3, ""), capture_output=True, check=True).stdout
    ours = executor.run(client(port, "/large", 3, "yes")).stdout
    speeds = [size / min(seconds(output)) for output in (bare, ours)]
    return Row("one large answer", "MB/s", speeds[0], speeds[1], LIMIT_MB_S, speeds[1] >= LIMIT_MB_S)


def starts(folder: Path, port: int) -> Row:
    """Milliseconds from nothing to a proven zygote with its proxy; beside it, one without hosts."""
    times: list[list[float]] = [[], []]
    for _ in range(7):
        for kind, hosts in enumerate(((), (f"127.0.0.1:{port}",))):
            start = time.perf_counter()
            with Executor(Plan.workspace_write(folder, hosts=hosts)):
                times[kind].append((time.perf_counter() - start) * 1e3)
    bare, ours = (statistics.median(each) for each in times)
    return Row("start, without hosts beside it", "ms", bare, ours, LIMIT_START_MS, ours <= LIMIT_START_MS)


def memory() -> Row:
    """Proportional memory of front and dialer, in MiB; 0 where it cannot be looked at (only root can)."""

    class Nobody:
        def may_connect(self, host: str, port: int, *, listed: bool) -> bool:  # noqa: ARG002 -- as the protocol says
            return False

        def connected(self, connection: object) -> None:
            pass

    egress = Egress((), Nobody())
    read, write = os.pipe()
    os.close(write)
    egress.ready(read)
    total = 0
    for process in (egress._front._process, egress._dialer._process):
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    egress.close()
    return Row("memory of the proxy's two processes", "MiB", None, total / 1024, 32.0, total / 1024 <= 32.0)


def learning(folder: Path) -> Row:
    """Microseconds of one stat(), plain and watched."""
    found = []
    for learn in (False, True):
        with Executor(Plan.workspace_write(folder), learn=learn) as executor:
            found.append(min(float(executor.run([_PYTHON, "-I", "-S", "-c", _STATS]).stdout) * 1e6 for _ in range(3)))
    return Row(
        "one call that names a path, watched", "us", found[0], found[1], LIMIT_LEARN_US, found[1] <= LIMIT_LEARN_US
    )


def bench(requests: int) -> Iterator[Row]:
    """Every figure."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        yield starts(folder, port)
        with Executor(Plan.workspace_write(folder, hosts=[f"127.0.0.1:{port}"])) as executor:
            yield connections(executor, port, requests)
            yield throughput(executor, port)
        yield memory()
        yield learning(folder)
    server.shutdown()


def main() -> int:
    """Print the table or rows; 1 when a limit was missed and the machine was quiet."""
    parser = argparse.ArgumentParser(prog="python -m bench.network")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--requests", type=int, default=60)
    options = parser.parse_args()
    rows = list(bench(options.requests))
    loud = os.getloadavg()[0] > 0.75 * (os.cpu_count() or 1)
    for row in rows:
        if options.json:
            print(json.dumps(asdict(row)))
        else:
            beside = "" if row.bare is None else f"{row.bare:10.1f} bare"
            print(f"{row.what:<38} {row.ours:10.1f} {row.unit:<5} limit {row.limit:g} {beside}")
    if loud:
        print(f"the machine is loud (load {os.getloadavg()[0]:.1f}): not judged", file=sys.stderr)
    return 1 if options.check and not loud and not all(row.met for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
