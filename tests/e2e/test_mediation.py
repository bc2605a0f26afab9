"""Complete mediation, seen from outside: every execve, connect and open-for-write has an earlier, durable entry.

The whole program runs under strace. Its writes to the audit log are in the same trace, so that "earlier" is the order
of system calls and no clock: an entry counts from the moment its fdatasync has returned.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import House
from tests.e2e.test_chat import scripted, start
from tests.gateway.scripted_dialects import Answer
from tests.gateway.scripted_server import running

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

CALLS = "execve,execveat,connect,open,openat,openat2,creat,write,fdatasync"
STRACE = ("strace", "-f", "-y", "-qq", "-s", "60000", "-e", f"trace={CALLS}", "-e", "signal=none", "-o")
_LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>)?(.*)$", re.DOTALL)
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_RUNTIME = re.compile(r'"localgpt\.(agent|gateway|gateway\.embedded)"')
_ZYGOTE = re.compile(r'"-I", "-S", "-E", "[^"]*zygote[^"]*"|"-S", "-E", "-c"|sandbox[./]zygote')


@dataclass(frozen=True)
class Call:
    """One system call. `text`: its arguments and result, as strace shows them."""

    pid: int
    name: str
    text: str

    @property
    def failed(self) -> bool:
        return " = -1 " in self.text

    @property
    def path(self) -> str:
        found = _PATH.search(self.text)
        return "" if found is None else found[1]


def calls(trace: Path) -> list[Call]:
    """Whole calls, in the order in which they ended; an execve stands where it began."""
    found: list[Call] = []
    unfinished: dict[int, tuple[int, str]] = {}
    for line in trace.read_text(errors="replace").splitlines():
        parts = _LINE.match(line)
        if parts is None:
            continue
        pid, name, rest = int(parts[1]), parts[2], parts[3]
        if rest.endswith("<unfinished ...>"):
            unfinished[pid] = len(found), rest.removesuffix("<unfinished ...>")
            if name.startswith("execve"):
                found.append(Call(pid, name, rest))
        elif f"<... {name} resumed>" in line:
            began, text = unfinished.pop(pid, (len(found), ""))
            if name.startswith("execve"):
                found[began] = Call(pid, name, text + rest)
            else:
                found.append(Call(pid, name, text + rest))
        else:
            found.append(Call(pid, name, rest))
    return found


@dataclass
class Witness:
    """Follows the trace and keeps what the log had acknowledged at each moment."""

    house: House
    hidden: str = ""  #: a kind of entries to overlook
    entries: list[dict[str, Any]] = field(default_factory=list)
    pending: list[dict[str, Any]] = field(default_factory=list)
    runtime: set[int] = field(default_factory=set)
    seen: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def follow(self, trace: Path) -> None:
        stream = iter(calls(trace))
        first = next(call for call in stream if call.name == "execve")
        self.runtime.add(first.pid)
        for call in stream:
            if call.name == "write":
                self.note_write(call)
            elif call.name == "fdatasync":
                if "/audit/" in call.text and call.text.endswith("= 0"):
                    self.entries += self.pending
                    self.pending = []
            else:
                self.judge(call)

    def note_write(self, call: Call) -> None:
        if "/audit/" not in call.text or ".log>" not in call.text:
            return
        text = _PATH.search(call.text)
        assert text is not None
        for line in text[1].encode().decode("unicode_escape").encode("latin-1").decode().splitlines():
            entry = json.loads(line)
            if entry["kind"] != self.hidden:
                self.pending.append(entry)

    def judge(self, call: Call) -> None:
        what = {"execve": "execve", "execveat": "execve", "connect": "connect"}.get(call.name, "open")
        if what == "open" and (not _WRITES.search(call.text) or self.is_own(call)):
            return
        self.seen[what] = self.seen.get(what, 0) + 1
        if not getattr(self, f"{what}_is_mediated")(call):
            known = [(entry["kind"], entry.get("argv0"), entry.get("path")) for entry in self.entries[-3:]]
            self.complaints.append(f"{call.pid} {call.name}{call.text[:300]} (last entries: {known})")

    # --- the three questions ------------------------------------------------------------------------------------

    def execve_is_mediated(self, call: Call) -> bool:
        if room := _RUNTIME.search(call.text):
            self.runtime.add(call.pid)
            return self.has("process.start", role=room[1])
        if _ZYGOTE.search(call.text):
            return self.has("process.start", role="zygote") or self.command_under_way()
        if not self.proof_taken():
            return self.has("process.start", role="zygote")  # its self-test
        if call.failed:
            return True  # an SDK asks for uname in the gateway, and the kernel refuses
        return call.pid not in self.runtime and self.command_under_way()

    def connect_is_mediated(self, call: Call) -> bool:
        if call.pid in self.runtime:
            host = call.path if "AF_UNIX" in call.text else re.search(r'inet_addr\("([^"]+)"\)', call.text)
            name = host if isinstance(host, str) or host is None else host[1]
            return any(e["kind"] in ("model.call", "connection") and e["host"] == name for e in self.entries)
        return call.failed and (not self.proof_taken() or self.command_under_way())

    def open_is_mediated(self, call: Call) -> bool:
        if call.pid in self.runtime:
            return False
        return call.failed or self.command_under_way() or not self.proof_taken()

    # --- what the log said --------------------------------------------------------------------------------------

    def has(self, kind: str, **fields: str) -> bool:
        return any(e["kind"] == kind and all(e[name] == value for name, value in fields.items()) for e in self.entries)

    def proof_taken(self) -> bool:
        return self.has("sandbox.proof")

    def command_under_way(self) -> bool:
        """Whether a decision lets a command run and its outcome is not yet known."""
        decided = [e for e in self.entries if e["kind"] == "decision" and "argv0" in e and e["verdict"] != "deny"]
        ended = {e["call"] for e in self.entries if e["kind"] == "outcome"}
        return bool(decided) and decided[-1]["call"] not in ended

    def is_own(self, call: Call) -> bool:
        """Runtime state, and devices that keep nothing."""
        own = [
            self.house.state,
            self.house.data,
            self.house.home / ".config/localgpt",
            self.house.home / ".cache/localgpt",
        ]
        own.append(Path(self.house.environment["XDG_RUNTIME_DIR"]))
        path = call.path
        if call.pid not in self.runtime and not self.proof_taken():
            return True  # the zygote builds its own root before it serves anybody
        return any(path.startswith(f"{each}/") for each in own) or path.startswith(("/dev/", "/proc/self/"))


def test_every_effect_has_an_earlier_entry(tmp_path: Path):
    house = House(tmp_path / "home")
    trace = tmp_path / "trace"
    outside = house.home / "outside"
    outside.mkdir()
    script: list[Answer] = [
        {"tool_calls": [{"name": "shell", "arguments": {"command": "echo made > made.txt; cat made.txt | wc -c"}}]},
        {"tool_calls": [{"name": "write_file", "arguments": {"path": "notes.txt", "content": "hello"}}]},
        {"tool_calls": [{"name": "write_file", "arguments": {"path": str(outside / "x"), "content": "no"}}]},
        {"text": "That is all I know."},
    ]
    with running(script) as server:
        scripted(house, server.base_url)
        with house.first_chat(prefix=(*STRACE, str(trace))) as terminal:
            start(terminal)
            before = terminal.type("go")
            terminal.wait_for(r"\[d\]|deny", after=before)
            terminal.choose("d", "why .goes to the model")
            terminal.type("stay inside")
            terminal.wait_for("That is all I know", after=before)
            terminal.type("!ls -l > listing.txt")
            terminal.wait_for(r"exit (status )?0", after=len(terminal.text()) - 400)
            terminal.type("/quit")
            assert terminal.end() == 0
    assert (house.project / "notes.txt").read_text() == "hello"
    assert (house.project / "listing.txt").exists()
    assert not (outside / "x").exists()
    for hidden in ("decision", "process.start", "model.call"):  # a witness who can miss nothing proves nothing
        deaf = Witness(house, hidden=hidden)
        deaf.follow(trace)
        assert deaf.complaints, hidden
    witness = Witness(house)
    witness.follow(trace)
    assert witness.complaints == []
    assert witness.seen["execve"] >= 6
    assert witness.seen["connect"] >= 1
    assert witness.seen["open"] >= 3
    kept = [entry["seq"] for entry in house.entries()]
    assert kept == [entry["seq"] for entry in witness.entries], "the trace and the log tell the same"
