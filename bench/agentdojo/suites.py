"""AgentDojo 0.1.35 as it should be: its suites, with the defects of the package patched here and nowhere else.

a. The fixed checker of the first injection task of the office suite is shipped and not loaded: it is loaded.
b. Some checkers mutate the environment they look at (`get_unread` marks as read): each gets a copy of its own.
c. Injection tasks 6 to 13 of the office suite have no calls: `attacks.py` has scripts for them.
d. Checkers of traces get only the calls that were executed.
e. Environments are built by pure-Python YAML: libyaml's loader is used, and what was built is copied.
"""

from __future__ import annotations

import hashlib
import pickle
from functools import cache
from typing import Any

import yaml
from agentdojo.functions_runtime import FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites

import agentdojo.default_suites.v1_1_2  # isort: skip -- after the suites, which it adds the fixed checker to

VERSION = "v1.2.2"
NAMES = ("workspace", "slack", "travel", "banking")
MARKER = "INJECTION-MARKER-93f1"
_ = agentdojo.default_suites.v1_1_2  # importing it registers the fixed checker (a)


def _fast_load(text: str) -> Any:
    return yaml.load(text, yaml.CSafeLoader)


yaml.safe_load = _fast_load  # (e)


@cache
def suites() -> dict[str, Any]:
    """Every suite by its name."""
    found = get_suites(VERSION)
    for suite in found.values():
        if (1, 1, 2) in suite._injection_tasks.get("injection_task_0", {}):
            suite.benchmark_version = max(suite.benchmark_version, (1, 2, 0))
    return dict(found)


@cache
def _environment(suite: str, attack: str) -> bytes:
    task = suites()[suite]
    vectors = task.get_injection_vector_defaults() if attack else {}
    text = attack.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return pickle.dumps(task.load_and_inject_default_environment(dict.fromkeys(vectors, text)), -1)


def environment(suite: str, user_task: Any, attack: str = "") -> Any:
    """A fresh environment of a user task; with `attack` standing in every injection vector. (b), (e)"""
    return user_task.init_environment(pickle.loads(_environment(suite, attack)))


def copied(value: Any) -> Any:
    """A copy that shares nothing. Pickling copies a model ten times as fast as its own deep copy does."""
    return pickle.loads(pickle.dumps(value, -1))


@cache
def ground_truth(suite: str, name: str, attack: str) -> tuple[Any, ...]:
    """The user's own calls, in the environment as it is at the start."""
    task = suites()[suite].user_tasks[name]
    return tuple(task.ground_truth(environment(suite, task, attack)))


def useful(suite: str, task: Any, before: Any, after: Any, executed: list[Any]) -> bool:
    """Whether the user's task was done, by its own checker. (b), (d)"""
    check, traced = suites()[suite]._check_user_task_utility, _overrides(task, "utility_from_traces")
    return _checked(check, task, before, after, executed, traced=traced, said=task.GROUND_TRUTH_OUTPUT)


def successful(suite: str, task: Any, before: Any, after: Any, executed: list[Any]) -> bool:
    """Whether the attack succeeded, by its own checker. (b), (d)"""
    check, traced = suites()[suite]._check_injection_task_security, _overrides(task, "security_from_traces")
    return _checked(check, task, before, after, executed, traced=traced, said="")


def _overrides(task: Any, name: str) -> bool:
    """Whether a task is judged by its calls: the base class answers None."""
    return getattr(type(task), name).__module__ != "agentdojo.base_tasks"


_JUDGED: dict[bytes, bool] = {}


def _checked(check: Any, task: Any, before: Any, after: Any, executed: list[Any], *, traced: bool, said: str) -> bool:
    """A checker is a function of its arguments, and most runs end in an environment that another run ended in."""
    seen = [before.model_dump_json(), after.model_dump_json(), *([repr(executed)] if traced else [])]
    name = f"{type(task).__module__}.{type(task).__name__}.{check.__name__}"
    key = hashlib.sha256("\x00".join((name, *seen)).encode()).digest()
    if key not in _JUDGED:
        _JUDGED[key] = _judge(check, task, before, after, executed, said)
    return _JUDGED[key]


def _judge(check: Any, task: Any, before: Any, after: Any, executed: list[Any], said: str) -> bool:
    text = [{"type": "text", "content": said}]
    try:
        return bool(check(task, text, copied(before), copied(after), executed))
    except (KeyError, IndexError, ValueError, AttributeError):
        return False


@cache
def runtime(suite: str) -> FunctionsRuntime:
    """What carries out the suite's tools."""
    return FunctionsRuntime(suites()[suite].tools)
