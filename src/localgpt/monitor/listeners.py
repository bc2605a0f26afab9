"""Who listens on a loopback port: read from the kernel's table, without a connection.

Source: proc_pid_net(5); Documentation/networking/proc_net_tcp.rst.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
#: Local addresses, as the table writes them (hex words in host order), that a client of 127.0.0.1 reaches.
_REACHED_BY_LOOPBACK: Final = {
    "0100007F", "00000000", "0" * 32, "00000000000000000000000001000000", "0000000000000000FFFF00000100007F",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket: its port and the user id that made it."""

    port: int
    uid: int


def loopback_listeners(ports: Iterable[int], *, tables: Iterable[Path] = _TABLES) -> tuple[Listener, ...]:
    """Find which of `ports` somebody listens on, in the order of `ports`; a port with two owners is left out."""
    owners: dict[int, set[int]] = {}
    for table in tables:
        for line in _lines(table):
            if listener := _parse(line):
                owners.setdefault(listener.port, set()).add(listener.uid)
    return tuple(Listener(port, *owners[port]) for port in ports if len(owners.get(port, ())) == 1)


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text("ascii").splitlines()[1:]
    except OSError:
        return []


def _parse(line: str) -> Listener | None:
    fields = line.split()
    if len(fields) < 8 or fields[3] != _LISTEN:
        return None
    address, _, port = fields[1].partition(":")
    return Listener(int(port, 16), int(fields[7])) if address in _REACHED_BY_LOOPBACK else None
