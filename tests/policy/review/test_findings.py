"""`policy check`: each finding is provoked, and honest policies have none."""

import time

import pytest

from localgpt.policy import parse_document, starter_document
from localgpt.policy.check import policy_of
from localgpt.policy.review import CODES, Severity, compare, review

TOOLS = ("shell", "read_file", "write_file")


def found(text: str, **more):
    document = parse_document(f"# Rules\n\n```toml policy\n{text}\n```\n".encode())
    return [(finding.code, finding.line) for finding in review(document, tools=TOOLS, **more)]


PROVOKED = [
    ('[[deny]]\nread = ["~/a/**"]\n[[deny]]\nread = ["~/a/b"]', [("check.shadowed", 6)]),
    ('[[ask]]\nwrite = ["docs/x"]\n[[deny]]\nwrite = ["docs"]', [("check.shadowed", 4)]),
    ('[[deny]]\nargv = ["git"]\n[[deny]]\nargv = ["git", "push"]', [("check.shadowed", 6)]),
    ('[[deny]]\ntool = ["shell"]\n[[allow]]\ntool = ["shell"]', [("check.shadowed", 6)]),
    ('[[ask]]\ntool = ["shel"]', [("check.unknown-tool", 4)]),
    ('[[allow]]\nread = ["~/.ssh/**"]', [("check.unreachable-grant", 4)]),
    ('[[allow]]\nread = ["src/**"]', [("check.unreachable-grant", 4)]),
    ('[[allow]]\nargv = ["make"]', [("check.unreachable-grant", 4)]),
    ('[[allow]]\nconnect = ["169.254.169.254"]', [("check.unreachable-grant", 4)]),
    ('[[allow]]\nwrite = ["/**"]', [("check.too-wide", 4)]),
    ('[[allow]]\nwrite = ["~/**"]', [("check.too-wide", 4)]),
    ('[[allow]]\nconnect = ["*"]', [("check.too-wide", 4)]),
    ('[[allow]]\nconnect = ["*.com"]', [("check.too-wide", 4)]),
    ('[[allow]]\nconnect = ["*.example.com"]\neven_when_tainted = true', [("check.too-wide", 4)]),
    ('[[allow]]\ntool = ["*"]', [("check.too-wide", 4)]),
    ('[zone.own]\ndomains = ["gmail.com"]', [("check.too-wide", 0)]),
    ('[zone.own]\ndomains = ["co.uk"]', [("check.too-wide", 0)]),
    ('[zone.own]\nclearance = "secret"', [("check.too-wide", 0)]),
    ('[clearance]\n"api.example.com" = "secret"', [("check.too-wide", 0)]),
    ("[flow]\nbits_per_task = 10000", [("check.too-wide", 0)]),
    ("[limit.pay]\nper_call = 100\nper_day = 50", [("check.unreachable-grant", 0)]),
    ('[flow]\ngrants = ["calender"]', [("check.unreachable-grant", 0)]),
]


@pytest.mark.parametrize(("text", "expected"), PROVOKED)
def test_each_finding(text, expected):
    assert found(text) == expected


HONEST = [
    '[zone.own]\ndomains = ["example.com"]\nmembers = ["Ann"]\n[limit.pay]\nper_call = 50\nper_day = 100',
    '[flow]\nown = ["me@example.com"]\ngrants = ["calendar"]\n[clearance]\n"api.example.com" = "private"',
    '[[deny]]\nargv = ["git", "push"]\n[[deny]]\nargv = ["git", "reset", "--hard"]',
    '[[deny]]\nread = ["**/customers/**"]\n[[ask]]\nwrite = ["migrations/**", "**/*.lock"]',
    '[[allow]]\nwrite = ["/home/me/notes/**"]\neven_when_tainted = true',
    '[[allow]]\nconnect = ["example.com:443", "*.example.com"]',
    '[[allow]]\nread = ["~/documents/**"]\n[[deny]]\nread = ["~/documents/private/**"]',
    '[[allow]]\nmodel = ["openai"]',
    '[[ask]]\ntool = ["shell"]',
    '[[deny]]\ntool = ["*_file"]',
]


@pytest.mark.parametrize("text", HONEST)
def test_an_honest_policy_has_no_finding(text):
    assert found(text) == []


def test_the_starter_has_no_finding():
    assert review(parse_document(starter_document()), tools=TOOLS) == ()


def test_rules_without_a_case_are_named_when_there_is_a_table():
    text = '[[deny]]\nargv = ["rm"]\n[[deny]]\nargv = ["git"]'
    assert found(text, exercised=frozenset({4})) == [("check.missing-case", 6)]
    assert found(text) == []


def test_a_wide_exit_after_taint_is_an_error():
    document = parse_document(b'```toml policy\n[[allow]]\nconnect = ["*"]\neven_when_tainted = true\n```\n')
    (finding,) = review(document, tools=TOOLS)
    assert finding.severity is Severity.ERROR


def test_every_code_is_provoked():
    assert {code for _, codes in PROVOKED for code, _ in codes} | {"check.missing-case", "check.too-many"} == set(CODES)


def test_a_near_miss_is_suggested():
    document = parse_document(b'```toml policy\n[[ask]]\ntool = ["read_fil"]\n```\n')
    (finding,) = review(document, tools=TOOLS)
    assert finding.cure == "did you mean 'read_file'?"


MANY = {
    "one each": ("[[deny]]\nread = ['a/{}/*']\n", 2000),
    "wild": ("[[deny]]\nread = ['**/*{}*/**/x']\n", 1500),
    "argv": ("[[deny]]\nargv = ['git', '{}']\n", 1500),
    "allows": ("[[allow]]\nwrite = ['/srv/**/{}/**/*x*']\n", 400),
}


@pytest.mark.parametrize("name", MANY)
def test_no_document_holds_a_ci_job_for_long(name):
    line, count = MANY[name]
    lines = [line.format(number) for number in range(count)]
    blocks = ["```toml policy\n" + "".join(lines[at : at + 400]) + "```\n" for at in range(0, count, 400)]
    document = parse_document("".join(blocks).encode())
    assert len(document.rules) == count
    start = time.process_time()
    found = review(document, tools=TOOLS)
    assert time.process_time() - start < 20
    assert ("check.too-many" in {finding.code for finding in found}) is (name != "wild")
    start = time.process_time()
    old = policy_of(parse_document(b"# none\n"))
    assert bool(compare(policy_of(document), old).looser) is (name != "allows")
    assert time.process_time() - start < 20
