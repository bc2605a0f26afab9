"""The values of the policy engine: effects, scope, flow, rules, verdicts. Frozen, comparable, without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from localgpt.labels import Confidentiality, Integrity


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


# --- effects ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadPath:
    """Read a file or list a directory. `path` is absolute with symbolic links resolved."""

    path: str


@dataclass(frozen=True, slots=True)
class WritePath:
    """Create, change or delete a file. `path` is absolute with symbolic links resolved."""

    path: str


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


Effect: TypeAlias = ReadPath | WritePath | Run | Connect | CallModel | UnknownTool


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
    """The label of everything in the context so far: lowest integrity, highest confidentiality."""

    integrity: Integrity = Integrity.USER
    confidentiality: Confidentiality = Confidentiality.PUBLIC

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
    """

    verdict: Verdict
    code: str
    sentence: str
    rule: str


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
