"""Where the shipped policy data are: in the installed package, or in the source tree."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from localgpt.policy.errors import BuiltinBroken

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_DIRECTORIES: Final = (_PACKAGE / "data" / "policies", _PACKAGE.parent.parent / "policies")
_REINSTALL: Final = "install the program again"


def shipped(name: str) -> bytes:
    """Read one shipped policy file, as `builtin.toml`.

    Raises:
        BuiltinBroken: it is not there.
    """
    for directory in _DIRECTORIES:
        try:
            return (directory / name).read_bytes()
        except OSError:
            continue
    raise BuiltinBroken(f"the shipped policy file {name} is missing", cure=_REINSTALL)


def shipped_directory(name: str) -> Path:
    """Where a folder of shipped policy data is.

    Raises:
        BuiltinBroken: it is not there.
    """
    for directory in _DIRECTORIES:
        if (directory / name).is_dir():
            return directory / name
    raise BuiltinBroken(f"the shipped folder {name} is missing", cure=_REINSTALL)


def broken(what: str) -> BuiltinBroken:
    """The error for shipped data that are not what they must be."""
    return BuiltinBroken(f"the shipped rules are damaged: {what}", cure=_REINSTALL)
