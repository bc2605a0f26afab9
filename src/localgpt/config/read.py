"""Reading a configuration file: TOML in, typed values and warnings out."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localgpt.config.errors import BadValue, BrokenToml, ConfigMissing, ConfigUnreadable, UnknownKey, UnsafeSetting
from localgpt.config.keys import Key, Kind, is_guarded, key_at, known_names, table_at
from localgpt.config.lines import key_lines
from localgpt.config.schema import Config, build
from localgpt.config.secret import Secret, variable_name
from localgpt.config.values import parse_duration, parse_time_of_day

MAX_CONFIG_BYTES: Final = 1 << 20
_POSITION: Final = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)")
#: Settings of other versions that protect nothing here. Ignoring one in silence would leave a user less safe than the
#: file reads, so each is named, with what does the same.
_INERT: Final = {
    "agent.fallback_models": "only the model that was chosen is used",
    "agent.max_tool_errors": "a turn is bounded by its rounds and its deadline",
    "agent.permission_level": "the signed policy decides what the agent may do",
    "sandbox.level": "the strongest confinement that can be proven is always used; full: nothing weaker than rung A",
    "security.allowed_directories": "the project and --add-dir are reached; more: [sandbox] allow_paths",
    "security.disable_suffix": "the built-in rules always apply",
    "security.encryption": "nothing is encrypted; keep the state directory on an encrypted disk",
    "security.sandbox_backend": "commands are confined by the kernel itself, without containers",
    "security.strict_policy": "the policy signed last always stays in force, whatever happens to the file",
    "tools.bash_timeout_ms": "commands are bounded by sandbox.timeout_secs",
    "tools.require_approval": 'write [[ask]] tool = "NAME" in LocalGPT.md, where it is signed',
    "tools.use_content_delimiters": "foreign content is always delimited",
}
_FILTERS: Final = 'write [[deny]] argv = ["PROGRAM", ...] in LocalGPT.md, where it is signed'


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where it came from. `exists` is False when there is no file and all is default."""

    config: Config
    warnings: tuple[str, ...]
    path: Path
    exists: bool


def load(path: Path, environ: Mapping[str, str], *, required: bool = False) -> Loaded:
    """Read the configuration at `path`; a file that does not exist gives the defaults unless `required`.

    Raises:
        ConfigMissing, ConfigUnreadable: there is no such file, or it cannot be read.
        BrokenToml, UnknownKey, BadValue, UnsafeSetting: its content is wrong; the message has file and line.
    """
    text = read_text(path)
    if text is None:
        if required:
            raise ConfigMissing(f"{path}: there is no such file", cure="localgpt config init")
        return Loaded(build({}, {}), (), path, exists=False)
    config, warnings = parse(text, environ, source=str(path))
    return Loaded(config, (*warnings, *_mode_warnings(path, config)), path, exists=True)


def parse(text: str, environ: Mapping[str, str], *, source: str) -> tuple[Config, tuple[str, ...]]:
    """Check the TOML document `text`; `source` is its name in messages. Raises like `load`."""
    reader = _Reader(source, environ, text)
    reader.table("", "", parse_toml(text, source))
    return build(reader.values, reader.given), tuple(reader.warnings)


