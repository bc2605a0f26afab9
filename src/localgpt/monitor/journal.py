"""What the monitor writes into the audit log, one method an event; sizes and digests, never contents or secrets.

A log that cannot be written stops effects: `decided` raises, and `failure` says why from then on.
"""

from __future__ import annotations

from typing import Final

from localgpt.audit import AuditLog
from localgpt.canon import Json
from localgpt.errors import AuditError
from localgpt.monitor.children import Room
from localgpt.monitor.events import Choice
from localgpt.monitor.guard import PolicyGuard
from localgpt.monitor.results import Ran
from localgpt.policy import Decision
from localgpt.sandbox import Proof
from localgpt.wire import GatewayCall, ModelDone, ModelFailed, TurnEnd, Usage

_NAME_CHARS: Final = 100


class Journal:
    """One session's view of the audit log. `log` None means that it could not be opened (`failure` says why)."""

    def __init__(self, log: AuditLog | None, session_id: str, *, failure: str = "") -> None:
        self._log = log
        self._session_id = session_id
        self.failure = failure

    # --- must be durable before anything happens ----------------------------------------------------------------

    def decided(self, call_id: str, tool: str, decision: Decision, guard: PolicyGuard, argv: tuple[str, ...]) -> None:
        """Write a decision, durable when this returns.

        Raises:
            AuditError: it could not be written; the effect must not start.
        """
        self._append(
            "decision",
            call=call_id,
            tool=tool[:_NAME_CHARS],
            verdict=decision.verdict.value,
            code=decision.code,
            rule=decision.rule[:_NAME_CHARS],
            policy=guard.digest,
            argv=argv,
        )

    def answered(self, call_id: str, choice: Choice, digest: str) -> None:
        """Write the user's answer; as binding as `decided`."""
        self._append("approval", call=call_id, choice=choice.value, digest=digest)

    def process_starting(self, room: Room) -> None:
        """Write that a process of the runtime is about to start. Talking needs no log, so this never raises."""
        self._note("process.start", room=room.value)

    def probing(self, ports: tuple[int, ...]) -> None:
        """Write that these loopback ports are about to be asked what they are."""
        for port in ports:
            self._note("connection", host="127.0.0.1", port=port, purpose="probe")

    def model_called(self, call: GatewayCall) -> None:
        """Write a model call: who, where, how much."""
        endpoint = call.endpoint
        self._note(
            "model.call",
            call=call.request_id,
            provider=endpoint.provider,
            model=endpoint.model[:_NAME_CHARS],
            host=endpoint.socket_path or endpoint.base_url,
            input_chars=sum(len(message.text) for message in call.messages),
        )

    # --- what happened ------------------------------------------------------------------------------------------

    def session_started(self, project: str, trusted: bool, model: str) -> None:
        self._note("session.start", project=project, trusted=trusted, model=model[:_NAME_CHARS])

    def session_ended(self, usage: Usage) -> None:
        self._note("session.end", input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)

    def turn_started(self, turn_id: str) -> None:
        self._note("turn.start", turn=turn_id)

    def turn_ended(self, turn_id: str, end: TurnEnd) -> None:
        self._note("turn.end", turn=turn_id, reason=end.reason.value)

    def policy_state(self, guard: PolicyGuard) -> None:
        self._note("policy.state", state=guard.state, policy=guard.digest)

    def sandbox_proof(self, proof: Proof | None, reason: str) -> None:
        self._note("sandbox.proof", rung=proof.rung.value if proof else "none", reason=reason[:500])

    def process_ended(self, room: Room, how: str, pid: int) -> None:
        self._note("process.end", room=room.value, how=how[:200], pid=pid)

    def refused(self, call_id: str, tool: str, code: str) -> None:
        """Write that a malformed call was refused."""
        self._note(
            "decision", call=call_id, tool=tool[:_NAME_CHARS], verdict="deny", code=code, rule="", policy="", argv=()
        )

    def finished(self, call_id: str, tool: str, ran: Ran) -> None:
        self._note(
            "outcome",
            call=call_id,
            tool=tool[:_NAME_CHARS],
            outcome=ran.outcome.value,
            exit_status=ran.exit_status,
            duration_ms=round(ran.duration_s * 1000),
            output_bytes=ran.output_bytes,
            before=ran.before,
            after=ran.after,
        )

    def model_answered(self, call: GatewayCall, answer: ModelDone | ModelFailed) -> None:
        if isinstance(answer, ModelFailed):
            self._note("model.result", call=call.request_id, code=answer.code)
        else:
            usage = answer.usage
            self._note(
                "model.result",
                call=call.request_id,
                code=answer.stop.value,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
            )

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    # --- writing ------------------------------------------------------------------------------------------------

    def _append(self, kind: str, **fields: Json | tuple[str, ...]) -> None:
        if self._log is None:
            raise AuditError(f"the audit log cannot be written: {self.failure}", cure="localgpt doctor")
        try:
            self._log.append(kind, session=self._session_id, **fields)
        except AuditError as error:
            self.failure = str(error)
            raise

    def _note(self, kind: str, **fields: Json | tuple[str, ...]) -> None:
        """Write without a promise: talking goes on when it fails, and effects are off from then on."""
        try:
            self._append(kind, **fields)
        except AuditError as error:
            self.failure = self.failure or str(error)
