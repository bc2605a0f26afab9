"""Who starts what in the end-to-end tests of a fresh machine: root or an ordinary user, with or without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ORDINARY_UID = 1000

# Bring the loopback interface up in a new network namespace (a machine without network still has it), then go on.
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
flags = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
fcntl.ioctl(socket.socket(), 0x8914, flags)  # SIOCSIFFLAGS
os.execvp(sys.argv[1], sys.argv[1:])
"""
# What of the machine's settings a person keeps: how to reach a package index, never what is already installed.
MACHINE = ("PIP_", "SSL_", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an empty home. `uid` is the caller's own or, for root only, another one."""

    uid: int
    home: Path

    @property
    def python(self) -> str:
        """A Python that this person can execute."""
        return sys.executable if self.uid == os.geteuid() else "/usr/bin/python3"

    def argv(self, command: Sequence[str | Path], *, offline: bool = False) -> list[str]:
        """Return the command line that runs `command` as this person."""
        plain = [str(each) for each in command]
        become = [] if self.uid == os.geteuid() else self._become()
        if not offline:
            return [*become, *plain]
        up = ["/usr/bin/python3", "-I", "-c", LOOPBACK_UP]
        if os.geteuid() == 0:
            return ["unshare", "--net", *up, *become, *plain]
        back = ["unshare", "--user", f"--map-user={self.uid}", f"--map-group={os.getegid()}"]
        return ["unshare", "--net", "--map-root-user", *up, *back, *plain]

    def _become(self) -> list[str]:
        ids = (f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups")
        return ["setpriv", *ids, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]

    def environment(self, **more: str) -> dict[str, str]:
        """Return this person's environment: the system's programs, the machine's network settings, nothing else."""
        machine = {k: v for k, v in os.environ.items() if k.startswith(MACHINE)}
        basic = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        return {**machine, **basic, **more}

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        offline: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` to its end, five minutes at most."""
        return subprocess.run(
            self.argv(command, offline=offline),
            cwd=cwd,
            env=self.environment() if environment is None else environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
        )

    def own(self, *paths: Path) -> None:
        """Give `paths` and what lies below them to this person."""
        if self.uid != os.geteuid():
            subprocess.run(["chown", "-R", f"{self.uid}:{self.uid}", *paths], check=True)


def people(folder: Path) -> dict[str, Person]:
    """Return the persons that can be played here: oneself, and an ordinary user when oneself is root.

    `folder` must be one that everybody can enter. Homes are made below it.
    """
    mine = "root" if os.geteuid() == 0 else "user"
    found = {mine: Person(os.geteuid(), folder / f"home-{mine}")}
    if mine == "root" and shutil.which("setpriv"):
        found["user"] = Person(ORDINARY_UID, folder / "home-user")
    for each in found.values():
        each.home.mkdir(mode=0o700)
        each.own(each.home)
    return found


def why_offline_cannot_be_played() -> str:
    """Return "" or the reason why no network namespace can be made here."""
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    probe = Person(os.geteuid(), Path("/")).run(["true"], cwd=Path("/"), offline=True)
    return "" if probe.returncode == 0 else f"no network namespace: {probe.stderr.strip()[-200:]}"
