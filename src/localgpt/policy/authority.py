"""Where a value's authority comes from, what a tool does with its arguments, and what a result is worth.

These are the values of the information-flow half of the engine: frozen, comparable, without behaviour. Tools and
sources are declared in TOML (docs/spec/declarations.md); `localgpt.policy.declarations` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from localgpt.labels import Confidentiality, Integrity

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Authority(IntEnum):
    """Why a value may steer an effect; a higher one replaces a lower one."""

    NONE = 0  #: stands nowhere: the model composed it
    UNTRUSTED = 1  #: a stranger's words
    ATTESTED = 2  #: a field that a system filled, of a record that nobody chose
    POINTED = 3  #: a stranger's words in the one record that the user's words lead to
    INTERNAL = 4  #: inside the own zone
    SELECTED = 5  #: a system's field of the record that the user's words name, or an object made in this session
    DIRECTORY = 6  #: found in an own address book by a name that the user gave
    POLICY = 7  #: in the signed policy
    USER = 8  #: typed by the user, or confirmed for this role


class Role(StrEnum):
    """What a tool does with an argument."""

    DEST = "dest"  #: who receives something
    REF = "ref"  #: which object is touched
    VALUE = "value"  #: what decides the outcome: an amount, a date, a password
    CONTENT = "content"  #: free text
    DERIVED = "derived"  #: follows from the other arguments


class Kind(StrEnum):
    """The effect of a tool."""

    READ = "read"  #: looks something up in a place of the user's; changes nothing, tells nobody
    QUERY = "query"  #: asks a service that sees the question, as a search engine does
    FETCH = "fetch"  #: asks an address, which sees that it was asked
    LOCAL = "local"  #: changes something that only the user sees and that can be undone
    MODIFY = "modify"  #: changes something of the user's that cannot simply be undone
    DESTROY = "destroy"
    EXTERNAL = "external"  #: somebody else receives something


#: Kinds whose results are looked at as a source's, not as the echo of an effect.
ASKING: Final = frozenset({Kind.READ, Kind.QUERY, Kind.FETCH})


@dataclass(frozen=True, slots=True)
class Source:
    """What a tool's result is worth. Field names are those of the result's JSON; a name covers all beneath it.

    `keys`: the arguments that look something up (None: all). `ids`, `names`, `senders`: which fields identify an
    object, name it for people, and say who wrote it. `clock`: the result is the present day.
    """

    integrity: Integrity = Integrity.UNTRUSTED
    confidentiality: Confidentiality = Confidentiality.PRIVATE
    attested: frozenset[str] = frozenset()
    secret: frozenset[str] = frozenset()
    public: frozenset[str] = frozenset()
    keys: frozenset[str] | None = None
    ids: frozenset[str] = frozenset({"id", "id_", "_id", "uid", "uuid"})
    names: frozenset[str] = frozenset({"name", "title", "subject", "filename"})
    senders: frozenset[str] = frozenset({"sender", "from", "author", "owner"})
    readers: frozenset[str] | None = None
    clock: bool = False


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One declared tool. `roles` maps argument paths (`name`, or `name.field` inside objects) to roles.

    `source` None: the result is the echo of an effect; what is new in it counts as a stranger's words.
    `service`: for a QUERY, and for effects without a destination, who receives them.
    """

    name: str
    kind: Kind
    grant: str = ""
    roles: Mapping[str, Role] = field(default_factory=lambda: MappingProxyType({}))
    source: Source | None = None
    service: str = ""
    clearance: Confidentiality = Confidentiality.PUBLIC
    declared: bool = True


def unknown_tool(name: str) -> ToolSpec:
    """What a tool is that nobody declared: an external sink of every argument, and a stranger's words."""
    return ToolSpec(name, Kind.EXTERNAL, source=Source(), declared=False)


@dataclass(frozen=True, slots=True)
class Argument:
    """One scalar of a call: the path of its argument, its role, and the value as JSON has it."""

    path: str
    role: Role
    value: bool | float | str | None


@dataclass(frozen=True, slots=True)
class Act:
    """A call of a declared tool, taken apart. An effect beside the built-in ones."""

    spec: ToolSpec
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of one value: its best authority, and the source that gave it."""

    authority: Authority
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Endorsable:
    """What a question is about: this value, for this role. `path` is the argument, `mark` where the value stood."""

    role: Role
    path: str
    value: str
    mark: Mark


# --- what a signed policy says of flows -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Zone:
    """The own organisation: a closed list. `domains` cover addresses in them, `members` are whole names."""

    domains: tuple[str, ...] = ()
    members: frozenset[str] = frozenset()
    clearance: Confidentiality = Confidentiality.PRIVATE


NO_ZONE: Final = Zone()


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a tool, or all tools of a grant, may move without the user having typed the amount."""

    per_call: float
    per_day: float


@dataclass(frozen=True, slots=True)
class FlowRules:
    """The information-flow part of a policy. The defaults are those of `assistant`.

    `own`: the user's addresses and names. `grants`: given without the user's words, for jobs and skills.
    `clearances`: model providers, hosts and services, and the most confidential context that each may see.
    `regions`: where they are; `allowed_regions` empty means any. Bits: what ordered fetches may tell.
    """

    zone: Zone = NO_ZONE
    own: frozenset[str] = frozenset()
    grants: frozenset[str] = frozenset()
    limits: Mapping[str, Limit] = field(default_factory=lambda: MappingProxyType({}))
    clearances: Mapping[str, Confidentiality] = field(default_factory=lambda: MappingProxyType({}))
    regions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    allowed_regions: frozenset[str] = frozenset()
    bits_per_task: float = 16.0
    bits_per_origin_and_day: float = 64.0


NO_FLOW_RULES: Final = FlowRules()
