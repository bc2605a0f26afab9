"""Pins: where the writer leaves word of the log's head, outside what an attacker of the log can change.

A log cannot show by itself that its end is missing, or that all of it was put back to an earlier state. A pin can, as
far as it is current and out of the attacker's reach. What each tier is worth is in docs/spec/audit-log.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

JOURNAL_SOCKET: Final = Path("/run/systemd/journal/socket")
DEFAULT_SOCKET: Final = Path("/run/localgpt-pin/socket")  #: of the pin service of another user


class PinTier(StrEnum):
    """Where a pin is kept, in the order of what it takes to change it."""

    NONE = "none"
    FILE = "file"  #: a file of the same user
    JOURNAL = "journal"  #: the system's journal: the user can append to it and cannot erase
    SERVICE = "service"  #: a process of another user
    DEVICE = "device"  #: a file on another device
    WITNESS = "witness"  #: a cosigner elsewhere


class Pins(Protocol):
    """What the writer tells, under the log's lock."""

    def hold_entries(self, origin: str, last: int, lines: Sequence[bytes]) -> None:
        """Keep hold of entries that are durable and not yet acknowledged; `last`: the number of the last one.

        Raises:
            PinUnreachable: they must not be acknowledged.
        """
        ...

    def hold_checkpoint(self, note: bytes) -> None:
        """Keep hold of a checkpoint. A pin that cannot is not an error here: `verify` tells how old it is."""
        ...


class PinSet:
    """Several pins at once; with none of them the head beside the log is all there is."""

    def __init__(self, *pins: Pins) -> None:
        self._pins = pins

    def hold_entries(self, origin: str, last: int, lines: Sequence[bytes]) -> None:
        """See `Pins`."""
        for pin in self._pins:
            pin.hold_entries(origin, last, lines)

    def hold_checkpoint(self, note: bytes) -> None:
        """See `Pins`."""
        for pin in self._pins:
            pin.hold_checkpoint(note)


NO_PINS: Pins = PinSet()
