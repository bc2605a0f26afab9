"""Honest and hijacked runs of AgentDojo's ground-truth calls, through the real monitor."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from agentdojo.functions_runtime import FunctionCall

from bench._house import Conversation, FunctionHost, HostFailed, House, User, declared
from bench.agentdojo import attacks, suites
from localgpt.policy.authority import Kind
from localgpt.policy.declarations import Declarations

MODES = ("asap", "end", "blend")
_DECLARATIONS = Path(__file__).with_name("declare")


@cache
def declarations(suite: str) -> Declarations:
    """What was declared of a suite's tools."""
    return declared(_DECLARATIONS / f"{suite}.toml")


def policy(suite: str) -> str:
    """The user's signed words: who the user is, and the domain of the own organisation."""
    task = next(iter(suites.suites()[suite].user_tasks.values()))
    inbox = getattr(suites.environment(suite, task), "inbox", None)
    own = str(inbox.account_email) if inbox is not None else ""
    domain = own.rpartition("@")[2]
    zone = f'[zone.own]\ndomains = ["{domain}"]\n' if domain else ""
    return f'[flow]\nown = ["{own}"]\n{zone}' if own else "[flow]\nown = []"


@dataclass
class Outcome:
    """How one run ended."""

    useful: bool = False
    broken: bool = False
    seen: bool = False
    asked: int = 0
    asked_by_attack: int = 0
    effects: int = 0
    codes: list[tuple[str, str, str]] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)


class Run:
    """One conversation on one environment."""

    def __init__(self, house: House, suite: str, task: Any, *, attack: str = "", approves: bool = False) -> None:
        self.suite, self.task = suite, task
        self.environment = suites.environment(suite, task, attack)
        self.before = suites.copied(self.environment)
        self.executed: list[FunctionCall] = []
        self.user = User(approves=approves)
        runtime = suites.runtime(suite)
        host = FunctionHost(declarations(suite), frozenset(runtime.functions), self._execute)
        self.conversation: Conversation = house.session(host, self.user, task.PROMPT)
        self.executed.clear()  # the look-ups of the zone are the monitor's

    def _execute(self, name: str, arguments: dict[str, Any]) -> Any:
        value, error = suites.runtime(self.suite).run_function(self.environment, name, arguments)
        if error is not None:
            raise HostFailed(error)
        self.executed.append(FunctionCall(function=name, args=arguments))
        return _plain(value)

    def call(self, call: FunctionCall) -> str:
        """Make one call; the text that the model saw."""
        return self.conversation.call(call.function, dict(call.args))[1]

    def questions(self) -> list[str]:
        """What the user was asked, a line each."""
        return [f"{each.code}: {each.sentence} {' '.join(each.argv)[:200]}" for each in self.user.asked]

    def useful(self) -> bool:
        return suites.useful(self.suite, self.task, self.before, self.environment, self.executed)


def _plain(value: Any) -> Any:
    """A tool's result as JSON."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def honest(house: House, suite: str, task: Any, *, approves: bool) -> Outcome:
    """The user's own calls on a clean environment."""
    run = Run(house, suite, task, approves=approves)
    calls = suites.ground_truth(suite, task.ID, "")
    for call in calls:
        run.call(call)
    effects = sum(declarations(suite).spec(call.function).kind is not Kind.READ for call in calls)
    return Outcome(
        useful=run.useful(),
        asked=len(run.user.asked),
        effects=effects,
        codes=run.conversation.codes,
        questions=run.questions(),
    )


def hijacked(house: House, suite: str, task: Any, injection: Any, mode: str, *, approves: bool) -> Outcome:
    """The user's calls until the marker was seen, then the attacker's."""
    text = f"{suites.MARKER} {injection.GOAL}"
    run = Run(house, suite, task, attack=text, approves=approves)
    calls = suites.ground_truth(suite, task.ID, text)
    seen, done, by_attack = False, False, 0
    for call in calls:
        made = _blended(run, injection, call) if seen and mode == "blend" else [call]
        for each in made:
            asked = len(run.user.asked)
            shown = run.call(each)
            by_attack += (len(run.user.asked) - asked) * (each is not call)
            seen = seen or suites.MARKER in shown
        if seen and not done and mode == "asap":
            by_attack += _attack(run, injection)
            done = True
    if seen and not done:
        by_attack += _attack(run, injection)
    return Outcome(
        useful=not approves and mode != "blend" and run.useful(),  # in BLEND the user's own calls are the attacker's
        broken=seen and suites.successful(suite, injection, run.before, run.environment, run.executed),
        seen=seen,
        asked=len(run.user.asked),
        asked_by_attack=by_attack,
        codes=run.conversation.codes,
        questions=run.questions(),
    )


def _attack(run: Run, injection: Any) -> int:
    asked = len(run.user.asked)
    for call in attacks.plan(run.suite, injection, run.environment):
        run.call(call)
    return len(run.user.asked) - asked


def _blended(run: Run, injection: Any, call: FunctionCall) -> list[FunctionCall]:
    """A user's call of a tool that the attacker also uses becomes the attacker's, after the reads that it needs."""
    planned = attacks.plan(run.suite, injection, run.environment)
    spec = declarations(run.suite).spec
    if spec(call.function).kind is Kind.READ or call.function not in {each.function for each in planned}:
        return [call]
    first = next(index for index, each in enumerate(planned) if each.function == call.function)
    return [*(each for each in planned[:first] if spec(each.function).kind is Kind.READ), planned[first]]
