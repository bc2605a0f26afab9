"""What the monitor writes into the audit log, one method an event; sizes and digests, never contents or secrets.

A log that cannot be written stops effects: what must be durable first raises, and `failure` says why from then on.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from typing import Final

from localgpt import canon
from localgpt.audit import AuditLog
from localgpt.audit.share import TurnShare
from localgpt.errors import AuditError
from localgpt.monitor.children import Room
from localgpt.monitor.events import Answer, SessionStatus
from localgpt.monitor.guard import PolicyGuard
from localgpt.monitor.requests import Prepared
from localgpt.monitor.results import Ran
from localgpt.policy import Connect, Decision, Effect, Flow, Manifest, Reach, ReadPath, Run, Verdict, WritePath
from localgpt.sandbox import Proof
from localgpt.sandbox.aftermath import Left
from localgpt.sandbox.egress import Connection
from localgpt.wire import GatewayCall, ModelDone, ModelFailed, TurnEnd, Usage

_TOKEN: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_LEFT: Final = 20  #: entries about what one command left, of each kind
_EFFECTS: Final = {ReadPath: "read", WritePath: "write", Run: "run", Connect: "connect"}


class Journal:
    """One session's view of the audit log. `log` None means that it could not be opened (`failure` says why)."""

    def __init__(self, log: AuditLog | None, session_id: str = "", *, failure: str = "") -> None:
        self._log = log
        self._session_id = session_id
        self._not_opened = failure
        self._share = None if log is None or not session_id else TurnShare(log, session_id)

    @property
    def failure(self) -> str:
        """Why nothing can be written any more, "" while all is well."""
        return self._not_opened if self._log is None else self._log.failure

    def for_session(self, session_id: str) -> Journal:
        """The same log, for the entries of one session."""
        return Journal(self._log, session_id, failure=self._not_opened)

    # --- must be durable before anything happens: these raise ---------------------------------------------------

    def decided(self, call_id: str, prepared: Prepared, decision: Decision, guard: PolicyGuard, flow: Flow) -> None:
        """Write a decision, durable when this returns.

        Raises:
            AuditError: it could not be written; the effect must not start.
        """
        self._append(
            "decision",
            call=token(call_id),
            tool=prepared.tool,
            verdict=decision.verdict,
            code=token(decision.code),
            rule=decision.rule or None,
            policy=guard.digest,
            flow=flow_digest(flow),
            request=request_digest(prepared.tool, prepared.effects),
            **self._argv_fields(prepared.argv),
            **self._body(prepared),
            effects=[_EFFECTS.get(type(effect), "other") for effect in prepared.effects],
            path=prepared.path or None,
        )

    def answered(self, call_id: str, answer: Answer, digest: str) -> None:
        """Write the user's answer; as binding as `decided`.

        Raises:
            AuditError: it could not be written; the answer does not count.
        """
        self._append("approval", call=token(call_id), choice=answer.choice.value, digest=digest)

    def connecting(self, call_id: str, host: str, port: int, verdict: Verdict, code: str) -> None:
        """Write the decision on one connection of a command; as binding as `decided`.

        Raises:
            AuditError: it could not be written; nothing may be connected.
        """
        self._append(
            "connection", role="command", call=token(call_id), host=host, port=port, verdict=verdict.value,
            code=token(code),
        )  # fmt: skip

    # --- noted before it happens; talking goes on without ------------------------------------------------------

    def decided_model(self, request_id: str, host: str, decision: Decision, guard: PolicyGuard) -> None:
        """Write the decision on a model call. Talking needs no log, so this never raises."""
        self._note(
            "decision",
            call=token(request_id),
            tool="model",
            verdict=decision.verdict,
            code=token(decision.code),
            rule=decision.rule or None,
            policy=guard.digest,
            effects=["model"],
            host=host,
        )

    def refused(self, call_id: str, tool: str, code: str, guard: PolicyGuard) -> None:
        """Write that a malformed call, or a call of an undeclared tool, was refused."""
        self._note(
            "decision", call=token(call_id), tool=tool or "?", verdict="deny", code=token(code), policy=guard.digest
        )

    def process_starting(self, role: str, argv0: str) -> None:
        """Write that a process of the runtime is about to start. Talking needs no log, so this never raises."""
        self._note("process.start", role=role, argv0=argv0)

    def probing(self, ports: tuple[int, ...]) -> None:
        """Write that these loopback ports are about to be asked what they are."""
        for port in ports:
            self._note(
                "connection", role=Room.GATEWAY.value, host="127.0.0.1", port=port, verdict="allow", code="probe"
            )

    def model_called(self, call: GatewayCall, host: str, reach: Reach) -> None:
        """Write a model call: who, where, how much."""
        self._note(
            "model.call",
            request=token(call.request_id),
            provider=call.endpoint.provider,
            host=call.endpoint.socket_path or host,
            model=call.endpoint.model,
            reach=reach.value,
            messages=len(call.messages),
            bytes_out=sum(len(message.text.encode("utf-8", "replace")) for message in call.messages),
            tools=len(call.tools),
            max_tokens=call.max_tokens,
            schema=call.schema_json is not None,
        )

    def connected(self, call_id: str, connection: Connection) -> None:
        """Write the end of a connection: how much went through, or why nothing did."""
        if connection.code == "net.unlisted":
            return  # the decision says so
        self._note(
            "connection",
            role="command",
            call=token(call_id),
            host=connection.host,
            port=connection.port,
            verdict="allow" if connection.opened else "deny",
            code="net.closed" if connection.opened else connection.code,
            address=connection.about or None,
            bytes_out=connection.sent,
            bytes_in=connection.received,
        )

    # --- what happened ------------------------------------------------------------------------------------------

    def session_started(self, status: SessionStatus, *, resumed: bool, policy: str) -> None:
        self._note(
            "session.start",
            project=status.project,
            project_trusted=status.project_trusted,
            resumed=resumed,
            model=status.model or None,
            provider=status.provider or None,
            rung=token(status.rung),
            policy=policy,
            tools_on=status.tools_on,
        )

    def session_ended(self, usage: Usage) -> None:
        self._note(
            "session.end",
            reason="closed",
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_microusd=usage.cost_microusd,
        )

    def turn_started(self, turn_id: str, chars: int, attachments: int) -> None:
        self._note("turn.start", turn=token(turn_id), source="user", chars=chars, attachments=attachments)

    def turn_ended(self, turn_id: str, end: TurnEnd) -> None:
        usage = end.usage
        self._note(
            "turn.end",
            turn=token(turn_id),
            reason=end.reason.value,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_microusd=usage.cost_microusd,
        )

    def policy_state(self, guard: PolicyGuard) -> None:
        status, manifest = guard.effective.status, guard.effective.status.manifest
        self._note(
            "policy.state",
            state=guard.state,
            policy=guard.digest,
            document=status.digest or None,
            sequence=None if manifest is None else manifest.sequence,
            key_id=None if manifest is None else manifest.key_id or None,
            code=None if status.problem is None else token(status.problem.code),
            path=guard.document_path,
        )

    def policy_signed(self, manifest: Manifest, path: str) -> None:
        """Write that a grant was signed."""
        self._note(
            "policy.signed",
            sequence=manifest.sequence,
            document=manifest.content_sha256,
            by=manifest.signed_by,
            key_id=manifest.key_id,
            path=path,
        )

    def sandbox_proof(self, proof: Proof | None, plan_digest: str | None) -> None:
        if proof is None:
            self._note("sandbox.proof", rung="none")
            return
        self._note(
            "sandbox.proof",
            rung=proof.rung.value,
            mechanisms=[token(name) for name, held, _ in proof.mechanisms if held],
            missing=[token(name) for name, held, _ in proof.mechanisms if not held],
            plan=plan_digest,
            duration_ms=round(proof.duration_ms),
        )

    def process_ended(self, room: Room, *, pid: int, status: int | None) -> None:
        ended_by = -status if status is not None and status < 0 else None
        self._note(
            "process.end",
            role=room.value,
            pid=pid,
            status=None if ended_by else status,
            signal=ended_by,
        )

    def finished(self, call_id: str, prepared: Prepared, ran: Ran) -> None:
        """Write the outcome, and for a changed file its digests."""
        self._note(
            "outcome",
            call=token(call_id),
            tool=prepared.tool,
            status=ran.outcome.value,
            code=token(ran.code) if ran.code else None,
            exit_status=ran.exit_status,
            timed_out=ran.timed_out,
            duration_ms=round(ran.duration_s * 1000),
            stdout_bytes=ran.output_bytes,
        )
        if ran.after and ran.after != ran.before:
            action = "change" if ran.before else "create"
            before, after = ran.before or None, ran.after
            self._note(
                "file.change",
                call=token(call_id),
                path=prepared.path,
                action=action,
                before_sha256=before,
                after_sha256=after,
            )

        self._left(call_id, ran.left)

    def _left(self, call_id: str, left: Left) -> None:
        """Write down what the command left in the project that other programs would obey or execute."""
        for action, paths in (
            ("put-away", left.put_away),
            ("restored", left.restored),
            ("remaining", left.remaining),
            ("executed-later", left.executed_later),
        ):
            for path in paths[:_LEFT]:
                self._note("file.change", call=token(call_id), path=path, action=action)

    def model_answered(self, call: GatewayCall, answer: ModelDone | ModelFailed) -> None:
        if isinstance(answer, ModelFailed):
            self._note("model.result", request=token(call.request_id), status="failed", code=token(answer.code))
            return
        usage = answer.usage
        self._note(
            "model.result",
            request=token(call.request_id),
            status="done",
            code=answer.stop.value,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cost_microusd=usage.cost_microusd,
            tool_calls=len(answer.tool_calls),
            bytes_in=len(answer.text.encode("utf-8", "replace")),
        )

    def found(self, call_id: str, source: str, kind: str, count: int) -> None:
        """Write what a scan of foreign text noticed: how often, never the text. `source` names where it is from."""
        call = token(call_id) if call_id else None
        self._note("injection.finding", call=call, source=source[-200:] or "?", finding=kind, count=count)

    def close(self) -> None:
        """Close the log; of the runtime's own journal only."""
        if self._log is not None:
            self._log.close()

    # --- writing ------------------------------------------------------------------------------------------------

    def _argv_fields(self, argv: tuple[str, ...]) -> dict[str, str]:
        """The program's name and a salted digest of the whole argv."""
        return {} if self._log is None else self._log.argv_fields(argv)

    def _body(self, prepared: Prepared) -> dict[str, object]:
        """The whole argv, encrypted with the session's key and only its digest in the entry."""
        if self._log is None or not self._session_id or not prepared.argv:
            return {}
        words: list[canon.Json] = [word.encode("utf-8", "backslashreplace").decode() for word in prepared.argv]
        return self._log.body(self._session_id, {"argv": words})

    def _append(self, kind: str, **fields: object) -> None:
        if self._log is None:
            raise AuditError(f"the audit log cannot be written: {self.failure}", cure="localgpt doctor")
        if self._share is not None:
            self._share.append(kind, fields)
        else:
            self._log.append(kind, session=self._session_id, **fields)

    def _note(self, kind: str, **fields: object) -> None:
        """Write without a promise: talking goes on when it fails; a log that is broken by it has a `failure`."""
        with contextlib.suppress(AuditError):
            self._append(kind, **fields)


def flow_digest(flow: Flow) -> str:
    """What the log keeps of a context's labels."""
    return _digest({"integrity": flow.integrity, "confidentiality": flow.confidentiality})


def request_digest(tool: str, effects: tuple[Effect, ...]) -> str:
    """What the log keeps of a request, so that a rebuilt one can be told from another."""
    return _digest({"tool": tool, "effects": [str(effect) for effect in effects]})


def _digest(value: canon.Json) -> str:
    return hashlib.sha256(canon.encode(value)).hexdigest()


def token(text: str) -> str:
    """`text` where the log takes it as it is, else a digest of it: ids of models' calls are foreign."""
    if _TOKEN.fullmatch(text):
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
