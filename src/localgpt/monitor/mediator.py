"""The mediator: no effect without a decision, no decision without an entry in the log before the effect starts.

Order of every call: check the arguments, say what would be done, decide, log the decision (durable), ask if the
decision says so and log the answer, execute confined, log the outcome, label the result.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from localgpt.errors import LocalGptError, PolicyError, SandboxError
from localgpt.monitor.approval import Approvals, ExactCall
from localgpt.monitor.children import Room
from localgpt.monitor.confinement import Confinement, EffectsOff
from localgpt.monitor.events import (
    Answer,
    Choice,
    Event,
    Level,
    Notice,
    SessionStatus,
    ToolFinished,
    ToolStarted,
)
from localgpt.monitor.guard import PolicyGuard
from localgpt.monitor.hosted import NoHost, ToolHost, act_of, carry_out, members, prepare_hosted
from localgpt.monitor.hosts import hosts_of, with_sinks
from localgpt.monitor.journal import Journal
from localgpt.monitor.ledger import Ledger
from localgpt.monitor.models import ChosenModel
from localgpt.monitor.network import Doorkeeper
from localgpt.monitor.origins import Origins, changed_path
from localgpt.monitor.peers import Peers
from localgpt.monitor.placing import OneFile
from localgpt.monitor.prompt import with_policy
from localgpt.monitor.requests import Prepared, prepare, prepare_shell
from localgpt.monitor.results import Ran, about, read_reply, read_shell
from localgpt.monitor.screening import noticed
from localgpt.policy import (
    CallModel,
    Decision,
    Effect,
    Flow,
    ReadPath,
    Request,
    Rule,
    UnknownTool,
    Verdict,
    WritePath,
)
from localgpt.policy.emit import emit_grant
from localgpt.sandbox import Completed
from localgpt.sandbox.denials import denials
from localgpt.tools import (
    DECLARATIONS,
    EditFileCall,
    HostedCall,
    ShellCall,
    ToolArgumentError,
    WriteFileCall,
    into_place,
    preview_request,
    worker_request,
)
from localgpt.wire import (
    Attachment,
    Confidentiality,
    GatewayCall,
    Integrity,
    Label,
    Message,
    ModelDone,
    ModelFailed,
    ModelRequest,
    ToolOutcome,
    ToolRequest,
    ToolResult,
    TurnEnd,
    Usage,
)

_KNOWN: Final = frozenset(declaration.name for declaration in DECLARATIONS)
_RUNTIME: Final = Label(Integrity.POLICY, Confidentiality.PUBLIC, "runtime")
_DETAILS: Final = Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, "why it was not done")
_PREVIEW_CHARS: Final = 4096
_ATTACHED_CHARS: Final = 20_000


@dataclass(frozen=True, slots=True)
class _Settled:
    """A decision after preview and answer: run it, or not, and what to tell the model.

    `sentence` may quote paths and is for the user; `own_words` hold nothing foreign and may stand before a model
    unmarked. `doomed`: the preview of a change found that it cannot be made; nobody was asked.
    """

    run: bool
    verdict: Verdict
    code: str
    sentence: str
    own_words: str = ""
    doomed: Ran | None = None


class Mediator:
    """Decides, logs and carries out the requests of one session."""

    def __init__(
        self,
        *,
        journal: Journal,
        guard: PolicyGuard,
        confinement: Confinement,
        approvals: Approvals,
        resumed: bool = False,
        host: ToolHost | None = None,
        builtin: bool = True,
        origins: Origins | None = None,
    ) -> None:
        self._journal = journal
        self._guard = guard
        self._confinement = confinement
        self._approvals = approvals
        self._host = host or NoHost()
        self._origins = origins or Origins()
        self._made: set[str] = set()
        self._builtin = _KNOWN if builtin else frozenset[str]()
        self._ledger = Ledger(self._host.declarations, resumed=resumed)
        if self._host.declarations.lookups:
            self._ledger.belong(members(self._host))
        self._attachments: list[Attachment] = []
        self._untold: list[str] = []

    # --- life of a session --------------------------------------------------------------------------------------

    def status(
        self, *, session_id: str, model: str, provider: str, demo_tier: bool, tools_on: bool, usage: Usage
    ) -> SessionStatus:
        """Put together what a status line shows."""
        project = self._confinement.project
        return SessionStatus(
            session_id=session_id,
            model=model,
            provider=provider,
            demo_tier=demo_tier,
            tools_on=tools_on,
            policy_state=self._guard.state,
            rung=self._confinement.rung,
            effects_off=self._confinement.effects_off or self._journal.failure,
            project=str(project.path),
            project_trusted=project.trusted,
            usage=usage,
        )

    def begin(self, status: SessionStatus, *, resumed: bool) -> tuple[str, ...]:
        """Log the session and what confines it; returns what the user should know of that."""
        plan = self._confinement.plan_digest() if self._confinement.proof else None
        self._journal.sandbox_proof(self._confinement.proof, plan)
        self._journal.session_started(status, resumed=resumed, policy=self._guard.digest)
        off = self._confinement.effects_off
        return (
            *(
                (f"the log cannot be written: {self._journal.failure}; talking goes unlogged",)
                if self._journal.failure
                else ()
            ),
            *((f"nothing is run and no file is touched: {off}",) if off else ()),
            *self._confinement.warnings(),
        )

    def begin_turn(self, turn_id: str, text: str, attachments: tuple[Attachment, ...]) -> Iterator[Event]:
        """Log the turn and notice a changed policy."""
        self._approvals.new_turn()
        self._ledger.begin_turn(text)
        for attachment in attachments:
            self._ledger.heard(attachment.label)
        yield from self._notice_policy()
        self._journal.turn_started(turn_id, len(text), len(attachments))
        for attachment in attachments:
            yield from noticed(self._journal, attachment.text, attachment.name)

    def end_turn(self, turn_id: str, end: TurnEnd) -> None:
        self._journal.turn_ended(turn_id, end)

    def take_attachments(self) -> tuple[Attachment, ...]:
        """What `!cmd` printed since the last turn."""
        taken, self._attachments = tuple(self._attachments), []
        return taken

    def start_process(self, peers: Peers, room: Room, first: Message) -> None:
        """Log, then start a process of the runtime."""
        self._journal.process_starting(room.value, sys.executable)
        peers.start(room, first)

    def process_ended(self, room: Room, *, pid: int, status: int | None) -> None:
        self._journal.process_ended(room, pid=pid, status=status)

    @property
    def exhausted(self) -> bool:
        """Whether the user refused so often that the turn must end."""
        return self._ledger.exhausted

    @property
    def flow(self) -> Flow:
        """What the session knows of flows now."""
        return self._ledger.flow

    def cancel(self) -> None:
        """End the command that runs now, if one does. Safe in signal handlers and other threads."""
        self._confinement.cancel()

    def close(self, usage: Usage) -> None:
        """Log the end of the session; the sandbox and the log belong to the runtime."""
        self._journal.session_ended(usage)

    # --- tools --------------------------------------------------------------------------------------------------

    def tool(self, request: ToolRequest) -> Generator[Event, None, ToolResult]:
        """Mediate one tool call of the agent."""
        yield from self._notice_policy()
        if request.name not in self._builtin and request.name not in self._host.names:
            return (yield from self._unknown(request))
        try:
            prepared = self._prepare(request)
        except ToolArgumentError as error:
            self._journal.refused(request.call_id, request.name, "tool.arguments", self._guard)
            shown = (request.name, request.arguments_json[:_PREVIEW_CHARS])
            yield ToolStarted(request.call_id, request.name, shown, Verdict.DENY, "tool.arguments", error.message)
            yield ToolFinished(request.call_id, ToolOutcome.DENIED, None, 0.0, "", error.message)
            return ToolResult(request.call_id, ToolOutcome.FAILED, "", _RUNTIME, error.message)
        return (yield from self._mediate(request.call_id, prepared))

    def _prepare(self, request: ToolRequest) -> Prepared:
        if request.name not in self._builtin:  # a built-in name is never a host's
            return prepare_hosted(self._host, request.name, request.arguments_json)
        scope, project = self._confinement.scope, self._confinement.project.path
        denied = self._guard.denied_reads(scope)
        return prepare(request.name, request.arguments_json, project, Path(scope.home), denied)

    def user_command(self, command: str) -> Iterator[Event]:
        """Mediate a command that the user typed; its output goes along with the user's next words."""
        yield from self._notice_policy()
        prepared = prepare_shell("shell", ShellCall(command))
        result = yield from self._mediate(f"user-{time.monotonic_ns()}", prepared)
        text = f"$ {command}\n{result.text[:_ATTACHED_CHARS]}\n[{result.notice}]"
        self._attachments.append(Attachment("a command the user ran", text, result.label))

    def _unknown(self, request: ToolRequest) -> Generator[Event, None, ToolResult]:
        """A tool that nobody declared: the policy is asked, and nothing can run whatever it says."""
        decision = self._decide(request.name[:100], (UnknownTool(request.name[:100]),))
        self._journal.refused(request.call_id, request.name[:100], decision.code, self._guard)
        sentence = f"there is no tool {request.name[:100]!r}"
        yield ToolStarted(
            request.call_id, request.name[:100], (request.name[:100],), Verdict.DENY, decision.code, sentence
        )
        yield ToolFinished(request.call_id, ToolOutcome.DENIED, None, 0.0, "", sentence)
        return ToolResult(request.call_id, ToolOutcome.DENIED, "", _RUNTIME, sentence)

    def _mediate(self, call_id: str, prepared: Prepared) -> Generator[Event, None, ToolResult]:
        prepared = replace(prepared, effects=tuple(map(self._dated, prepared.effects)))
        decision = with_sinks(self._decide(prepared.tool, prepared.effects), prepared.effects)
        off = self._confinement.effects_off or self._journal.failure
        if off and decision.verdict is not Verdict.DENY:
            decision = Decision(Verdict.DENY, "effects.off", f"effects are off: {off}", "runtime")
        try:
            self._journal.decided(call_id, prepared, decision, self._guard, self._ledger.flow)
            settled, prepared, diff = self._settle(call_id, prepared, decision)
        except (LocalGptError, OSError) as error:
            code = error.code if isinstance(error, LocalGptError) else "effects.off"
            settled, diff = _Settled(run=False, verdict=Verdict.DENY, code=code, sentence=str(error)), ""
        yield ToolStarted(call_id, prepared.tool, prepared.shown, settled.verdict, settled.code, settled.sentence, diff)
        if not settled.run and settled.doomed is None:
            yield ToolFinished(call_id, ToolOutcome.DENIED, None, 0.0, "", settled.sentence)
            return _refusal(call_id, settled)
        ran, label = self._carry_out(call_id, prepared, settled)
        self._journal.finished(call_id, prepared, ran)
        shown = "" if diff and ran.text == diff else ran.text[:_PREVIEW_CHARS]
        left = about(ran.left)
        notice = "; ".join(filter(None, (ran.problem or ran.notice, left)))
        yield ToolFinished(call_id, ran.outcome, ran.exit_status, ran.duration_s, shown, notice)
        text = "\n".join(filter(None, (ran.text, ran.problem, left)))
        yield from noticed(self._journal, text, prepared.path or prepared.tool, call_id)
        return ToolResult(call_id, ran.outcome, text, label, ran.notice)

    def _carry_out(self, call_id: str, prepared: Prepared, settled: _Settled) -> tuple[Ran, Label]:
        """Do it, and label what came back; the label joins the context's."""
        act = act_of(prepared)
        if act is not None and isinstance(prepared.call, HostedCall):
            ran, value = carry_out(self._host, prepared.call)
            return ran, self._ledger.returned(self._guard.flow_rules, act, value)
        ran = settled.doomed or self._execute(call_id, prepared)
        changed = changed_path(prepared) if ran.after else ""
        if changed:
            self._made.add(changed)
            ran = replace(ran, notice="; ".join(filter(None, (ran.notice, self._origins.wrote(changed, self.flow)))))
        label = self._origins.label(prepared, self._confinement.scope)
        self._ledger.heard(label)
        return ran, label

    def _dated(self, effect: Effect) -> Effect:
        """Whether a change replaces something that was there before this session touched it."""
        if isinstance(effect, WritePath) and effect.path not in self._made:
            return replace(effect, replaces=os.path.lexists(effect.path))
        return effect

    def _decide(self, tool: str, effects: tuple[Effect, ...]) -> Decision:
        return self._guard.decide(self._ledger.flow, Request(tool, effects, self._confinement.scope))

    def _settle(self, call_id: str, prepared: Prepared, decision: Decision) -> tuple[_Settled, Prepared, str]:
        """Ask where the decision says so; for edits, fix what the file must still be when the change is made."""
        if decision.verdict is Verdict.DENY:
            return (
                _Settled(run=False, verdict=Verdict.DENY, code=decision.code, sentence=decision.sentence),
                prepared,
                "",
            )
        diff = ""
        if isinstance(prepared.call, (WriteFileCall, EditFileCall)):
            preview = self._preview(prepared, prepared.call)
            if preview.outcome is not ToolOutcome.DONE:
                sentence = "not attempted: the change cannot be made"
                settled = _Settled(
                    run=False, verdict=decision.verdict, code=decision.code, sentence=sentence, doomed=preview
                )
                return settled, prepared, ""
            diff = preview.text
            stdin = worker_request(prepared.call, prepared.path, expect=preview.before)  # "": there must be no file
            prepared = replace(prepared, stdin=stdin)
        if decision.verdict is Verdict.ALLOW:
            return (
                _Settled(run=True, verdict=Verdict.ALLOW, code=decision.code, sentence=decision.sentence),
                prepared,
                diff,
            )
        answer = self._ask(call_id, prepared, decision, diff)
        if answer.choice is Choice.DENY:
            sentence = f"the user denied this{f': {answer.reason}' if answer.reason else ''}"
            settled = _Settled(
                run=False, verdict=Verdict.DENY, code="user.denied", sentence=sentence, own_words=sentence
            )
            return settled, prepared, diff
        return (
            _Settled(run=True, verdict=Verdict.ASK, code=decision.code, sentence="approved by the user"),
            prepared,
            diff,
        )

    def _ask(self, call_id: str, prepared: Prepared, decision: Decision, diff: str) -> Answer:
        call, act = self._exact_call(prepared), act_of(prepared)
        rule = self._grant_for(prepared.tool, prepared.effects, decision)
        answer = self._approvals.ask(
            call,
            code=decision.code,
            sentence=decision.sentence,
            diff=diff,
            endorse=decision.endorse,
            remember=act is None,
            grant="" if rule is None else emit_grant(rule),
        )
        self._journal.answered(call_id, answer, call.digest())
        if rule is not None and answer.choice is Choice.FOREVER:
            self._sign_grant(rule)
        if answer.choice is Choice.DENY:
            self._ledger.refused(decision)
        elif act is not None and answer.choice is Choice.SESSION:
            self._ledger.approved(act, decision)
        return answer

    def _preview(self, prepared: Prepared, call: WriteFileCall | EditFileCall) -> Ran:
        """What the change would do, without making it: nothing is granted for writing that was not approved yet."""
        read, place = self._beyond(prepared)
        self._confinement.check_place(place)
        with self._confinement.executor(read, ()) as executor:
            request = preview_request(call, prepared.path)
            return read_reply(executor.run(prepared.argv, stdin=request, timeout_s=prepared.timeout_s))

    def _execute(self, call_id: str, prepared: Prepared) -> Ran:
        try:
            ran = self._run(call_id, prepared)
        except (SandboxError, EffectsOff) as error:
            ran = _failed(error)
        except KeyboardInterrupt:
            self._confinement.cancel()
            ran = Ran(ToolOutcome.FAILED, None, 0.0, "", "the user stopped this")
        except LocalGptError as error:
            ran = _failed(error)
        return ran

    def _run(self, call_id: str, prepared: Prepared) -> Ran:
        read, place = self._beyond(prepared)
        if place:
            return read_reply(self._run_in_place(prepared, read, place))
        hosts = hosts_of(prepared.effects)
        asks = isinstance(prepared.call, ShellCall) and self._confinement.asks_hosts
        door = self._doorkeeper(call_id, prepared) if hosts or asks else None
        with self._confinement.executor(read, (), hosts, door) as executor:
            completed = executor.run(prepared.argv, stdin=prepared.stdin, timeout_s=prepared.timeout_s)
        if not isinstance(prepared.call, ShellCall):
            return read_reply(completed)
        return read_shell(completed, denials(executor.plan, completed))

    def _run_in_place(self, prepared: Prepared, read: tuple[str, ...], place: str) -> Completed:
        """Write one file beyond the plan: the worker writes beside it, and what it has done is moved into place."""
        self._confinement.check_place(place)
        with OneFile(place) as file:
            seen = (*(path for path in read if path != place), *((place,) if file.existed else ()))
            with self._confinement.executor(seen, file=file.temporary) as executor:
                request = into_place(prepared.stdin, file.temporary)
                completed = executor.run(prepared.argv, stdin=request, timeout_s=prepared.timeout_s)
            if read_reply(completed).outcome is ToolOutcome.DONE:
                file.keep()
        return completed

    def _doorkeeper(self, call_id: str, prepared: Prepared) -> Doorkeeper:
        scope = self._confinement.scope
        call = self._exact_call(prepared)
        return Doorkeeper(call_id, call, self._guard, self._ledger.flow, scope, self._approvals, self._journal)

    def _exact_call(self, prepared: Prepared) -> ExactCall:
        read, place = self._beyond(prepared)
        read = tuple(path for path in read if path != place)  # which may be there or not: the answer is about both
        return ExactCall(
            prepared.tool,
            prepared.shown,
            str(self._confinement.project.path),
            self._confinement.environment,
            self._confinement.plan_digest(read, (), place, hosts_of(prepared.effects)),
            prepared.stdin,
        )

    def _beyond(self, prepared: Prepared) -> tuple[tuple[str, ...], str]:
        """What beyond the session's plan exactly this call needs: paths to read, and one file to make or replace."""
        read = [e.path for e in prepared.effects if isinstance(e, ReadPath)]
        write = [e.path for e in prepared.effects if isinstance(e, WritePath)]
        place = next((path for path in write if not _covered(path, self._confinement.scope.write_roots)), "")
        if place and Path(place).exists():  # to show what would change, and to see that it has not changed since
            read.append(place)
        return tuple(dict.fromkeys(path for path in read if not self._confinement.reads(path))), place

    # --- models -------------------------------------------------------------------------------------------------

    def model(self, request: ModelRequest, model: ChosenModel) -> Generator[Event, None, GatewayCall | ModelFailed]:
        """Mediate one model call: the provider is a sink, and the policy's prose goes with every call."""
        yield from self._notice_policy()
        decision = self._decide(
            "model", (CallModel(model.endpoint.provider, model.host, model.reach, model.confirmed),)
        )
        self._journal.decided_model(request.request_id, model.host, decision, self._guard)
        if decision.verdict is not Verdict.ALLOW and not self._approved_model(request, model, decision):
            sentence = f"the policy does not let this context go to {model.host}: {decision.sentence}"
            return ModelFailed(request.request_id, "model.denied", sentence, retryable=False)
        call = GatewayCall(
            request_id=request.request_id,
            endpoint=model.endpoint,
            messages=with_policy(request.messages, self._guard.prose),
            tools=request.tools,
            max_tokens=request.max_tokens,
            schema_json=request.schema_json,
            temperature_milli=request.temperature_milli,
        )
        self._journal.model_called(call, model.host, model.reach)
        return call

    def _grant_for(self, tool: str, effects: tuple[Effect, ...], decision: Decision) -> Rule | None:
        request = Request(tool, effects, self._confinement.scope)
        return self._guard.grant_for(self._ledger.flow, request, decision)

    def _sign_grant(self, rule: Rule) -> None:
        """What cannot be signed is told; the answer still counts for this call."""
        try:
            self._journal.policy_signed(self._guard.sign_grant(rule), self._guard.document_path)
        except PolicyError as error:
            self._untold.append(f"the grant was not signed: {error}")
        self._journal.policy_state(self._guard)

    def _approved_model(self, request: ModelRequest, model: ChosenModel, decision: Decision) -> bool:
        if decision.verdict is Verdict.DENY:
            return False
        shown = ("model", model.endpoint.provider, model.host, model.endpoint.model)
        call = ExactCall("model", shown, "", (), "", b"")
        called = (CallModel(model.endpoint.provider, model.host, model.reach, model.confirmed),)
        rule = self._grant_for("model", called, decision)
        grant = "" if rule is None else emit_grant(rule)
        answer = self._approvals.ask(call, code=decision.code, sentence=decision.sentence, diff="", grant=grant)
        self._journal.answered(request.request_id, answer, call.digest())
        if rule is not None and answer.choice is Choice.FOREVER:
            self._sign_grant(rule)
        return answer.choice is not Choice.DENY

    def model_answered(self, call: GatewayCall, answer: ModelDone | ModelFailed) -> None:
        self._journal.model_answered(call, answer)

    # --- policy -------------------------------------------------------------------------------------------------

    def _notice_policy(self) -> Iterator[Event]:
        if change := self._guard.refresh():
            self._journal.policy_state(self._guard)
            yield Notice(Level.WARNING, change)
        while self._untold:
            yield Notice(Level.WARNING, self._untold.pop(0))


def _refusal(call_id: str, settled: _Settled) -> ToolResult:
    """What the model is told of a call that did not run. The full sentence quotes paths, so it goes as foreign text."""
    words = settled.own_words or f"not done ({settled.code})"
    details = "" if settled.own_words else settled.sentence
    return ToolResult(call_id, ToolOutcome.DENIED, details, _DETAILS, words)


def _failed(error: LocalGptError) -> Ran:
    said = f"it could not be run ({error.code})"
    return Ran(ToolOutcome.FAILED, None, 0.0, "", said, problem=str(error), code=error.code)


def _covered(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)
