"""The policy as the monitor holds it: verified bytes, watched for changes within the turn."""

from __future__ import annotations

from localgpt.monitor.forever import grant_for
from localgpt.policy import (
    Decision,
    Effective,
    Flow,
    Manifest,
    PolicyState,
    PolicyStore,
    Request,
    Rule,
    Scope,
    Subject,
    denied_patterns,
)
from localgpt.policy.authority import FlowRules
from localgpt.policy.emit import emit_grant


class PolicyGuard:
    """Decides under what applies now. Editing the document changes nothing until it is signed again."""

    def __init__(self, store: PolicyStore) -> None:
        self._store = store
        self._effective = store.load()

    @property
    def effective(self) -> Effective:
        return self._effective

    @property
    def state(self) -> str:
        return self._effective.state.value

    @property
    def document_path(self) -> str:
        return str(self._store.document_path)

    @property
    def digest(self) -> str:
        return self._effective.digest

    @property
    def prose(self) -> str:
        return self._effective.prose

    def decide(self, flow: Flow, request: Request) -> Decision:
        """Decide `request`; pure but for the policy that was loaded last."""
        return self._effective.decide(flow, request)

    @property
    def flow_rules(self) -> FlowRules:
        """What applies to flows: of the signed document when it is valid, else of the built-in rules."""
        return self._effective.policies[0].flow

    def grant_for(self, flow: Flow, request: Request, decision: Decision) -> Rule | None:
        """The rule that an answer for ever would sign here; None when that cannot be offered.

        A policy that is not valid takes no grant, and one that a private key signs takes none from this process.
        """
        if self._effective.state is not PolicyState.VALID or self._store.public_key is not None:
            return None
        return grant_for(self._effective.policies, flow, request, decision)

    def sign_grant(self, rule: Rule) -> Manifest:
        """Add the rule to the document, sign it, and decide under it from now on.

        Raises:
            PolicyError: it could not be signed; what was signed last still applies.
        """
        try:
            return self._store.grant(rule, shown=emit_grant(rule))
        finally:
            self._effective = self._store.load()

    def denied_reads(self, scope: Scope) -> tuple[str, ...]:
        """Absolute patterns of what the user's rules deny to read: lists and searches leave it out."""
        return denied_patterns(self._effective.policies, Subject.READ, scope)

    def denied_writes(self, scope: Scope) -> tuple[str, ...]:
        """Absolute patterns of what the user's rules deny to write: commands find it read-only."""
        return denied_patterns(self._effective.policies, Subject.WRITE, scope)

    def warnings(self) -> tuple[str, ...]:
        """What the user should know before anything else; that a new policy is not signed yet, the banner says."""
        notes, status = self._effective.notes, self._effective.status
        if status.state is PolicyState.VALID or (status.state is PolicyState.UNSIGNED and status.problem is None):
            return notes
        return (_explain(self._effective), *notes)

    def refresh(self) -> str:
        """Load again when document or manifest changed; a sentence about what that means, or ""."""
        if not self._store.changed():
            return ""
        before = self._effective
        self._effective = self._store.load()
        if self._effective.digest == before.digest:
            return ""
        if self._effective.state is PolicyState.VALID:
            return "the policy was signed anew; its rules apply from now on"
        return _explain(self._effective)


def _explain(effective: Effective) -> str:
    what = f"the policy is {effective.state.value} ({effective.status.detail})"
    return f"{what}; the built-in rules and whatever was signed last apply"
