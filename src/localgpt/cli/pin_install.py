"""Installing the pin service: a system user, a unit of systemd's."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from localgpt.audit.pin_service import unit_text
from localgpt.audit.pins import DEFAULT_SOCKET
from localgpt.errors import AuditError

_USER: Final = "localgpt-pin"
_UNIT: Final = Path("/etc/systemd/system/localgpt-pin.service")


def unit() -> str:
    """The unit's text: this interpreter, this program."""
    options = ["--socket", str(DEFAULT_SOCKET), "--state", "/var/lib/localgpt-pin"]
    return unit_text([sys.executable, "-I", "-m", "localgpt", "audit", "pin-service", *options], _USER)


def install() -> Iterator[str]:
    """Do it, telling each step.

    Raises:
        AuditError: not root, no systemd, a step that fails, or a program that the other user cannot read.
    """
    if os.geteuid() != 0:
        raise AuditError("only root can add a user and a unit", cure="sudo localgpt audit install-service")
    if not Path("/run/systemd/system").is_dir():
        cure = "run as another user: localgpt audit pin-service --socket /run/localgpt-pin/socket --state DIR"
        raise AuditError("systemd does not run this machine", cure=cure)
    useradd = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "--user-group", _USER]
    if not _exists(_USER):
        _run(useradd)
        yield f"user {_USER} made"
    _UNIT.write_text(unit())
    yield f"{_UNIT} written"
    for step in (["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", _UNIT.name]):
        _run(step)
    yield "the service runs; every entry is pinned from the next start on"


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _run(argv: list[str]) -> None:
    program = shutil.which(argv[0])
    if program is None:
        raise AuditError(f"{argv[0]} is not installed")
    done = subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False)  # noqa: S603 -- fixed words
    if done.returncode:
        raise AuditError(f"{' '.join(argv)}: {done.stderr.strip()}")
