"""Connections of commands while they run: what was approved with the call, and what becomes a question."""

from __future__ import annotations

from dataclasses import dataclass, replace

from localgpt.monitor.approval import Approvals, ExactCall
from localgpt.monitor.events import Choice
from localgpt.monitor.guard import PolicyGuard
from localgpt.monitor.hosts import with_sinks
from localgpt.monitor.journal import Journal
from localgpt.policy import Connect, Decision, Flow, Request, Scope, Verdict
from localgpt.sandbox.egress import Connection
from localgpt.sandbox.hosts import shown


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Decides about the connections of one approved call. `call` is what its questions are bound to."""

    call_id: str
    call: ExactCall
    guard: PolicyGuard
    flow: Flow
    scope: Scope
    approvals: Approvals
    journal: Journal

    def may_connect(self, host: str, port: int, *, listed: bool) -> bool:
        """Decide and log, durable before anything is looked up.

        Raises:
            AuditError: it could not be written; nothing is connected and the command ends.
        """
        effect = Connect(host, port)
        decision = with_sinks(self.guard.decide(self.flow, Request("network", (effect,), self.scope)), (effect,))
        code = decision.code
        if decision.verdict is Verdict.ASK:
            verdict, code = (Verdict.ALLOW, "listed") if listed else self._ask(host, port, decision)
        else:
            verdict = decision.verdict
        self.journal.connecting(self.call_id, host, port, verdict, code)
        return verdict is Verdict.ALLOW

    def connected(self, connection: Connection) -> None:
        """Log what became of it."""
        self.journal.connected(self.call_id, connection)

    def _ask(self, host: str, port: int, decision: Decision) -> tuple[Verdict, str]:
        call = replace(self.call, tool="network", argv=("connect", shown(host, port), "for", *self.call.argv))
        answer = self.approvals.ask(call, code=decision.code, sentence=decision.sentence, diff="")
        self.journal.answered(self.call_id, answer, call.digest())
        return (Verdict.DENY, "user.denied") if answer.choice is Choice.DENY else (Verdict.ALLOW, "user.allowed")
