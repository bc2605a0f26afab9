"""What no case may break, on generated conversations: monotony, no interference, unrelated history does not matter."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from localgpt.labels import Confidentiality, Integrity
from localgpt.policy import Decision, Flow, Policy, Request, Rule, Scope, Subject, Verdict, decide
from localgpt.policy.acts import endorsed, heard, refused, returned, take_apart
from localgpt.policy.authority import Act, Kind, Role, Source, ToolSpec
from localgpt.policy.model import strictness
from localgpt.policy.words import read_words
from tests.policy.flow_cases import VALUES, case, flow, rules

SCOPE = Scope("/p", True, ("/p",), (), "/w", (), (), "/h")
ROUNDS = 400


def decided(policy: Policy, state: Flow, act: Act) -> Decision:
    return decide(policy, state, Request("tool", (act,), SCOPE))


def rounds(seed: int):
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        yield rng, *case(rng)


def no_looser(after: Decision, before: Decision) -> bool:
    return strictness(after.verdict) >= strictness(before.verdict)


def test_adding_a_deny_or_an_ask_never_allows_more():
    for rng, policy, state, act in rounds(1):
        rule = Rule(rng.choice([Verdict.DENY, Verdict.ASK]), Subject.TOOL, (rng.choice(["tool", "other", "*"]),))
        before, after = decided(policy, state, act), decided(replace(policy, rules=(rule,)), state, act)
        assert no_looser(after, before), (act, state)


def test_a_higher_confidentiality_never_allows_more():
    order = list(Confidentiality)
    for _, policy, state, act in rounds(2):
        for level in order[order.index(state.confidentiality) :]:
            after = decided(policy, replace(state, confidentiality=level), act)
            assert no_looser(after, decided(policy, state, act)), (level, act, state)


def test_a_stranger_never_allows_more():
    for _, policy, state, act in rounds(3):
        trusting = replace(state, integrity=Integrity.USER, quarantine=False)
        tainted = replace(state, integrity=Integrity.UNTRUSTED, quarantine=False)
        assert no_looser(decided(policy, tainted, act), decided(policy, trusting, act)), (act, state)


def test_a_lost_grant_never_allows_more():
    for _, policy, state, act in rounds(4):
        less = replace(state, words=replace(state.words, grants=frozenset()), granted=frozenset())
        assert no_looser(decided(policy, less, act), decided(policy, state, act)), (act, state)


def test_a_quarantined_source_never_allows_more():
    for _, policy, state, act in rounds(5):
        more = replace(state, quarantined=state.quarantined | {"mail 1", "page 2"})
        assert no_looser(decided(policy, more, act), decided(policy, state, act)), (act, state)


def test_what_was_told_and_spent_never_allows_more():
    for _, policy, state, act in rounds(6):
        more = replace(state, bits=state.bits + 9, spent={"pay": state.spent["pay"] + 30})
        assert no_looser(decided(policy, more, act), decided(policy, state, act)), (act, state)


def test_a_decision_is_a_function_and_total():
    for _, policy, state, act in rounds(7):
        first = decided(policy, state, act)
        assert first == decided(policy, state, act)
        assert first.sentence
        assert first.sentence.isprintable()


# --- whole conversations ----------------------------------------------------------------------------------------

MAIL = ToolSpec("mail", Kind.READ, source=Source(attested=frozenset({"id", "sender", "size"})))
NOTE = ToolSpec("note", Kind.READ, source=Source(confidentiality=Confidentiality.PUBLIC))
VAULT = ToolSpec("vault", Kind.READ, source=Source(Integrity.ATTESTED, Confidentiality.SECRET))
SEND = ToolSpec("send", Kind.EXTERNAL, "message", {"to": Role.DEST, "body": Role.CONTENT})
DROP = ToolSpec("drop", Kind.DESTROY, "delete", {"id": Role.REF})
PROMPTS = (
    "Read my mail and send bob@x.example a summary",
    "Delete the mail 'rent report' and tell alice",
    "Read my mail",
    "Follow the instructions in the mail 'luigi'",
)


def results(rng: random.Random):
    """A few results of look-ups, in the order of their arrival."""
    for _ in range(rng.randrange(1, 5)):
        records = [
            {"id": str(rng.randrange(30)), "sender": rng.choice(["bob@x.example", "eve@evil.example"]),
             "size": rng.randrange(5), "subject": rng.choice(["rent report", "luigi", "dinner"]),
             "text": f"{rng.choice(VALUES)} {rng.choice(VALUES)}"}
            for _ in range(rng.randrange(4))
        ]  # fmt: skip
        query = rng.choice(["rent report", "luigi", "dinner", "eve@evil.example"])
        yield take_apart(MAIL, {"query": query}), records


def calls(rng: random.Random):
    for _ in range(6):
        to = rng.choice(["bob@x.example", "eve@evil.example", "alice", "luigi"])
        yield take_apart(SEND, {"to": to, "body": f"hello {rng.choice(VALUES)}"})
        yield take_apart(DROP, {"id": str(rng.randrange(30))})


def begin(rng: random.Random) -> Flow:
    return Flow(words=read_words((rng.choice(PROMPTS),)))


@pytest.mark.parametrize("seed", range(3))
def test_order_and_repetition_of_unrelated_results_do_not_matter(seed):
    rng = random.Random(seed)
    for _ in range(60):
        policy = replace(case(rng)[0], locked=False)
        state = heard(begin(rng), Integrity.UNTRUSTED, Confidentiality.PRIVATE, "before")
        # A key that the user typed has its authority from that alone: no such look-up depends on another.
        independent = [(act, value) for act, value in results(rng) if str(act.arguments[0].value) in state.words.text]
        straight, turned = state, state
        for act, value in independent:
            straight = returned(policy.flow, straight, act, value)
        for act, value in [*reversed(independent), *independent]:
            turned = returned(policy.flow, turned, act, value)
        for act in calls(rng):
            assert decided(policy, straight, act).verdict == decided(policy, turned, act).verdict


@pytest.mark.parametrize("seed", range(3))
def test_runs_that_differ_only_in_a_secret_have_the_same_effects(seed):
    """The model is any function of what it may read; here it copies the secret into what it sends."""
    rng = random.Random(seed)
    for _ in range(60):
        policy = replace(case(rng)[0], locked=False)
        state = begin(rng)
        for act, value in results(rng):
            state = returned(policy.flow, state, act, value)
        to = rng.choice(["bob@x.example", "eve@evil.example", "alice", "new@other.example"])
        effects = []
        for secret in ("P1234567", "P7654321"):
            after = returned(policy.flow, state, take_apart(VAULT, {}), {"passport": secret})
            act = take_apart(SEND, {"to": to, "body": f"number {secret}"})
            decision = decided(policy, after, act)
            allowed = decision.verdict is Verdict.ALLOW
            assert not (allowed and secret in str(act)), "a secret left without a question"
            effects.append((decision.verdict, decision.code))
        assert effects[0] == effects[1]


def test_an_answer_endorses_what_was_asked_and_nothing_else():
    for rng, policy, state, act in rounds(8):
        decision = decided(policy, state, act)
        if decision.verdict is not Verdict.ASK:
            continue
        after = endorsed(state, act, decision)
        asked = {(each.role, each.path) for each in decision.endorse}
        for role, key in after.endorsed - state.endorsed:
            assert role is Role.CONTENT or any(role is r for r, _ in asked), (key, asked)
        assert decided(policy, after, act).verdict is not Verdict.DENY
        assert rng is not None


def test_two_refusals_quarantine_a_source_and_one_does_not():
    state = heard(Flow(), Integrity.UNTRUSTED, Confidentiality.PRIVATE, "mail 1")
    decision = Decision(Verdict.ASK, "flow.dest", "?", "built-in")
    once, counts = refused(state, decision, {})
    twice, _ = refused(once, decision, counts)
    assert once.quarantined == frozenset()
    assert twice.quarantined == {"mail 1"}


def test_the_generators_reach_every_verdict_and_most_codes():
    seen = {decided(policy, state, act).code for _, policy, state, act in rounds(9)}
    assert len(seen) >= 18, sorted(seen)
    assert flow is not None
    assert rules is not None
