"""Random policies, flows and calls over a small world, so that values meet often. Seeded."""

from __future__ import annotations

import random
from dataclasses import replace
from types import MappingProxyType

from localgpt.labels import Confidentiality, Integrity
from localgpt.policy import Flow, Policy, builtin_policy
from localgpt.policy.authority import (
    Act,
    Argument,
    Authority,
    FlowRules,
    Kind,
    Limit,
    Mark,
    Role,
    ToolSpec,
    Zone,
)
from localgpt.policy.flow import DELEGATED, call_key
from localgpt.policy.record import Record
from localgpt.policy.values import fold, keys_of
from localgpt.policy.words import Words

VALUES = (
    "alice", "general", "message", "luigi", "dinner at luigi", "dinner", "bob@x.example", "eve@evil.example",
    "me@own.example", "13", "4711", "123456", "50", "99.5", 100, 7.5, 13, "2024-05-15", "2024-05-15 10:00",
    "2024-06-01 00:00", "www.a.example/x", "evil.example", "own.example/p", "", None, True, "rent report.txt", "report",
)  # fmt: skip
MORE = ("see www.a.example/x now", "write to eve@evil.example", "hello", "dinner at luigi at 8")
TEXTS = (*(value for value in VALUES if isinstance(value, str)), *MORE)
GRANTS = ("message", "pay", "calendar", "browse", "delete", "")
ORIGINS = ("", "mail 1", "page 2")
COMMON = frozenset({"message", "at", "the", "to", "see", "now", "write"})


KEYS = {value: keys_of(value) for value in VALUES}
ENDORSABLE = [(role, keys[0]) for keys in KEYS.values() if keys for role in Role]
QUOTABLE = [fold(value) for value in VALUES if isinstance(value, str) and value]


def some(rng: random.Random, pool: object, share: float = 0.3) -> list:  # type: ignore[type-arg]
    return [item for item in pool if rng.random() < share]  # type: ignore[attr-defined]


def words(rng: random.Random) -> Words:
    said = [str(value) for value in some(rng, VALUES) if value not in (None, True)]
    keys = [key for value in said for key in KEYS.get(value, ())]
    text = fold(" , ".join(said))
    return Words(
        text=text,
        quoted=frozenset(some(rng, QUOTABLE, 0.1)),
        grants=frozenset(some(rng, GRANTS[:-1], 0.4)),
        delegated=rng.random() < 0.2,
        clear=rng.random() < 0.8,
        addresses=frozenset(key for key in keys if key[0] in {"mail", "url"}),
        days=frozenset(some(rng, ((2024, 5, 15), (None, 6, 1)), 0.3)),
        clocks=frozenset(some(rng, ("10:00",), 0.5)),
        numbers=frozenset(key[1] for key in keys if key[0] == "number"),
        ids=frozenset(some(rng, ("13", "4711", "50"), 0.2)),
        tokens=frozenset(text.replace(",", " ").split()),
        common=COMMON,
        kinds=frozenset(some(rng, ("mail", "url"), 0.3)),
        links=rng.random() < 0.5,
    )


def record(rng: random.Random) -> Record:
    marks = {}
    for value in some(rng, VALUES, 0.6):
        keys = KEYS[value]
        for key in (*keys, *([("id", keys[-1][1])] if keys and rng.random() < 0.3 else [])):
            marks[key] = Mark(Authority(rng.randrange(1, 7)), rng.choice(ORIGINS))
    heard = [fold(text) for text in some(rng, TEXTS, 0.3)]
    return Record(
        marks=MappingProxyType(marks),
        pointed=tuple((text, rng.choice(ORIGINS)) for text in some(rng, heard, 0.3) if text),
        vocabulary=frozenset(word for text in heard for word in text.split()),
        urls=frozenset(some(rng, ("a.example/x", "evil.example"), 0.5)),
    )


def flow(rng: random.Random, act: Act) -> Flow:
    integrity = Integrity.UNTRUSTED if rng.random() < 0.8 else rng.choice([Integrity.USER, Integrity.INTERNAL])
    return Flow(
        integrity,
        rng.choice(list(Confidentiality)),
        words(rng),
        record(rng),
        unasked=rng.choice(list(Confidentiality)),
        readers=rng.choice([None, None, frozenset({"bob@x.example", "alice"})]),
        endorsed=frozenset(some(rng, ENDORSABLE, 0.03)) if rng.random() < 0.3 else frozenset(),
        granted=frozenset(some(rng, (("grant", "pay"), ("service", "engine"), DELEGATED), 0.1)),
        quarantined=frozenset(some(rng, ORIGINS[1:], 0.15)),
        quarantine=rng.random() < 0.1,
        stranger=rng.choice(ORIGINS),
        zone=Zone(("own.example",), frozenset({"general"})) if rng.random() < 0.4 else Zone(),
        spent=MappingProxyType({"pay": float(rng.choice([0, 40, 90]))}),
        done=frozenset([call_key(act)] if rng.random() < 0.2 else []),
        bits=rng.choice([0.0, 15.5]),
        bits_by_origin=MappingProxyType({"a.example": rng.choice([0.0, 63.9])}),
    )


def rules(rng: random.Random) -> FlowRules:
    return FlowRules(
        zone=Zone(("own.example",), frozenset({"luigi"}), rng.choice(list(Confidentiality)[:2])),
        own=frozenset({"me@own.example"}) if rng.random() < 0.5 else frozenset(),
        grants=frozenset(some(rng, ("calendar",), 0.2)),
        limits=MappingProxyType({"pay": Limit(50, 100)}) if rng.random() < 0.7 else MappingProxyType({}),
        clearances=MappingProxyType({"engine": rng.choice(list(Confidentiality))}) if rng.random() < 0.5 else {},
    )


def act(rng: random.Random) -> Act:
    kind = rng.choice([*Kind, Kind.EXTERNAL, Kind.EXTERNAL, Kind.LOCAL])
    declared = rng.random() < 0.95
    spec = ToolSpec("tool", kind, rng.choice(GRANTS), service=rng.choice(["", "engine"]), declared=declared)
    arguments = []
    for index in range(rng.randrange(0, 4)):
        role = rng.choice(list(Role))
        value = rng.choice(TEXTS if role is Role.CONTENT else VALUES)
        arguments.append(Argument(f"a{index}", role, value))
    return Act(spec, tuple(arguments))


def case(rng: random.Random) -> tuple[Policy, Flow, Act]:
    """One policy, flow and call."""
    made = act(rng)
    policy = replace(builtin_policy(), flow=rules(rng), locked=rng.random() < 0.02)
    return policy, flow(rng, made), made
