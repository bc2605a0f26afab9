"""T-flow: adaptive attacks by a fully hijacked model, each played through the real monitor."""

from __future__ import annotations

import pytest
from bench._house import House
from bench.adaptive.cases import POLICY, cases, frozen, play
from tests.monitor.desk import Desk

from localgpt.labels import Confidentiality, Integrity
from localgpt.monitor.origins import Origins
from localgpt.policy import CallModel, Flow, Reach, Request, Scope, Verdict, builtin_policy, decide
from localgpt.policy.check import policy_of
from localgpt.policy.document import parse_document
from localgpt.wire import Attachment, Label, ToolOutcome


@pytest.fixture(scope="module")
def house():
    with House(POLICY) as opened:
        yield opened


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.id} {case.threat}"[:60])
def test_a_hijacked_model_does_no_harm(house, case):
    outcome = play(house, case)
    assert not outcome.broken, outcome.codes
    assert not outcome.missed, outcome.codes


def test_the_frozen_half_is_what_it_was():
    assert frozen()
    assert len(list(cases())) >= 120


def test_a_fail_over_to_a_hosted_model_does_not_take_a_secret_along():
    scope = Scope("/p", True, ("/p",), (), "/w", (), (), "/h")
    secret = Flow(Integrity.UNTRUSTED, Confidentiality.SECRET)
    for confirmed in (True, False):
        call = CallModel("other", "api.other.example", Reach.HOSTED, confirmed)
        assert decide(builtin_policy(), secret, Request("model", (call,), scope)).verdict is Verdict.DENY
    local = CallModel("own", "127.0.0.1", Reach.LOOPBACK, True)
    assert decide(builtin_policy(), secret, Request("model", (local,), scope)).verdict is Verdict.ALLOW


def test_a_provider_has_a_clearance_and_a_region():
    scope = Scope("/p", True, ("/p",), (), "/w", (), (), "/h")
    private = Flow(Integrity.USER, Confidentiality.PRIVATE)
    text = '[clearance]\n"api.x.example" = "public"\n[flow]\nregions = ["eu"]\n[region]\n"api.y.example" = "eu"'
    policy = policy_of(parse_document(f"```toml policy\n{text}\n```\n".encode()))

    def verdict(host: str) -> Verdict:
        call = CallModel("any", host, Reach.HOSTED, True)
        return decide(policy, private, Request("model", (call,), scope)).verdict

    assert verdict("api.x.example") is Verdict.DENY  # not cleared for private data
    assert verdict("api.y.example") is Verdict.ALLOW  # no clearance named, and in the region
    assert verdict("api.z.example") is Verdict.DENY  # nobody said where it is


def test_what_stands_beside_the_words_is_a_strangers(tmp_path):
    """Standard input, a paste, a file: it taints, and its addresses have no authority."""
    desk = Desk(tmp_path)
    try:
        paste = Attachment("standard input", "x", Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, "standard input"))
        list(desk.mediator.begin_turn("t", "Summarise this and send it to me", (paste,)))
        assert desk.mediator.flow.tainted
        assert desk.mediator.flow.stranger == "standard input"
        assert not desk.mediator.flow.words.addresses
    finally:
        desk.close()


def test_a_file_written_under_influence_taints_whoever_reads_it_later(tmp_path):
    origins = Origins(tmp_path / "labels.json")
    tainted = Flow(Integrity.UNTRUSTED, Confidentiality.PRIVATE, stranger="mail 7")
    assert "mail 7" in origins.wrote("/p/notes.txt", tainted)
    again = Origins(tmp_path / "labels.json")
    for path in ("/p/notes.txt", "/p"):
        label = again.influence(path)
        assert label is not None
        assert (label.integrity, label.origin) == (Integrity.UNTRUSTED, "mail 7")
    assert again.influence("/p/other.txt") is None
    assert again.wrote("/p/notes.txt", Flow()) == ""
    assert Origins(tmp_path / "labels.json").influence("/p/notes.txt") is None


def test_a_damaged_record_of_labels_loosens_nothing(tmp_path):
    (tmp_path / "labels.json").write_bytes(b'{"version": 1, "files": {"/p/x": {}}}')
    label = Origins(tmp_path / "labels.json").influence("/p/any.txt")
    assert label is not None
    assert label.integrity is Integrity.UNTRUSTED


def test_an_existing_file_is_not_changed_after_taint_without_a_question(tmp_path):
    desk = Desk(tmp_path)
    try:
        (desk.project / "own.txt").write_text("mine")
        paste = Attachment("paste", "x", Label(Integrity.UNTRUSTED, Confidentiality.PUBLIC, "paste"))
        list(desk.mediator.begin_turn("t", "words", (paste,)))
        assert desk.call("write_file", path="own.txt", content="theirs").outcome is ToolOutcome.DENIED
        assert desk.user.asked[-1].code == "write.tainted"
        assert desk.call("write_file", path="new.txt", content="a").outcome is ToolOutcome.DONE
        assert desk.call("write_file", path="new.txt", content="b").outcome is ToolOutcome.DONE
    finally:
        desk.close()
