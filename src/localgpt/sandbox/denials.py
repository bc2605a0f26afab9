"""What a command was denied, and the smallest grant that would allow it. Pure.

The kernel tells nobody outside what it refused, short of tracing every call, so paths come from the command's own error
messages and are judged by the plan alone: whether a file is there is not looked up, for a command could ask that way.
Connections are certain: the proxy saw them. `learn` traces and is exact about files as well.
"""

# A plan holds paths as text, which is compared and never touched through an object.
# ruff: noqa: PTH118, PTH120

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from localgpt.sandbox import hosts
from localgpt.sandbox.plan import Plan
from localgpt.sandbox.running import Completed
from localgpt.sandbox.toolchains import is_inside

MOST: Final = 8
_READ_BYTES: Final = 1 << 16
_LONGEST_PATH: Final = 512
_SIGSYS, _SIGXFSZ = 31, 25
_KERNELS: Final = ("/proc", "/sys", "/dev", "/run")
_TEMPORARY: Final = ("/tmp", "/var/tmp")  # noqa: S108 -- private to the command
_OWN: Final = ("/dev/shm", *(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")))  # noqa: S108

_ERROR: Final = re.compile(
    r"permission denied|operation not permitted|read-only file system|no such file(?: or directory)?"
    r"|directory nonexistent"
    r"|\bEACCES\b|\bEPERM\b|\bEROFS\b|\bENOENT\b",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"'([^'\n]{1,512})'|\"([^\"\n]{1,512})\"|‘([^’\n]{1,512})’|`([^`'\n]{1,512})['`]")
_BEFORE: Final = re.compile(r"(?:^|[\s:])([^\s:'\"‘’`]{1,512}): *$")
_WRITES: Final = re.compile(
    r"read-only file system|\bEROFS\b|cannot (?:create|touch|remove|move|make|overwrite)|can't (?:create|open .* for w)"
    r"|for writing|mkdir|directory nonexistent|unable to create|could not create",
    re.IGNORECASE,
)
_NAMES: Final = re.compile(
    r"(?:could not resolve (?:host(?:name)?|proxy):?|unable to resolve host address|could not resolve hostname"
    r"|failed to lookup address information:?|getaddrinfo (?:ENOTFOUND|EAI_AGAIN)|host=)\s*['\"‘]?([A-Za-z0-9._-]+)",
    re.IGNORECASE,
)
_PLACE: Final = re.compile(
    r"(?:connect to|connecting to) ([A-Za-z0-9._:\[\]-]+?) (?:\([^)]*\) )?port (\d{1,5})", re.IGNORECASE
)
_CALLS: Final = (  # what a program says, the call that was refused
    (re.compile(r"no usable sandbox|new namespace|bwrap: |user namespace|unshare", re.IGNORECASE), "unshare"),
    (re.compile(r"ptrace|strace: ", re.IGNORECASE), "ptrace"),
    (re.compile(r"^mount: |mount\(", re.IGNORECASE | re.MULTILINE), "mount"),
    (re.compile(r"perf_event_open", re.IGNORECASE), "perf_event_open"),
    (re.compile(r"io_uring", re.IGNORECASE), "io_uring_setup"),
    (re.compile(r"\bbpf\b", re.IGNORECASE), "bpf"),
    (re.compile(r"\bchroot\b", re.IGNORECASE), "chroot"),
    (re.compile(r"\bsetns\b|nsenter", re.IGNORECASE), "setns"),
    (re.compile(r"keyctl", re.IGNORECASE), "keyctl"),
)


class Want(StrEnum):
    """What was denied."""

    READ = "read"
    WRITE = "write"
    CONNECT = "connect"
    CALL = "call"  #: a system call
    LIMIT = "limit"


_OPTIONS: Final = {Want.READ: "--read", Want.WRITE: "--write", Want.CONNECT: "--allow-host"}


@dataclass(frozen=True, slots=True)
class Denial:
    """One thing denied.

    `subject`: a path, ``HOST:PORT``, a system call or a limit; foreign text. `grant`: the path or host that would have
    to be granted, "" when nothing allows it, which `why` explains.
    """

    want: Want
    subject: str
    why: str
    grant: str = ""

    @property
    def option(self) -> str:
        """The option of ``sandbox run`` that takes the grant, "" when there is none."""
        return _OPTIONS.get(self.want, "") if self.grant else ""

    def __str__(self) -> str:
        """One line."""
        cure = f"; {self.option} {self.grant} would allow it" if self.option else ""
        return f"{self.want.value} {self.subject}: {self.why}{cure}"


def denials(plan: Plan, completed: Completed) -> tuple[Denial, ...]:
    """What `completed` was denied, as far as it is known, most certain first; at most `MOST`."""
    found = dict.fromkeys((*_connections(completed), *_ending(completed), *_messages(plan, completed)))
    return tuple(found)[:MOST]


def judge(plan: Plan, path: str, *, write: bool) -> Denial | None:
    """What the plan denies of `path`, an absolute one without links; None when it denies nothing."""
    want = Want.WRITE if write else Want.READ
    if any(is_inside(path, each) for each in plan.denied):
        return Denial(want, path, "kept from commands, whatever is granted")
    if any(is_inside(path, root) for root in plan.write_roots):
        protected = write and any(is_inside(path, each) for each in plan.protected)
        return Denial(want, path, "other programs obey this name; change it yourself") if protected else None
    if any(is_inside(path, root) for root in (*_OWN, *(() if write else plan.read_roots))):
        return None
    if any(is_inside(path, root) for root in _TEMPORARY):
        parent = os.path.dirname(path)
        own = Denial(want, path, "commands have temporary folders of their own", parent if write else path)
        return None if path in _TEMPORARY or (write and parent in _TEMPORARY) else own
    if any(is_inside(path, kernel) for kernel in _KERNELS):
        return Denial(want, path, "the kernel's own, which no command may open")
    why = "may only be read" if write and any(is_inside(path, root) for root in plan.read_roots) else "not in the plan"
    return Denial(want, path, why, os.path.dirname(path) if write else path)


def _connections(completed: Completed) -> Iterator[Denial]:
    for each in completed.connections:
        place = hosts.shown(each.host, each.port)
        if each.code == "net.unlisted":
            yield Denial(Want.CONNECT, place, "not among the hosts of this command", place)
        elif each.code in {"net.private", "net.own"}:
            near = each.about or each.host
            grant = hosts.shown(near, each.port) if hosts.address_of(near) and not hosts.is_nowhere(near) else ""
            yield Denial(Want.CONNECT, place, f"leads to {near}, which is near and not named itself", grant)
        elif each.code == "net.metadata":
            yield Denial(Want.CONNECT, place, "a metadata service, which no command may reach")
        elif each.code in {"net.sni", "net.not-tls", "net.host-header"}:
            yield Denial(Want.CONNECT, place, f"what went through was not for {each.host} ({each.code})")


_LIMITS: Final = {
    "processes": "more processes than max_processes", "memory": "more memory than the limit",
    "cpu": "more processor time than the limit", "written": "more bytes written than the limit",
}  # fmt: skip


def _ending(completed: Completed) -> Iterator[Denial]:
    if completed.limit:
        yield Denial(Want.LIMIT, completed.limit, _LIMITS.get(completed.limit, "more than its limit"))
    if completed.timed_out:
        yield Denial(Want.LIMIT, "time", "stopped at its time limit")
    if completed.signal == _SIGSYS:
        yield Denial(Want.CALL, "of another architecture", "ended by the kernel; nothing allows it")
    if completed.signal == _SIGXFSZ:
        yield Denial(Want.LIMIT, "file size", "one file larger than max_file_size_bytes")


def _messages(plan: Plan, completed: Completed) -> Iterator[Denial]:
    if completed.exit_status == 0:
        return  # whatever was refused was not needed
    for line in completed.stderr[:_READ_BYTES].decode("utf-8", "replace").splitlines():
        yield from _hosts_in(plan, line)
        error = _ERROR.search(line)
        if error is None:
            continue
        if (call := _call_in(line, error[0])) is not None:
            yield call
            continue
        yield from _paths_in(plan, line, error)


def _hosts_in(plan: Plan, line: str) -> Iterator[Denial]:
    """A host in the message of a program that found no network."""
    named, place = _NAMES.search(line), _PLACE.search(line)
    if place is not None:
        host, port = hosts.normalise(place[1].strip("[]")), int(place[2])
    elif named is not None:
        host, port = hosts.normalise(named[1]), 443
    else:
        return
    if host is None or not 0 < port < 65536:
        return
    if not plan.networked:
        grant = "" if hosts.refusal_of_name(host) == "net.metadata" else hosts.shown(host, port)
        yield Denial(Want.CONNECT, hosts.shown(host, port), "this command has no network", grant)
    elif port != _PROXY_PORT:
        yield Denial(Want.CONNECT, hosts.shown(host, port), "the program did not ask the proxy (HTTPS_PROXY)")


_PROXY_PORT: Final = 3128


def _call_in(line: str, error: str) -> Denial | None:
    if error.lower() not in {"operation not permitted", "eperm", "permission denied"}:
        return None
    for pattern, call in _CALLS:
        if pattern.search(line):
            return Denial(Want.CALL, call, "refused to every command; nothing allows it")
    return None


def _paths_in(plan: Plan, line: str, error: re.Match[str]) -> Iterator[Denial]:
    words = [next(filter(None, groups)) for groups in _QUOTED.findall(line)]
    if not words and (before := _BEFORE.search(line[: error.start()])) is not None:
        words = [before[1]]
    for word in words[:2]:
        path = os.path.normpath(os.path.join(plan.cwd, word))
        if "\0" in path or len(path) > _LONGEST_PATH or not path.startswith("/"):
            continue
        readable = any(is_inside(path, root) for root in plan.read_roots)
        write = bool(_WRITES.search(line)) or (readable and error[0].lower() in {"permission denied", "eacces"})
        if (denial := judge(plan, path, write=write)) is not None:
            yield denial
