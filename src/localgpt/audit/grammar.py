"""How an entry is spelled: the encoder that writes it and the regular expression that reads it, both from `kinds`.

A line has exactly one spelling, that of canonical JSON. Since kinds, keys and types are closed, a regular expression
can say so completely, and checking a line against it is several times quicker than parsing and encoding it again.

Source: docs/spec/audit-log.md; RFC 8785 for the order of keys and the spelling of strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from json.encoder import encode_basestring as quoted
from operator import itemgetter
from typing import Final

from localgpt.audit.errors import EntryInvalid
from localgpt.audit.kinds import COMMON, KINDS, FieldType

_LIMIT: Final = 9 * 10**15  #: integers stay below; nine has a short regular expression and is below 2**53
#: Never written as they are. Fixed by this format, so that a newer Unicode table changes no verdict.
_HIDING: Final = "\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
_HIDDEN: Final = re.compile(f"[{_HIDING}]")
_PLAIN_TEXT: Final = re.compile(r"[ !#-\[\]-~]+", re.ASCII)
_TOKEN: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{16,64}", re.ASCII)
_LENGTHS: Final = {FieldType.NAME: 256, FieldType.PATH: 4096}
MAX_FIELDS_BYTES: Final = 60 * 1024  #: what is left of a line for an entry's own values
_SURELY_SHORT: Final = MAX_FIELDS_BYTES // 4  #: characters: none has more than four bytes
_REMEMBERED: Final = 2048  #: values of each type; most come again and again

#: Gives the spelling of a value.
_Spell = Callable[[object], str]


class _NotOfTypeError(ValueError):
    """The value is not of the field's type."""


@lru_cache(_REMEMBERED)
def _spell_token(value: object) -> str:
    if isinstance(value, str) and _TOKEN.fullmatch(value):
        return quoted(value)
    raise _NotOfTypeError


@lru_cache(_REMEMBERED)
def _spell_hex(value: object) -> str:
    if isinstance(value, str) and _HEX.fullmatch(value):
        return f'"{value}"'
    raise _NotOfTypeError


def _spell_count(value: object) -> str:
    if type(value) is int and 0 <= value < _LIMIT:
        return str(value)
    raise _NotOfTypeError


def _spell_integer(value: object) -> str:
    if type(value) is int and -_LIMIT < value < _LIMIT:
        return str(value)
    raise _NotOfTypeError


