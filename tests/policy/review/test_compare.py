"""`policy diff`: what became more permissive is listed, and what is not listed was not loosened."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from localgpt.labels import Confidentiality
from localgpt.policy import Code, Policy, Verdict, builtin_policy, decide
from localgpt.policy.authority import FlowRules, Limit, Zone
from localgpt.policy.check import locked_policy
from localgpt.policy.model import strictness
from localgpt.policy.review import compare
from tests.policy.support import flows, policies, policy, requests, rule

PUSH = rule("deny", "argv", "git", "push")
NOTES = rule("allow", "write", "~/notes/**")


@given(policies, policies, flows, requests)
@settings(max_examples=300)
def test_what_is_not_listed_is_not_looser(old, new, flow, request):
    found = compare(old, new)
    before, after = decide(old, flow, request), decide(new, flow, request)
    if strictness(after.verdict) < strictness(before.verdict):
        assert found.looser
    if strictness(after.verdict) > strictness(before.verdict):
        assert found.stricter


@given(policies)
def test_a_policy_does_not_differ_from_itself(found):
    assert compare(found, found) == compare(found, replace(found, digest="other"))
    assert compare(found, found).looser == ()


def test_a_rule_that_is_gone_comes_with_an_example():
    (change,) = compare(policy(PUSH), policy()).looser
    assert change.what == "deny argv 'git', 'push' is gone"
    assert change.example == "run `git push`: deny (rule.deny) becomes allow (run.confined)"
    assert compare(policy(), policy(PUSH)).stricter[0].what == "deny argv 'git', 'push' is new"


def test_a_rule_that_a_wider_one_replaces_is_no_change():
    assert compare(policy(PUSH), policy(rule("deny", "argv", "git"))).looser == ()
    assert compare(policy(PUSH), policy(rule("ask", "argv", "git"))).looser


@pytest.mark.parametrize(
    ("old", "new", "looser"),
    [
        ((), (NOTES,), True),
        ((NOTES,), (), False),
        ((NOTES,), (rule("allow", "write", "~/notes/a"),), False),
        ((NOTES,), (rule("allow", "write", "~/**"),), True),
        ((NOTES,), (rule("allow", "write", "~/notes/**", tainted=True),), True),
        ((rule("deny", "read", "~/A"),), (rule("deny", "read", "~/a"),), False),
    ],
)
def test_allows(old, new, looser):
    assert bool(compare(policy(*old), policy(*new)).looser) is looser


def test_a_weaker_builtin_line_is_named():
    table = builtin_policy().table
    weaker = replace(
        builtin_policy(),
        table=replace(
            table,
            verdicts=tuple((c, Verdict.ALLOW if c is Code.READ_OUTSIDE else v) for c, v in table.verdicts),
            secret_names=(),
            not_secret_names=(*table.not_secret_names, ".env"),
        ),
    )
    said = [change.what for change in compare(builtin_policy(), weaker).looser]
    assert said[0] == "built in: read.outside was ask, and is allow"
    assert any("secret names no longer protects" in each for each in said)
    assert any("not secret names" in each and ".env" in each for each in said)
    assert compare(weaker, builtin_policy()).looser == ()


def test_a_lock_that_is_gone_is_looser():
    assert compare(locked_policy(), builtin_policy()).looser[0].what.startswith("everything but reading")
    assert compare(builtin_policy(), locked_policy()).looser == ()


FLOW = FlowRules(
    zone=Zone(("example.com",), frozenset({"ann"})),
    own=frozenset({"me@example.com"}),
    limits={"pay": Limit(50, 100)},
    clearances={"api.example.com": Confidentiality.PUBLIC},
    allowed_regions=frozenset({"eu"}),
)


def with_flow(**changes: Any) -> Policy:
    return replace(builtin_policy(), flow=replace(FLOW, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"zone": Zone(("example.com", "example.net"), frozenset({"ann"}))}, "the own zone also: example.net"),
        ({"zone": Zone(("example.com",), frozenset({"ann"}), Confidentiality.SECRET)}, "clearance is secret"),
        ({"own": frozenset({"me@example.com", "you@example.com"})}, "also: you@example.com"),
        ({"grants": frozenset({"pay"})}, "standing grants also: pay"),
        ({"limits": {"pay": Limit(50, 101)}}, "the limits of pay were 50 and 100 a day"),
        ({"limits": {"pay": Limit(50, 100), "order": Limit(1, 1)}}, "order may move 1 at once"),
        ({"clearances": {"api.example.com": Confidentiality.PRIVATE}}, "was public, and is private"),
        ({"clearances": {}}, "was public, and is the usual one"),
        ({"allowed_regions": frozenset()}, "any region is allowed"),
        ({"allowed_regions": frozenset({"eu", "us"})}, "allowed regions also: us"),
        ({"regions": {"api.example.com": "eu"}}, "is said to be in eu"),
        ({"bits_per_task": 17.0}, "may tell 17 bits, 16 before"),
    ],
)
def test_what_the_tables_about_flows_open(changes, said):
    (change,) = compare(with_flow(), with_flow(**changes)).looser
    assert change.what.startswith("flows: ")
    assert said in change.what
    assert compare(with_flow(), with_flow()).looser == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"zone": Zone((), frozenset({"ann"}))},
        {"own": frozenset()},
        {"limits": {}},
        {"limits": {"pay": Limit(10, 100)}},
        {"bits_per_task": 1.0, "bits_per_origin_and_day": 1.0},
    ],
)
def test_what_the_tables_about_flows_close(changes):
    found = compare(with_flow(), with_flow(**changes))
    assert found.looser == ()
    assert found.stricter
