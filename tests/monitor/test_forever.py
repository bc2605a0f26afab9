"""The answer for ever: one line, shown first, signed, and in force from the next call on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.monitor.events import Answer, Choice, Notice
from localgpt.monitor.forever import grant_for
from localgpt.policy import (
    CallModel,
    Connect,
    Flow,
    Reach,
    ReadPath,
    Request,
    Run,
    UnknownTool,
    WritePath,
    builtin_policy,
    decide,
    parse_document,
)
from tests.monitor.desk import Desk, desk
from tests.policy.support import TAINTED, policy, request, rule


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Desk]:
    yield from desk(tmp_path)


def test_the_line_is_shown_then_signed_and_answers_the_next_question(opened: Desk):
    outside = opened.home / "notes.txt"
    outside.write_text("mine\n")
    opened.user.answers = [Answer(Choice.FOREVER)]
    assert "mine" in opened.call("read_file", path=str(outside)).text
    (question,) = opened.user.asked
    line = f'allow = [{{ read = ["{outside}"] }}]'
    assert question.grant == line
    document = opened.paths.policy_document.read_text()
    assert document.endswith(f"\n```toml policy\n{line}\n```\n")
    assert opened.guard.state == "valid"
    (signed,) = opened.entries("policy.signed")
    assert (signed["by"], signed["sequence"]) == ("grant", 2)
    assert opened.entries("approval")[0]["choice"] == "forever"
    assert not [event for event in opened.events if isinstance(event, Notice)]
    opened.call("read_file", path=str(outside))
    assert len(opened.user.asked) == 1
    wanted = Request("read_file", (ReadPath(str(outside)),), opened.confinement.scope)
    assert opened.guard.decide(Flow(), wanted).code == "rule.allow"


def test_an_answer_that_was_not_offered_is_a_denial(opened: Desk):
    opened.user.answers = [Answer(Choice.FOREVER)]
    opened.call("write_file", path=str(opened.project / "AGENTS.md"), content="x")
    (question,) = opened.user.asked
    assert question.grant == ""
    assert not (opened.project / "AGENTS.md").exists()
    assert len(parse_document(opened.paths.policy_document.read_bytes()).rules) == 0


def test_a_policy_that_somebody_changed_meanwhile_takes_no_grant(opened: Desk):
    outside = opened.home / "notes.txt"
    outside.write_text("mine\n")

    class Meddler:
        def ask(self, question):
            opened.paths.policy_document.write_bytes(b"Do what you are told.\n")
            return Answer(Choice.FOREVER)

    opened.mediator._approvals._approver = Meddler()
    assert "mine" in opened.call("read_file", path=str(outside)).text
    assert opened.paths.policy_document.read_bytes() == b"Do what you are told.\n"
    assert opened.entries("policy.signed") == []
    opened.call("list_files", path=".")
    assert any("the grant was not signed" in event.text for event in opened.events if isinstance(event, Notice))


GRANTS = [
    (ReadPath("/srv/x"), "allow read ('/srv/x',)"),
    (WritePath("/srv/x"), "allow write ('/srv/x',)"),
    (Connect("example.org", 443), "allow connect ('example.org:443',)"),
    (Connect("2606:4700::1111", 443), "allow connect ('[2606:4700::1111]:443',)"),
    (Connect("example.org"), "allow connect ('example.org',)"),
    (CallModel("openai", "api.example.org", Reach.HOSTED, confirmed=False), "allow model ('api.example.org',)"),
    (ReadPath("/srv/x*"), None),
    (ReadPath("/home/u/.ssh/id_rsa"), None),
    (WritePath("/home/u/ws/SOUL.md"), None),
    (WritePath("/home/u/p/AGENTS.md"), None),
    (Connect("10.0.0.1", 80), None),
    (Run(("make",)), None),
    (UnknownTool("mystery"), None),
]


@pytest.mark.parametrize(("effect", "expected"), GRANTS)
@pytest.mark.parametrize("flow", [Flow(), TAINTED])
def test_what_can_be_granted(effect, expected, flow):
    wanted = request(effect)
    found = grant_for([builtin_policy()], flow, wanted, decide(builtin_policy(), flow, wanted))
    assert (None if found is None else f"{found.verdict} {found.subject} {found.patterns}") == expected
    if found is not None:
        assert found.even_when_tainted is flow.tainted
        assert decide(policy(found), flow, wanted).code == "rule.allow"


def test_what_the_users_own_rule_asks_is_asked_each_time():
    wanted, asking = request(ReadPath("/srv/x")), policy(rule("ask", "read", "/srv/**"))
    assert grant_for([asking], Flow(), wanted, decide(asking, Flow(), wanted)) is None


def test_a_call_with_two_questions_has_no_single_answer():
    wanted = request(ReadPath("/srv/x"), WritePath("/srv/x"))
    assert grant_for([builtin_policy()], Flow(), wanted, decide(builtin_policy(), Flow(), wanted)) is None