def _spell_flag(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    raise _NotOfTypeError


def _spell_tokens(value: object) -> str:
    if isinstance(value, (list, tuple)) and len(value) <= _MOST_TOKENS:
        return f"[{','.join(map(_spell_token, value))}]"
    raise _NotOfTypeError


@lru_cache(_REMEMBERED)
def _spell_name(value: object) -> str:
    return _spell_text(value, _LENGTHS[FieldType.NAME])


@lru_cache(_REMEMBERED)
def _spell_path(value: object) -> str:
    return _spell_text(value, _LENGTHS[FieldType.PATH])


def _spell_text(value: object, longest: int) -> str:
    """Foreign names and paths stay readable: what cannot be printed is escaped, what is too long is cut in front."""
    if not isinstance(value, str) or not value:
        raise _NotOfTypeError
    if len(value) <= longest and _PLAIN_TEXT.fullmatch(value):
        return f'"{value}"'
    text = _HIDDEN.sub(_escaped, value)
    return quoted(text if len(text) <= longest else "…" + text[1 - longest :])


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


_MOST_TOKENS: Final = 64
_SPELL: Final[Mapping[FieldType, _Spell]] = {
    FieldType.TOKEN: _spell_token,
    FieldType.HEX: _spell_hex,
    FieldType.COUNT: _spell_count,
    FieldType.INTEGER: _spell_integer,
    FieldType.FLAG: _spell_flag,
    FieldType.TOKENS: _spell_tokens,
    FieldType.NAME: _spell_name,
    FieldType.PATH: _spell_path,
}

#: What the writer adds when the entry's turn comes, in the order in which `Shape` takes it.
FILLED_IN: Final = ("boot", "mono_us", "prev", "seq", "session", "ts")


@dataclass(frozen=True, slots=True)
class Shape:
    """How an entry of one kind with one set of fields is put together: made once, used for every such entry.

    `template` takes the values that `pick` selects; before `after_mac` the MAC is inserted.
    """

    template: str
    pick: Callable[[tuple[object, ...]], tuple[object, ...]]
    spells: tuple[_Spell, ...]
    after_mac: bytes


@dataclass(frozen=True, slots=True)
class Spelled:
    """An entry whose fields are checked and spelled, and which only lacks its place in the log."""

    kind: str
    session: str
    shape: Shape
    values: tuple[str, ...]


@lru_cache(_REMEMBERED)
def _shape(kind: str, names: tuple[str, ...]) -> Shape:
    if kind not in KINDS:
        raise EntryInvalid(f"unknown kind {kind!r}")
    fields = KINDS[kind]
    if unknown := sorted(set(names) - fields.types.keys()):
        raise EntryInvalid(f"{kind} has no field {unknown[0]!r}")
    if missing := sorted(fields.required - set(names)):
        raise EntryInvalid(f"{kind} lacks {', '.join(missing)}")
    given = (*names, *FILLED_IN)
    keys = sorted({*given, "kind"})
    members = {"boot": '"%s"', "prev": '"%s"', "session": '"%s"', "kind": f'"{kind}"'}
    template = "{" + ",".join(f'"{key}":{members.get(key, "%s")}' for key in keys) + "}"
    picked = [given.index(key) for key in keys if key != "kind"]
    after = next(key for key in keys if key > "mac")
    return Shape(template, itemgetter(*picked), tuple(_SPELL[fields.types[n]] for n in names), f'"{after}":'.encode())


def spell(kind: str, session: str, fields: Mapping[str, object]) -> Spelled:
    """Check the fields of one entry and spell them. Fields that are None are left out.

    Raises:
        EntryInvalid: an unknown kind or field, a missing field, or a value that is not of its type.
    """
    if None in fields.values():
        fields = {name: value for name, value in fields.items() if value is not None}
    if not ID.fullmatch(session):
        raise EntryInvalid(f"{session!r} is no session id")
    shape = _shape(kind, tuple(fields))
    try:
        values = [each(value) for each, value in zip(shape.spells, fields.values(), strict=True)]
    except (_NotOfTypeError, TypeError) as error:
        raise EntryInvalid(f"{kind}: {_first_wrong(kind, fields)}") from error
    if sum(map(len, values)) > _SURELY_SHORT and len("".join(values).encode()) > MAX_FIELDS_BYTES:
        raise EntryInvalid(f"{kind}: the fields are too long for one entry")
    return Spelled(kind, session, shape, tuple(values))


def _first_wrong(kind: str, fields: Mapping[str, object]) -> str:
    for name, value in fields.items():
        field_type = KINDS[kind].types[name]
        try:
            _SPELL[field_type](value)
        except (_NotOfTypeError, TypeError):
            return f"{name} is not a {field_type}"
    return "a value is not of its type"


# --- reading --------------------------------------------------------------------------------------------------------

# What has no escape is tried first: a class that repeats is several times quicker than a choice that does.
_ONE_TOKEN: Final = r'(?:"[!#-\[\]-~]{1,128}"|"(?:[!#-\[\]-~]|\\["\\]){1,128}")'  # noqa: S105 -- a pattern
_NUMBER: Final = r"(?:[1-9][0-9]{0,14}|[1-8][0-9]{15})"
_TEXT: Final = rf'(?:"[ !#-\[\]-~]{{1,%d}}"|"(?:[^"\\{_HIDING}]|\\["\\]){{1,%d}}")'
_PATTERNS: Final[Mapping[FieldType, str]] = {
    FieldType.TOKEN: _ONE_TOKEN,
    FieldType.NAME: _TEXT % ((_LENGTHS[FieldType.NAME],) * 2),
    FieldType.PATH: _TEXT % ((_LENGTHS[FieldType.PATH],) * 2),
    FieldType.HEX: '"[0-9a-f]{16,64}"',
    FieldType.COUNT: f"(?:0|{_NUMBER})",
    FieldType.INTEGER: f"(?:0|-?{_NUMBER})",
    FieldType.FLAG: "(?:true|false)",
    FieldType.TOKENS: rf"\[(?:{_ONE_TOKEN}(?:,{_ONE_TOKEN}){{0,{_MOST_TOKENS - 1}}})?\]",
}
_ID: Final = "[A-Za-z0-9._:-]{0,64}"
_COMMON_PATTERNS: Final = {
    "boot": f'"{_ID}"',
    "mac": '"([0-9a-f]{32})"',
    "mono_us": f"(?:0|{_NUMBER})",
    "prev": '"([0-9a-f]{64})"',
    "seq": f"(0|{_NUMBER})",
    "session": f'"{_ID}"',
    "ts": f"(?:0|{_NUMBER})",
}
ID: Final = re.compile(_ID, re.ASCII)


@cache
def line_pattern(kind: str) -> re.Pattern[str]:
    """The one spelling of an entry of this kind, without its line feed. Groups: mac, prev, seq."""
    patterns = {**_COMMON_PATTERNS, "kind": f'"{re.escape(kind)}"'}
    last = COMMON[-1]
    members = []
    for name in sorted({*COMMON, *KINDS[kind].types}):
        pattern = f'"{name}":{patterns.get(name) or _PATTERNS[KINDS[kind].types[name]]}'
        pattern = f",{pattern}" if name > last else pattern if name == last else f"{pattern},"
        optional = name not in COMMON and name not in KINDS[kind].required
        members.append(f"(?:{pattern})?" if optional else pattern)
    return re.compile(r"\{" + "".join(members) + r"\}", re.ASCII)
