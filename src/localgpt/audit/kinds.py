"""The vocabulary: the closed list of entry kinds, each with its closed set of typed fields.

This is the one place where kinds and fields are named. No field can hold contents, secrets or free text: only names,
paths, numbers, digests and stable codes. Of an argv the log keeps the program's name and a salted digest; the whole of
it can go into the encrypted body whose digest is the field `body`.

Source: docs/spec/audit-log.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class FieldType(StrEnum):
    """What a field may hold."""

    TOKEN = "token"  #: 1 to 128 ASCII characters without spaces: codes, ids, modes  # noqa: S105 -- a name
    NAME = "name"  #: 1 to 256 characters, control and formatting characters escaped: models, hosts, tools, rules
    PATH = "path"  #: 1 to 4096 characters, likewise
    HEX = "hex"  #: 16 to 64 lower-case hex digits
    COUNT = "count"  #: 0 to 9 * 10**15 - 1, which is below 2**53
    INTEGER = "integer"  #: the same, or negative
    FLAG = "flag"
    TOKENS = "tokens"  #: at most 64 tokens


#: What every entry has. `mac` is the writer's; the rest says when and where.
COMMON: Final = ("boot", "kind", "mac", "mono_us", "prev", "seq", "session", "ts")

# `NAME:TYPE` is required, `NAME:TYPE?` may be left out. docs/spec/audit-log.md says what each means.
_SPEC: Final = {
    # the log itself
    "log.create": (
        "format:token algorithm:token origin:token identity:token epoch_key:hex program:token reason:token? "
        "previous_origin:token? previous_size:count? previous_leaf:hex?"
    ),
    "log.segment": "format:token algorithm:token origin:token",
    "log.open": "program:token pid:count",
    "log.close": "appended:count",
    "log.recovered": "cut_bytes:count cut_sha256:hex reason:token",
    "log.full": "wanted:token",
    "log.pruned": "session_pruned:token bodies:count body_bytes:count",
    "epoch.next": "epoch:count key:hex",
    "anchor": "tier:token size:count status:token code:token? target:name?",
    "repeated": "of:count count:count kind_repeated:token code:token?",
    "suppressed": "turn:token? count:count bytes:count reason:token",
    # sessions, policy, processes
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
        "argv0:path? argv_hmac:hex? effects:tokens? path:path? host:name? labels:tokens? body:hex? body_bytes:count?"
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
    "endorsement": "call:token value:hex role:token from_label:token? to_label:token? by:token",
    "memory.change": (
        "call:token? path:path action:token before_sha256:hex? after_sha256:hex? before_bytes:count? "
        "after_bytes:count? labels:tokens?"
    ),
    "auth.failure": "front:token peer:name? code:token count:count?",
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
