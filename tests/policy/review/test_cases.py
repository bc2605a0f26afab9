"""Tables of cases: the shipped one passes, wrong expectations fail with a sentence, malformed ones are refused."""

import pytest

from localgpt.policy import builtin_policy
from localgpt.policy.builtin import shipped
from localgpt.policy.errors import CasesMalformed
from localgpt.policy.review import parse_cases, run_cases, run_table
from tests.policy.support import policy, rule

SHIPPED = parse_cases(shipped("cases/builtin.toml"))


def table(text: str) -> bytes:
    return f"version = 1\n{text}\n".encode()


def test_the_shipped_table_passes():
    outcomes = run_cases([builtin_policy()], SHIPPED)
    assert [outcome.sentence for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) > 90
    assert all(case.expected.line for case in SHIPPED)


def test_a_failing_case_says_what_was_expected_and_why_not():
    cases = parse_cases(table('[[case]]\nrun = ["git", "push"]\nverdict = "allow"\ntainted = true'))
    (outcome,) = run_cases([policy(rule("deny", "argv", "git", "push"))], cases)
    assert not outcome.passed
    assert outcome.sentence.startswith("expected allow, and deny argv (line 7) gives deny rule.deny: Your policy")
    assert (outcome.case.name, outcome.case.line) == ("run git push (tainted)", 2)


def test_the_meet_of_policies_decides():
    cases = parse_cases(table('case = [\n  { write = "/srv/x", code = "rule.deny", name = "srv" },\n]'))
    (outcome,) = run_cases([builtin_policy(), policy(rule("deny", "write", "/srv"))], cases)
    assert outcome.passed
    assert (outcome.case.name, outcome.case.line) == ("srv", 3)


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"version = 2\ncase = []",
        b"case = []",
        b"version = 1\ncases = []",
        b"version = 1\ncase = 1",
        b"version = 1\nsession = { home = 'x' }\ncase = []",
        b"version = 1\nsession = { hom = '/x' }\ncase = []",
        b"version = 1\ncase = [{ read = '/x' }]",
        b"version = 1\ncase = [{ verdict = 'deny' }]",
        b"version = 1\ncase = [{ read = '/x', write = '/x', verdict = 'deny' }]",
        b"version = 1\ncase = [{ read = '/x', verdict = 'no' }]",
        b"version = 1\ncase = [{ read = '/x', code = 'read.no' }]",
        b"version = 1\ncase = [{ read = 1, verdict = 'deny' }]",
        b"version = 1\ncase = [{ run = [1], verdict = 'deny' }]",
        b"version = 1\ncase = [{ run = 'ls', verdict = 'deny' }]",
        b"version = 1\ncase = [{ connect = 'a', port = true, verdict = 'deny' }]",
        b"version = 1\ncase = [{ model = 'a', reach = 'far', verdict = 'deny' }]",
        b"version = 1\ncase = [{ read = '/x', taintd = true, verdict = 'deny' }]",
        b"#" * 1_100_000,
    ],
)
def test_what_is_no_table(text):
    with pytest.raises(CasesMalformed):
        parse_cases(text)


def test_a_table_of_conversations_is_run_as_well():
    outcomes = run_table([builtin_policy()], shipped("cases/flow.toml"))
    assert [outcome.sentence for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) > 20
    assert all(outcome.case.line for outcome in outcomes)
    with pytest.raises(CasesMalformed):
        run_table([builtin_policy()], b"version = 1\n[[case]]\ncall = 1\n")
    with pytest.raises(CasesMalformed):
        run_table([builtin_policy()], b"\xff")
