"""The values of the policy engine: effects, scope, flow, rules, verdicts. Frozen, comparable, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from localgpt.labels import Confidentiality, Integrity
from localgpt.policy.authority import NO_FLOW_RULES, NO_ZONE, Act, Endorsable, FlowRules, Role, Zone
from localgpt.policy.record import EMPTY, Record
from localgpt.policy.values import Key
from localgpt.policy.words import NO_WORDS, Words


class Verdict(StrEnum):
    """What becomes of a request."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


_STRICTNESS: Final = {Verdict.ALLOW: 0, Verdict.ASK: 1, Verdict.DENY: 2}


def strictness(verdict: Verdict) -> int:
    """0 for allow, 1 for ask, 2 for deny."""
    return _STRICTNESS[verdict]


class Code(StrEnum):
    """Why. Stable: the audit log, `--json` output and tests rely on the spelling."""

    READ_PLAN = "read.plan"
    READ_OUTSIDE = "read.outside"
    READ_SECRET = "read.secret"  # noqa: S105 -- a code
    WRITE_PROJECT = "write.project"
    WRITE_UNTRUSTED_PROJECT = "write.untrusted-project"
    WRITE_OUTSIDE = "write.outside"
    WRITE_WORKSPACE = "write.workspace"
    WRITE_PERSONA = "write.persona"
    WRITE_INSTRUCTIONS = "write.instructions"
    WRITE_PROTECTED = "write.protected"
    WRITE_TAINTED = "write.tainted"
    WRITE_SECRET = "write.secret"  # noqa: S105 -- a code
    RUN_CONFINED = "run.confined"
    RUN_READ_ONLY = "run.read-only"
    RUN_NOT_UNDERSTOOD = "run.not-understood"
    RUN_EMPTY = "run.empty"
    CONNECT_HOST = "connect.host"
    CONNECT_LOCAL = "connect.local"
    CONNECT_METADATA = "connect.metadata"
    CONNECT_BAD_HOST = "connect.bad-host"
    CONNECT_CLEARANCE = "connect.clearance"
    MODEL_LOCAL = "model.local"
    MODEL_HOSTED_CONFIRMED = "model.hosted-confirmed"
    MODEL_HOSTED = "model.hosted"
    MODEL_CLEARANCE = "model.clearance"
    TOOL_UNKNOWN = "tool.unknown"
    REQUEST_NO_EFFECT = "request.no-effect"
    PATH_UNRESOLVED = "path.unresolved"
    RULE_ALLOW = "rule.allow"
    RULE_ASK = "rule.ask"
    RULE_DENY = "rule.deny"
    POLICY_LOCKED = "policy.locked"
    FLOW_READ = "flow.read"
    FLOW_ACT = "flow.act"
    FLOW_UNDECLARED = "flow.undeclared"
    FLOW_GRANT = "flow.grant"
    FLOW_GRANT_MISSING = "flow.grant-missing"
    FLOW_DEST = "flow.dest"
    FLOW_DEST_FOREIGN = "flow.dest-foreign"
    FLOW_REF = "flow.ref"
    FLOW_REF_FOREIGN = "flow.ref-foreign"
    FLOW_VALUE = "flow.value"
    FLOW_VALUE_FOREIGN = "flow.value-foreign"
    FLOW_LINK = "flow.link"
    FLOW_LINK_FOREIGN = "flow.link-foreign"
    FLOW_CLEARANCE = "flow.clearance"
    FLOW_UNASKED = "flow.unasked"
    FLOW_SECRET = "flow.secret"  # noqa: S105 -- a code
    FLOW_SECRET_NAMED = "flow.secret-named"  # noqa: S105 -- a code
    FLOW_LIMIT = "flow.limit"
    FLOW_LIMIT_FOREIGN = "flow.limit-foreign"
    FLOW_REPEAT = "flow.repeat"
    FLOW_LEAK = "flow.leak"
    FLOW_LEAK_SECRET = "flow.leak-secret"  # noqa: S105 -- a code
    FLOW_QUARANTINE = "flow.quarantine"


# --- effects ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadPath:
    """Read a file or list a directory. `path` is absolute with symbolic links resolved."""

    path: str


