"""The device key: in no plan, and in the memory of no process but the monitor's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.house import House
from tests.e2e.test_chat import calls, scripted, start
from tests.gateway.scripted_server import running

from localgpt.crypto import load_device_key

pytestmark = pytest.mark.e2e
_LABELS = ("localgpt policy manifest v2", "localgpt policy snapshot v1", "localgpt policy pin v1")


def children(pid: int) -> Iterator[int]:
    """Every living descendant."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from children(int(child))


def memory_holds(pid: int, needles: list[bytes]) -> bool:
    """Whether any readable page of the process holds one of `needles`.

    Raises:
        PermissionError: the kernel lets nobody of this user look.
    """
    overlap = max(map(len, needles))
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            bounds, rights = line.split()[:2]
            if not rights.startswith("rw") or "[v" in line:
                continue  # what came from a file and was never written holds no secret
            begin, end = (int(part, 16) for part in bounds.split("-"))
            if _region_holds(memory.fileno(), begin, end, needles, overlap):
                return True
    return False


def _region_holds(descriptor: int, begin: int, end: int, needles: list[bytes], overlap: int) -> bool:
    at, tail = begin, b""
    while at < end:
        try:
            data = os.pread(descriptor, min(1 << 20, end - at), at)
        except OSError:
            return False  # a guard page, or memory that was given back
        if not data:
            return False
        if any(needle in tail + data for needle in needles):
            return True
        at, tail = at + len(data), data[-overlap:]
    return False


def test_no_process_but_the_monitor_holds_the_key(tmp_path):
    house = House(tmp_path / "home")
    assert house.run("init").returncode == 0
    assert house.run("sign", "--yes").returncode == 0
    key = load_device_key(house.data / "localgpt.device.key")
    secret = (house.data / "localgpt.device.key").read_bytes()
    needles = [secret, secret.hex().encode(), *(key.subkey(label) for label in _LABELS)]
    with running([{"text": "Hello."}]) as server:
        scripted(house, server.base_url)
        with house.terminal("chat", "--trust") as terminal:
            start(terminal)
            terminal.type("hello")
            terminal.wait_for(r"Hello\.")  # of the answer alone; the status line has moved, so no place can be given
            monitor = terminal.child.pid
            assert monitor is not None
            found = set(children(monitor))
            names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found}
            assert any(b"localgpt.agent" in name for name in names.values())
            assert any(b"localgpt.gateway" in name for name in names.values())
            try:
                assert memory_holds(monitor, needles), "the search itself must be able to find it"
                assert [names[pid] for pid in found if memory_holds(pid, needles)] == []
            except PermissionError:
                pytest.skip("this kernel lets nobody of this user read a process's memory")


def test_no_command_reaches_the_key_by_any_name(tmp_path):
    """Through its path, links to it, the descriptors and environments of other processes, and the retired keys."""
    house = House(tmp_path / "home")
    assert house.run("init").returncode == 0
    assert house.run("key", "rotate", "--yes").returncode == 0
    key = house.data / "localgpt.device.key"
    (retired,) = (path for path in house.data.iterdir() if path.name.startswith("localgpt.device.key."))
    hexes = [path.read_bytes().hex() for path in (key, retired)]
    attempts = "; ".join(
        [
            *(f"od -An -v -tx1 {path}" for path in (key, retired)),
            f"ln {key} hard; ln -s {key} soft; od -An -v -tx1 hard soft",
            f"cp -r {house.data} copy; find copy -type f -exec od -An -v -tx1 {{}} +",
            "for f in /proc/[0-9]*/fd/* /proc/[0-9]*/root" + str(key) + "; do od -An -v -tx1 $f; done",
            "cat /proc/[0-9]*/environ | od -An -v -tx1",
        ]
    )
    done = house.run("sandbox", "run", "--json", "--timeout", "40", "--", "/bin/sh", "-c", attempts + "; echo tried")
    assert "tried" in done.stdout
    said = "".join(done.stdout.replace("\\n", "").split())
    assert [number for number, each in enumerate(hexes) if each in said] == []


def test_no_tool_reads_the_key(tmp_path):
    house = House(tmp_path / "home")
    assert house.run("init").returncode == 0
    key = house.data / "localgpt.device.key"
    told = house.json("policy", "explain", "--json", "read", str(key))
    assert (told["verdict"], told["code"]) == ("deny", "read.secret")
    assert house.json("policy", "explain", "--json", "write", str(key))["verdict"] == "deny"
    with running(calls(f"cat {key} && echo GOT''IT")) as server:
        scripted(house, server.base_url)
        done = house.run("ask", "--tools", "--trust", "read it", timeout_s=120)
    assert "GOTIT" not in done.stdout
    secret = key.read_bytes()
    for path in house.state.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes()
            assert secret.hex() not in path.read_text(errors="replace")
