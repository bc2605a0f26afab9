"""Changing one key of a configuration file: comments stay, secrets stay references, the file is replaced whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from localgpt.config.errors import BadValue, DirectoryUnusable, SecretInArguments, UnknownKey
from localgpt.config.keys import Key, Kind, key_at, known_names
from localgpt.config.paths import ensure_directory
from localgpt.config.read import convert, parse, parse_toml, read_text
from localgpt.config.secret import variable_name

_WORDS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def set_value(path: Path, name: str, text: str, environ: Mapping[str, str]) -> object:
    """Set the key `name` (dotted) to `text`, which is read as the key's kind; give the value as written.

    The whole new file is checked before the old one is replaced, and nothing of the environment is written into it.

    Raises:
        UnknownKey, BadValue, UnsafeSetting: the key or its value is wrong.
        SecretInArguments: `text` is a literal secret rather than ``${VARIABLE}``.
        DirectoryUnusable: the file cannot be written.
    """
    value = _typed(name, text)
    before = read_text(path) or ""
    parse_toml(before, str(path))
    after = edited(before, name, value)
    parse(after, environ, source=str(path))
    replace_file(path, after)
    return value


def edited(text: str, name: str, value: object) -> str:
    """Give the TOML document `text` with the key `name` set to `value`, all comments kept."""
    import tomlkit  # noqa: PLC0415 -- 25 ms that only an edit pays for
    from tomlkit.items import AbstractTable  # noqa: PLC0415 -- as above

    document = tomlkit.parse(text)
    table: Any = document
    *tables, key = name.split(".")
    for part in tables:
        if not isinstance(table.get(part), AbstractTable):
            table[part] = tomlkit.table(is_super_table=part != tables[-1])
        table = table[part]
    table[key] = value
    return tomlkit.dumps(document)


def replace_file(path: Path, text: str) -> None:
    """Replace `path` (or what it links to) by a file of mode 0600 with `text`, durably and all at once.

    Raises:
        DirectoryUnusable: read-only, no permission, a full disk; the old file is still there then.
    """
    target = Path(os.path.realpath(path))
    ensure_directory(target.parent)
    try:
        _replace(target, text.encode("utf-8"))
    except OSError as error:
        raise DirectoryUnusable(
            f"{path}: cannot be written: {(error.strerror or str(error)).lower()}; it is as it was",
            cure="make room or give yourself the right to write there, then try again",
        ) from error


def _replace(target: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600 from the start
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor, not a path
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _typed(name: str, text: str) -> object:
    spec = known_key(name)
    if spec.kind is Kind.SECRET and variable_name(text) is None:
        raise SecretInArguments(
            f"{name} is a secret, and command lines are seen by other users and kept in the shell's history",
            cure=f"export it in a variable, then: localgpt config set {name} '${{VARIABLE}}'",
        )
    value = _read_as(spec, text)
    try:
        convert(spec, value)
    except ValueError as error:
        raise BadValue(f"{name}: {error}") from error
    return value


def known_key(name: str) -> Key:
    """Find the specification of key `name`.

    Raises:
        UnknownKey: with a near match.
    """
    spec = key_at(name)
    if spec is not None and spec.kind is not Kind.TABLES:
        return spec
    from difflib import get_close_matches  # noqa: PLC0415 -- only a wrong name pays for it

    table, _, key = name.rpartition(".")
    near = get_close_matches(key, known_names(table), n=1)
    hint = f"did you mean {f'{table}.' if table else ''}{near[0]}?" if near else ""
    cure = hint or "localgpt config show --defaults lists every key"
    raise UnknownKey(f"unknown key {name}", cure=cure)


def _read_as(spec: Key, text: str) -> object:
    if spec.kind is Kind.BOOLEAN:
        return _WORDS.get(text.lower(), text)
    if spec.kind in {Kind.INTEGER, Kind.NUMBER}:
        return _number(text)
    if spec.kind is Kind.TEXTS:
        return [part.strip() for part in text.strip("[]").replace('"', "").split(",") if part.strip()]
    return text


def _number(text: str) -> object:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