@dataclass(frozen=True, slots=True)
class WritePath:
    """Create, change or delete a file. `path` is absolute with symbolic links resolved.

    `replaces`: the file is there and was not made by this session, so that something of the user's would be lost.
    """

    path: str
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """Execute exactly this argv in the sandbox, without network: hosts are `Connect` effects beside it."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connect:
    """Exchange data with a host: a name or an address, without brackets. `port` is None when any is meant."""

    host: str
    port: int | None = None


class Reach(StrEnum):
    """Where a model runs."""

    EMBEDDED = "embedded"
    LOOPBACK = "loopback"
    HOSTED = "hosted"


@dataclass(frozen=True, slots=True)
class CallModel:
    """Send the context to a model. `confirmed`: the user configured this provider or confirmed it."""

    provider: str
    host: str
    reach: Reach
    confirmed: bool


@dataclass(frozen=True, slots=True)
class UnknownTool:
    """A tool that nobody has declared: an external sink and an untrusted source."""

    name: str


Effect: TypeAlias = ReadPath | WritePath | Run | Connect | CallModel | UnknownTool | Act


# --- what is decided --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scope:
    """The places of one session: absolute paths with links resolved. `localgpt.policy.make_scope` fills the lists.

    `write_roots` holds the project only when it is trusted; `read_roots` need not repeat `write_roots`. `protected`
    and `secrets` cover everything beneath each path.
    """

    project: str
    project_trusted: bool
    write_roots: tuple[str, ...]
    read_roots: tuple[str, ...]
    workspace: str
    protected: tuple[str, ...]
    secrets: tuple[str, ...]
    home: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Everything a decision knows of the session.

    The label of the context (lowest integrity, highest confidentiality), the user's words, the record of typed values,
    and what was already confirmed, refused, spent and told.

    `unasked`: the highest confidentiality of what was read after a stranger was heard and without the user's words
    leading to it. `readers`: who may see what the context holds, when a source names them; folded. `endorsed`: values
    the user confirmed for a role. `granted`: pairs ("grant", name) and ("service", name) that the user confirmed.
    `quarantined`: sources nobody is asked about any more. `quarantine`: this is a sub-agent without private data.
    `stranger`: the source of the untrusted words that were heard last. `zone`: who belonged to the own
    organisation when the session began.
    """

    integrity: Integrity = Integrity.USER
    confidentiality: Confidentiality = Confidentiality.PUBLIC
    words: Words = NO_WORDS
    record: Record = EMPTY
    unasked: Confidentiality = Confidentiality.PUBLIC
    readers: frozenset[str] | None = None
    endorsed: frozenset[tuple[Role, Key]] = frozenset()
    granted: frozenset[tuple[str, str]] = frozenset()
    quarantined: frozenset[str] = frozenset()
    quarantine: bool = False
    stranger: str = ""
    zone: Zone = NO_ZONE
    spent: Mapping[str, float] = field(default_factory=dict)
    done: frozenset[str] = frozenset()
    bits: float = 0.0
    bits_by_origin: Mapping[str, float] = field(default_factory=dict)

    @property
    def tainted(self) -> bool:
        """Whether a stranger's words are in the context."""
        return self.integrity is Integrity.UNTRUSTED

    @property
    def secret(self) -> bool:
        """Whether something is in the context that may leave to nobody."""
        return self.confidentiality is Confidentiality.SECRET


@dataclass(frozen=True, slots=True)
class Request:
    """One tool call: its declared effects in the places of its session."""

    tool: str
    effects: tuple[Effect, ...]
    scope: Scope


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. `sentence` is for a person; `rule` names what decided.
    `code` is a value of `Code`, or the monitor's own `effects.off`.
    `sentence` may quote foreign text (paths, argv): control characters are escaped, and it is bounded.
    `endorse`: the values that an approval would confirm, each for its role. `grants`: an approval also says that the
    request meant this kind of effect.
    """

    verdict: Verdict
    code: str
    sentence: str
    rule: str
    endorse: tuple[Endorsable, ...] = ()
    grants: bool = False


# --- rules ------------------------------------------------------------------------------------------------------


class Subject(StrEnum):
    """What a user's rule speaks of."""

    READ = "read"
    WRITE = "write"
    ARGV = "argv"
    CONNECT = "connect"
    MODEL = "model"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a user's document. `patterns`: globs, or for ARGV the words of one command.

    `even_when_tainted` (allow rules only): the rule still counts after a stranger's words entered the context.
    """

    verdict: Verdict
    subject: Subject
    patterns: tuple[str, ...]
    reason: str = ""
    line: int = 0
    even_when_tainted: bool = False

    @property
    def name(self) -> str:
        """How a decision refers to the rule."""
        return f"{self.verdict} {self.subject} (line {self.line})"


@dataclass(frozen=True, slots=True)
class Table:
    """The built-in rules as data: a verdict for each code, and the lists of names and places."""

    verdicts: tuple[tuple[Code, Verdict], ...]
    persona: tuple[str, ...]
    instructions: tuple[str, ...]
    workspace_protected: tuple[str, ...]
    protected_names: tuple[str, ...]
    secret_names: tuple[str, ...]
    not_secret_names: tuple[str, ...]
    project_protected: tuple[str, ...]
    home_secret: tuple[str, ...]
    home_protected: tuple[str, ...]

    def verdict(self, code: Code) -> Verdict:
        """The built-in verdict; a code the table does not know is denied."""
        return next((verdict for known, verdict in self.verdicts if known is code), Verdict.DENY)


@dataclass(frozen=True, slots=True)
class Policy:
    """The built-in table with one document's rules on top. `digest`: hex SHA-256 that names exactly these rules.

    A `locked` policy allows reading and local models and nothing else: what applies when a signed policy is known to
    have existed and cannot be found again.
    """

    table: Table
    rules: tuple[Rule, ...]
    digest: str
    locked: bool = False
    flow: FlowRules = NO_FLOW_RULES
