"""Explanations name what decided, and what else spoke."""

from hypothesis import given, settings

from localgpt.policy import Connect, Flow, Run, WritePath, builtin_policy, decide_all
from localgpt.policy.commands import Match
from localgpt.policy.review import explain
from tests.policy.support import TAINTED, flows, policies, policy, request, requests, rule


@given(policies, flows, requests)
@settings(max_examples=200)
def test_the_decision_is_the_engines_own(found, flow, wanted):
    told = explain([builtin_policy(), found], flow, wanted)
    assert told.decision == decide_all([builtin_policy(), found], flow, wanted)
    assert len(told.effects) == len(wanted.effects)


def test_what_spoke_and_what_counted():
    allow, ask = rule("allow", "connect", "example.org"), rule("ask", "connect", "*.net")
    told = explain([policy(allow, ask)], TAINTED, request(Connect("example.org", 443)))
    (effect,) = told.effects
    assert effect.builtin.code == "connect.host"
    assert [(spoke.rule, spoke.counts) for spoke in effect.rules] == [(allow, False)]
    assert explain([policy(allow)], Flow(), request(Connect("example.org"))).effects[0].rules[0].counts


def test_simple_commands_are_shown():
    push = rule("deny", "argv", "git", "push")
    told = explain([policy(push)], Flow(), request(Run(("sh", "-c", "make && git $x"))))
    assert told.effects[0].commands is not None
    assert ("make",) in told.effects[0].commands
    assert told.effects[0].rules[0].match is Match.MAYBE
    assert explain([policy(push)], Flow(), request(Run(("sh", "-c", "case x")))).effects[0].commands is None
    assert explain([policy(push)], Flow(), request(WritePath("/x"))).effects[0].rules == ()
