"""The policies that a document may extend: each decides as its table of cases says, and none loosens the built-in."""

from __future__ import annotations

import pytest

from localgpt.policy import Policy, builtin_policy
from localgpt.policy.authority import Kind, Role
from localgpt.policy.builtin import shipped
from localgpt.policy.check import policy_of
from localgpt.policy.declarations import parse_declarations
from localgpt.policy.document import POLICY_NAMES, parse_document
from localgpt.policy.errors import BadDeclaration, BuiltinBroken
from localgpt.policy.extends import tightened
from localgpt.policy.model import strictness
from localgpt.policy.review.cases import parse_cases, run_cases


def extended(name: str) -> Policy:
    return policy_of(parse_document(f'```toml policy\nextends = "{name}"\n```\n'.encode()))


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_a_shipped_policy_decides_as_its_cases_say(name):
    cases = parse_cases(shipped(f"cases/{name}.toml"))
    assert len(cases) >= 8
    for outcome in run_cases((extended(name),), cases):
        assert outcome.passed, f"{outcome.case.name}: {outcome.sentence}"


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_no_shipped_policy_loosens_the_built_in_table(name):
    base, own = builtin_policy().table, extended(name).table
    assert all(strictness(own.verdict(code)) >= strictness(verdict) for code, verdict in base.verdicts)


def test_a_shipped_policy_that_loosened_would_be_refused(monkeypatch):
    loose = b'version = 1\nsummary = "x"\n[verdicts]\n"write.protected" = "allow"\n'
    monkeypatch.setattr("localgpt.policy.extends.shipped", lambda _name: loose)
    with pytest.raises(BuiltinBroken, match="only make stricter"):
        tightened(builtin_policy().table, "strict")


def test_own_tables_go_before_what_is_extended():
    own = '[limit.pay]\nper_call = 7\nper_day = 9\n[flow]\nown = ["Me@x.example"]'
    text = f'```toml policy\nextends = "assistant"\n{own}\n```\n'
    rules = policy_of(parse_document(text.encode())).flow
    assert (rules.limits["pay"].per_call, rules.limits["pay"].per_day) == (7, 9)
    assert rules.own == {"me@x.example"}
    assert rules.bits_per_task == 16


# --- declarations -----------------------------------------------------------------------------------------------


def test_a_declaration_says_what_a_tool_does():
    text = """
version = 1
[tool.send]
effect = "external"
grant = "message"
dest = ["to"]
ref = ["files.id"]
content = ["body"]
[source.read]
label = { integrity = "untrusted", confidentiality = "private" }
attested = ["id"]
[zone.own]
domains = ["Example.com"]
[[zone.own.lookup]]
tool = "read"
"""
    found = parse_declarations(text.encode())
    assert found.spec("send").kind is Kind.EXTERNAL
    assert found.spec("send").roles["files.id"] is Role.REF
    assert found.spec("read").kind is Kind.READ
    assert found.zone.domains == ("example.com",)
    assert found.lookups[0].tool == "read"
    assert not found.spec("nobody").declared
    assert found.spec("nobody").kind is Kind.EXTERNAL


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version = 2",
        "version = 1\n[tool.x]\n",
        "version = 1\n[tool.x]\neffect = 'external'\ndestt = ['a']",
        "version = 1\n[tool.x]\neffect = 'everything'",
        "version = 1\n[tool.x]\neffect = 'external'\ndest = ['a']\nref = ['a']",
        "version = 1\n[tool.x]\neffect = 'external'\ndest = 'a'",
        "version = 1\n[source.x]\nlabel = { integrity = 'user' }",
        "version = 1\n[source.x]\nlabel = { confidentiality = 'hidden' }",
        "version = 1\n[source.x]\nclock = 1",
        "version = 1\n[zone.own]\ndomains = ['com']",
        "version = 1\n[zone.other]\ndomains = ['x.com']",
        "version = 1\n[zone.own]\nlookup = 'x'",
        "version = 1\nnot toml",
    ],
)
def test_what_is_no_declaration(text):
    with pytest.raises(BadDeclaration):
        parse_declarations(text.encode())