def read_text(path: Path) -> str | None:
    """Read the file as text, None when there is none.

    Raises:
        ConfigUnreadable: a directory, no permission, too large, not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigUnreadable(
            f"{path}: cannot be read: {error.strerror}", cure=f"make it a file that you own and can read: ls -l {path}"
        ) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigUnreadable(
            f"{path}: larger than {MAX_CONFIG_BYTES} bytes, so it is no configuration",
            cure="move it away, then: localgpt config init",
        )
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigUnreadable(
            f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8", cure="save the file as UTF-8"
        ) from error


def parse_toml(text: str, source: str) -> dict[str, object]:
    """Parse TOML.

    Raises:
        BrokenToml: with file, line, column and the line itself.
    """
    import tomllib  # noqa: PLC0415 -- a run without a configuration file does not pay for it

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _broken(text, source, str(error)) from error


def _broken(text: str, source: str, reason: str) -> BrokenToml:
    lines = text.split("\n")
    line, column = len(lines), len(lines[-1]) + 1
    found = _POSITION.search(reason)
    if found is not None and found.group(1):
        line, column = int(found.group(1)), int(found.group(2))
    excerpt = lines[min(line, len(lines)) - 1].replace("\t", " ")[:200]
    message = _POSITION.sub("", reason).strip()
    return BrokenToml(
        f"{source}:{line}:{column}: not TOML: {message}\n    {excerpt}\n    {' ' * (min(column, 200) - 1)}^",
        cure=f"mend line {line}, or start afresh: move the file away and run localgpt config init",
    )


class _Reader:
    """Walks the parsed document, gathering checked values and warnings."""

    def __init__(self, source: str, environ: Mapping[str, str], text: str) -> None:
        self.values: dict[str, object] = {}
        self.given: dict[str, object] = {}
        self.warnings: list[str] = []
        self._source = source
        self._environ = environ
        self._text = text
        self._lines: dict[str, int] | None = None

    def table(self, name: str, where: str, content: Mapping[str, object]) -> None:
        """Check one table. `name` is its name in the key list; `where` has array indices as well."""
        for key, value in content.items():
            inner = f"{name}.{key}" if name else key
            place = f"{where}.{key}" if where else key
            table = table_at(inner)
            if table is not None and table.array and isinstance(value, list):
                for index, item in enumerate(value):
                    self._subtable(inner, f"{place}.{index}", item)
            elif table is not None:
                self._subtable(inner, place, value)
            elif (spec := key_at(inner)) is not None:
                self._value(spec, place, value)
            else:
                self._unknown(name, key, place)

    def _subtable(self, name: str, where: str, value: object) -> None:
        if not isinstance(value, dict):
            raise BadValue(f"{self._at(where)}: {where} must be a table, not {_kind_of(value)}")
        self.table(name, where, value)

    def _value(self, spec: Key, where: str, value: object) -> None:
        parsed = self._parsed(spec, where, value)
        self._refuse_unsafe(where, parsed)
        self._name_inert(where, parsed, spec)
        self.values[where] = parsed
        self.given[where] = parsed if isinstance(parsed, Secret) else value

    def _parsed(self, spec: Key, where: str, value: object) -> object:
        try:
            parsed = convert(spec, value)
        except ValueError as error:
            raise BadValue(
                f"{self._at(where)}: {where}: {error}", cure="localgpt config show --defaults lists every default"
            ) from error
        if spec.kind is Kind.SECRET:
            return Secret.parse(str(value), self._environ, where=where)
        if isinstance(value, str) and variable_name(value) is not None:
            self._warn(where, f"{where} is taken literally: variables are expanded in secrets only")
        return parsed

    def _refuse_unsafe(self, where: str, value: object) -> None:
        if (where, value) in {("sandbox.level", "none"), ("sandbox.enabled", False), ("security.disable_policy", True)}:
            raise UnsafeSetting(
                f"{self._at(where)}: {where} = {_toml(value)} would switch a defence off, and a file cannot do that",
                cure=f"remove the line; when no sandbox can be proven, tools are off and talking still works: {_TEST}",
            )

    def _name_inert(self, where: str, value: object, spec: Key) -> None:
        why = _FILTERS if where.startswith("tools.filters.") else _INERT.get(where, "")
        if why and value != spec.default and (where, value) != ("sandbox.level", "full"):
            self._warn(where, f"{where} has no effect here: {why}")
        if (where, value) == ("sandbox.network.policy", "proxy"):
            self._warn(where, f"{where}: commands have no network; the policy grants hosts one by one")

    def _unknown(self, table: str, key: str, where: str) -> None:
        near = _near(key, known_names(table))
        hint = f"did you mean {near}?" if near else None
        message = f"{self._at(where)}: unknown key {where}"
        full = f"{table}.{near}" if table else (near or "")
        owner = table_at(table)
        if (owner is not None and owner.strict) or (near is not None and is_guarded(full)):
            known = ", ".join(known_names(table)) or "none: rules are written in LocalGPT.md, where they are signed"
            raise UnknownKey(message, cure=hint or f"known keys of [{table}]: {known}")
        self.warnings.append(message if hint is None else f"{message}: {hint}")

    def _warn(self, where: str, text: str) -> None:
        self.warnings.append(f"{self._at(where)}: {text}")

    def _at(self, where: str) -> str:
        if self._lines is None:
            self._lines = key_lines(self._text)
        name = where
        while name and name not in self._lines:
            name = name.rpartition(".")[0]
        return f"{self._source}:{self._lines[name]}" if name else self._source


_TEST: Final = "localgpt sandbox test"


def convert(spec: Key, value: object) -> object:
    """Check `value` against `spec` and give its parsed form: lists as tuples, durations in seconds, times in minutes.

    Raises:
        ValueError: says what was expected.
    """
    if spec.kind is Kind.DURATION and isinstance(value, str):
        return parse_duration(value)
    if spec.kind is Kind.TIME and isinstance(value, str):
        return parse_time_of_day(value)
    if not _fits(spec.kind, value):
        raise ValueError(f"expected {spec.kind.value}, found {_kind_of(value)}")
    if spec.choices and value not in spec.choices:
        near = _near(str(value), spec.choices)
        raise ValueError(
            f"{_toml(value)} is none of {', '.join(spec.choices)}" + (f"; did you mean {near}?" if near else "")
        )
    if spec.least is not None and isinstance(value, int) and value < spec.least:
        raise ValueError(f"{value} is less than {spec.least}")
    return tuple(value) if isinstance(value, list) and spec.kind is Kind.TEXTS else value


def _fits(kind: Kind, value: object) -> bool:
    if kind in {Kind.TEXT, Kind.SECRET}:
        return isinstance(value, str)
    if kind is Kind.BOOLEAN:
        return isinstance(value, bool)
    if kind in {Kind.INTEGER, Kind.NUMBER}:
        return not isinstance(value, bool) and isinstance(value, int if kind is Kind.INTEGER else (int, float))
    if kind is Kind.TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return kind is Kind.ANY


def _kind_of(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a table"}
    return names.get(type(value), f"a {type(value).__name__}")


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def _near(name: str, known: tuple[str, ...]) -> str | None:
    from difflib import get_close_matches  # noqa: PLC0415 -- only a file with a typo pays for it

    found = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return found[0] if found else None


def _mode_warnings(path: Path, config: Config) -> list[str]:
    """Name a file that others can read although it holds a secret, or that others can write at all."""
    try:
        status = path.stat()
    except OSError:
        return []
    literal = [k for k, v in config.values.items() if isinstance(v, Secret) and v.variable is None]
    warnings = []
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid not in {0, os.getuid()}:
        warnings.append(f"{path}: other users can change this file; mend it with: chmod 600 {path}")
    elif literal and status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.append(f"{path}: holds {literal[0]} and other users can read it; mend it with: chmod 600 {path}")
    return warnings
