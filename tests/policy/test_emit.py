"""Emitting: what is written reads back as what was meant, and a grant changes nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgpt.policy import parse_document, starter_document
from localgpt.policy.document import Document
from localgpt.policy.emit import emit_document, emit_grant, emit_rule, with_grant
from localgpt.policy.errors import DocumentError, GrantRefused
from localgpt.policy.model import Rule, Subject, Verdict
from tests.policy.support import rule, rules


def meaning(document: Document) -> tuple[str, str, tuple[Rule, ...]]:
    return document.prose, document.extends, tuple(replace(each, line=0) for each in document.rules)


_prose = st.text(alphabet='ab *`~#>-\n"\\é', max_size=60)
_reasons = st.text(alphabet="ab \"\\'é", max_size=12)


@given(_prose, st.lists(st.builds(lambda found, why: replace(found, reason=why), rules(), _reasons), max_size=6))
@settings(max_examples=400)
def test_what_is_emitted_reads_back(prose, found):
    try:
        data = emit_document(prose, found)
    except DocumentError:
        return
    document = parse_document(data)
    assert meaning(document) == (prose, "", tuple(replace(each, line=0) for each in found))
    assert emit_document(*meaning(document)[::2], extends=document.extends) == data


@given(st.lists(rules(), max_size=6))
@settings(max_examples=200)
def test_rules_without_prose_always_have_a_document(found):
    assert len(parse_document(emit_document("", found)).rules) == len(found)


FLOW = rb"""```toml policy
[[deny]]
argv = ["rm"]

[zone.own]
domains = ["Example.com"]
members = ["Ann \"A\" Lee", "Emile"]
clearance = "public"

[limit.pay]
per_call = 50
per_day = 1e3

[flow]
own = ["me@example.com"]
grants = ["calendar"]
bits_per_task = 0.5
regions = ["eu"]

[clearance]
"api.example.com" = "private"

[region]
"api.example.com" = "us"
```
"""


def test_tables_about_flows_read_back():
    document = parse_document(FLOW)
    assert document.flow is not None
    data = emit_document("", document.rules, flow=document.flow)
    again = parse_document(data)
    assert (again.flow, meaning(again)) == (document.flow, meaning(document))
    assert emit_document("", again.rules, flow=again.flow) == data
    assert parse_document(with_grant(FLOW, GRANT)).flow == document.flow


_lines = st.sampled_from(
    [
        "```toml policy",
        "```",
        "[[deny]]",
        'argv = ["rm"]',
        '  reason = "é\\"x"',
        "text",
        "",
        "~~~",
        "extends = 'strict'",
    ]
)


@given(st.lists(_lines, max_size=14).map("\n".join))
@settings(max_examples=300)
def test_emit_after_parse_means_the_same_or_is_an_error(text):
    try:
        document = parse_document(text.encode())
        again = parse_document(
            emit_document(document.prose, document.rules, extends=document.extends, flow=document.flow)
        )
    except DocumentError:
        return
    assert meaning(again) == meaning(document)


def test_a_rule_has_one_spelling():
    assert emit_rule(rule("allow", "connect", "a.org", "b.org:443", tainted=True)) == (
        '[[allow]]\nconnect = ["a.org", "b.org:443"]\neven_when_tainted = true\n'
    )


GRANT = Rule(Verdict.ALLOW, Subject.CONNECT, ("example.org:443",), "asked once")
LINE = 'allow = [{ connect = ["example.org:443"], reason = "asked once" }]'


def test_a_grant_is_one_line_and_nothing_else_changes():
    assert emit_grant(GRANT) == LINE
    for data in (starter_document(), b"# Rules", b"", b'```toml policy\n[[deny]]\nargv = ["rm"]\n```'):
        grown = with_grant(data, GRANT)
        assert grown.startswith(data)
        assert grown.endswith(f"\n```toml policy\n{LINE}\n```\n".encode())
        before, after = parse_document(data), parse_document(grown)
        assert after.prose == before.prose
        assert len(after.rules) == len(before.rules) + 1
    twice = with_grant(with_grant(b"", GRANT), replace(GRANT, patterns=("example.net",)))
    assert len(parse_document(twice).rules) == 2


@pytest.mark.parametrize(
    "bad",
    [
        rule("deny", "connect", "example.org"),
        rule("allow", "argv", "rm"),
        rule("allow", "connect", "*.example.org"),
        rule("allow", "write", "/a/*.txt"),
        rule("allow", "write", "/a/b?"),
        rule("allow", "read", "/a/[b]"),
        rule("allow", "read", "/a", "/b"),
        rule("allow", "read", "/a/../b"),
        rule("allow", "write", "/a\nb"),
        rule("allow", "write", '/a"]}]\n[[allow]]\nwrite=["/'),
        rule("allow", "connect", "127.1"),
    ],
)
def test_what_cannot_be_granted_exactly_is_refused(bad):
    with pytest.raises(GrantRefused):
        with_grant(starter_document(), bad)


def test_a_document_whose_end_is_an_open_fence_takes_no_grant():
    with pytest.raises(GrantRefused, match="one more block"):
        with_grant(b"```python\nx = 1\n", GRANT)


@given(st.text(max_size=30))
@settings(max_examples=400)
def test_no_path_smuggles_a_rule_in(path):
    found = rule("allow", "write", f"/{path}")
    try:
        grown = with_grant(starter_document(), found)
    except (GrantRefused, DocumentError):
        return
    (granted,) = parse_document(grown).rules
    assert granted.patterns == (f"/{path}",)
