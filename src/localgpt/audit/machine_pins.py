"""Which pins this machine has: each is used where it is found, and none of them has to be switched on.

The system's journal where there is one; the service of another user where its socket is; a file that
`LOCALGPT_PIN_FILE` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from localgpt.audit.pins import DEFAULT_SOCKET, JOURNAL_SOCKET, Pins, PinSet
from localgpt.crypto import DeviceKey

if TYPE_CHECKING:
    from localgpt.audit.report import PinReading

_FILE: Final = "LOCALGPT_PIN_FILE"
_SOCKET: Final = "LOCALGPT_PIN_SOCKET"


def default_pins(directory: Path, environ: Mapping[str, str]) -> Pins:
    """The pins that a writer of the log in `directory` tells."""
    directory = directory.absolute()
    pins: list[Pins] = []
    if JOURNAL_SOCKET.exists():
        from localgpt.audit.pin_places import JournalPin  # noqa: PLC0415 -- a session starts sooner without what it lacks

        pins.append(JournalPin(directory))
    if (path := _socket(environ)) is not None:
        from localgpt.audit.pin_service import ServicePin  # noqa: PLC0415 -- as above

        pins.append(ServicePin(directory, path))
    if name := environ.get(_FILE):
        from localgpt.audit.pin_places import FilePin  # noqa: PLC0415 -- as above

        pins.append(FilePin(Path(name)))
    return PinSet(*pins)


def read_pins(directory: Path, key: DeviceKey, environ: Mapping[str, str]) -> tuple[PinReading, ...]:
    """What they say."""
    from localgpt.audit.pin_places import read_file_pin, read_journal_pin  # noqa: PLC0415 -- as above
    from localgpt.audit.pin_service import read_service_pin  # noqa: PLC0415 -- as above

    directory = directory.absolute()
    readings: list[PinReading] = []
    if JOURNAL_SOCKET.exists():
        readings.append(read_journal_pin(directory, key))
    if (path := _socket(environ)) is not None:
        readings.append(read_service_pin(directory, path))
    if name := environ.get(_FILE):
        readings.append(read_file_pin(Path(name), directory, key))
    return tuple(readings)


def _socket(environ: Mapping[str, str]) -> Path | None:
    """A socket that is named is used whether or not it is there: a pin that was taken away must be missed."""
    if name := environ.get(_SOCKET):
        return Path(name)
    return DEFAULT_SOCKET if DEFAULT_SOCKET.exists() or DEFAULT_SOCKET.parent.exists() else None
