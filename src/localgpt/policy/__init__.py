"""The policy engine: a signed LocalGPT.md, built-in rules, and one pure decision. Only `PolicyStore` touches files."""

from localgpt.policy.builtin import builtin_policy
from localgpt.policy.check import Effective, PolicyState, Status, check_document, effective
from localgpt.policy.decide import decide, decide_all, denied_patterns
from localgpt.policy.document import Document, parse_document
from localgpt.policy.manifest import Manifest, parse_manifest, sign_manifest
from localgpt.policy.model import (
    CallModel,
    Code,
    Connect,
    Decision,
    Effect,
    Flow,
    Policy,
    Reach,
    ReadPath,
    Request,
    Rule,
    Run,
    Scope,
    Subject,
    UnknownTool,
    Verdict,
    WritePath,
)
from localgpt.policy.scope import Places, is_secret_name, make_scope
from localgpt.policy.starter import starter_document
from localgpt.policy.store import PolicyStore

__all__ = [
    "CallModel",
    "Code",
    "Connect",
    "Decision",
    "Document",
    "Effect",
    "Effective",
    "Flow",
    "Manifest",
    "Places",
    "Policy",
    "PolicyState",
    "PolicyStore",
    "Reach",
    "ReadPath",
    "Request",
    "Rule",
    "Run",
    "Scope",
    "Status",
    "Subject",
    "UnknownTool",
    "Verdict",
    "WritePath",
    "builtin_policy",
    "check_document",
    "decide",
    "decide_all",
    "denied_patterns",
    "effective",
    "is_secret_name",
    "make_scope",
    "parse_document",
    "parse_manifest",
    "sign_manifest",
    "starter_document",
]
