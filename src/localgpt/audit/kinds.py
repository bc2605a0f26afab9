"""The closed list of entry kinds, each with its closed set of typed fields.

No field can hold contents, secrets or free text: only names, paths, numbers, digests and stable codes. Of an argv the
log keeps the program's name and a salted digest.

Source: docs/spec/audit-log.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, cast

from localgpt.audit.errors import EntryInvalid
from localgpt.canon import MAX_INTEGER, Json


class FieldType(StrEnum):
    """What a field may hold."""

    TOKEN = "token"  #: 1 to 128 ASCII characters without spaces: codes, ids, modes  # noqa: S105 -- a name
    NAME = "name"  #: 1 to 256 characters, control and formatting characters escaped: models, hosts, tools, rules
    PATH = "path"  #: 1 to 4096 characters, likewise
    HEX = "hex"  #: 16 to 64 lower-case hex digits
    COUNT = "count"  #: 0 to 2**53 - 1
    INTEGER = "integer"  #: the same, or negative
    FLAG = "flag"
    TOKENS = "tokens"  #: at most 64 tokens


#: Never written as they are. Fixed by this format, so that a newer Unicode table changes no verdict.
_HIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_TOKEN: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{16,64}", re.ASCII)


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and _HIDDEN.search(value) is None


def _is_integer(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= MAX_INTEGER


def _is_token(value: object) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


_CHECKS: Final[Mapping[FieldType, Callable[[object], bool]]] = {
    FieldType.TOKEN: _is_token,
    FieldType.NAME: lambda value: _is_text(value, 256),
    FieldType.PATH: lambda value: _is_text(value, 4096),
    FieldType.HEX: lambda value: isinstance(value, str) and _HEX.fullmatch(value) is not None,
    FieldType.COUNT: lambda value: _is_integer(value, 0),
    FieldType.INTEGER: lambda value: _is_integer(value, -MAX_INTEGER),
    FieldType.FLAG: lambda value: isinstance(value, bool),
    FieldType.TOKENS: lambda value: isinstance(value, list) and len(value) <= 64 and all(map(_is_token, value)),
}

_UNACCEPTABLE: Final = object()

# `NAME:TYPE` is required, `NAME:TYPE?` may be left out. docs/spec/audit-log.md says what each means.
_SPEC: Final = {
    "log.open": "origin:token log_id:hex program:token pid:count",
    "log.close": "appended:count",
    "log.recovered": "cut_bytes:count cut_sha256:hex reason:token",
    "log.full": "wanted:token",
    "session.start": (
        "project:path project_trusted:flag resumed:flag model:name? provider:name? rung:token? policy:hex? "
        "tools_on:flag? front:token?"
    ),
    "session.end": "reason:token turns:count? input_tokens:count? output_tokens:count? cost_microusd:count?",
    "turn.start": "turn:token source:token? chars:count? attachments:count?",
    "turn.end": (
        "turn:token reason:token rounds:count? input_tokens:count? output_tokens:count? cost_microusd:count? "
        "duration_ms:count?"
    ),
    "policy.loaded": "state:token policy:hex document:hex? sequence:count? rules:count? code:token?",
    "policy.state": (
        "state:token previous:token? policy:hex document:hex? sequence:count? code:token? key_id:hex? path:path?"
    ),
    "policy.signed": "sequence:count document:hex manifest:hex? by:token key_id:hex path:path",
    "policy.recovered": "sequence:count last_seen:count reason:token document:hex by:token key_id:hex path:path",
    "key.changed": "action:token key_id:hex previous:hex? path:path? log_entries:count? log_leaf:hex?",
    "process.start": "role:token pid:count? argv0:path? argv_hmac:hex?",
    "process.end": "role:token pid:count? how:token? status:integer? signal:count?",
    "sandbox.proof": "rung:token mechanisms:tokens? missing:tokens? plan:hex? duration_ms:count?",
    "decision": (
        "call:token turn:token? tool:name verdict:token code:token rule:name? policy:hex flow:hex? request:hex? "
        "argv0:path? argv_hmac:hex? effects:tokens? path:path? host:name?"
    ),
    "outcome": (
        "call:token tool:name? status:token code:token? exit_status:integer? signal:count? timed_out:flag? "
        "duration_ms:count stdout_bytes:count? stderr_bytes:count? output_sha256:hex?"
    ),
    "approval": "call:token choice:token digest:hex code:token? waited_ms:count?",
    "model.call": (
        "request:token turn:token? provider:name host:name model:name reach:token? messages:count bytes_out:count? "
        "tools:count? max_tokens:count? schema:flag?"
    ),
    "model.result": (
        "request:token status:token code:token? input_tokens:count? output_tokens:count? cache_read_tokens:count? "
        "cache_write_tokens:count? cost_microusd:count? bytes_in:count? tool_calls:count? duration_ms:count?"
    ),
    "connection": (
        "role:token host:name port:count? verdict:token code:token? path:path? call:token? address:name? "
        "bytes_out:count? bytes_in:count?"
    ),
    "file.change": (
        "call:token? path:path action:token before_sha256:hex? after_sha256:hex? before_bytes:count? after_bytes:count?"
    ),
    "injection.finding": "call:token? source:name finding:token count:count",
    "config.change": "key:name by:token file:path? file_sha256:hex?",
}


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one kind."""

    types: Mapping[str, FieldType]
    required: frozenset[str]


def _compile(spec: str) -> Fields:
    pairs = [item.split(":") for item in spec.split()]
    types = {name: FieldType(kind.removesuffix("?")) for name, kind in pairs}
    return Fields(MappingProxyType(types), frozenset(name for name, kind in pairs if not kind.endswith("?")))


KINDS: Final[Mapping[str, Fields]] = MappingProxyType({kind: _compile(spec) for kind, spec in _SPEC.items()})


def check_fields(kind: str, fields: Mapping[str, object]) -> dict[str, Json]:
    """The fields as they go into an entry: tuples become lists, None means left out, paths become printable.

    Raises:
        EntryInvalid
    """
    known = KINDS.get(kind)
    if known is None:
        raise EntryInvalid(f"unknown kind {kind!r}")
    entry: dict[str, Json] = {}
    for name, value in fields.items():
        field_type = known.types.get(name)
        if field_type is None:
            raise EntryInvalid(f"{kind} has no field {name!r}")
        if value is None:
            continue
        accepts = _CHECKS[field_type]
        plain = value if accepts(value) else _plain(field_type, value)
        if plain is not value and not accepts(plain):
            raise EntryInvalid(f"{kind}: {name} is not a {field_type}")
        entry[name] = cast("Json", plain)
    if missing := known.required - entry.keys():
        raise EntryInvalid(f"{kind} lacks {', '.join(sorted(missing))}")
    return entry


def _plain(field_type: FieldType, value: object) -> object:
    """Foreign names and paths stay readable: what cannot be printed is escaped, what is too long is cut in front."""
    if field_type in {FieldType.NAME, FieldType.PATH} and isinstance(value, str):
        text = _HIDDEN.sub(_escaped, value)
        longest = 256 if field_type is FieldType.NAME else 4096
        return text if len(text) <= longest else "…" + text[1 - longest :]
    if isinstance(value, (tuple, list)):
        return list(value)
    return _UNACCEPTABLE


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")
