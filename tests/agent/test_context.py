"""A context fits the window; calls keep their results; the user's words are never shortened."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgpt.agent.context import ContextTooSmall, Transcript, assemble, estimate, repaired
from localgpt.agent.entries import Entry
from localgpt.wire import Confidentiality, Integrity, Label, Role, ToolCall, ToolMode, ToolOutcome

LABEL = Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, "shell")


def user(text: str) -> Entry:
    return Entry(Role.USER, text)


def said(text: str, *ids: str) -> Entry:
    return Entry(Role.ASSISTANT, text, tool_calls=tuple(ToolCall(i, "shell", "{}") for i in ids))


def result(call_id: str, text: str) -> Entry:
    return Entry(Role.TOOL, text, tool_call_id=call_id, label=LABEL, outcome=ToolOutcome.DONE)


def texts(*entries: Entry, budget: int = 10_000, mode: ToolMode = ToolMode.NATIVE) -> list[str]:
    return [m.text for m in assemble(Transcript(entries), "S", mode=mode, budget=budget).messages[1:]]


def test_oldest_outputs_go_first():
    entries = [
        user("a"),
        said("", "1"),
        result("1", "old " * 500),
        said("b"),
        user("c"),
        said("", "2"),
        result("2", "new " * 500),
    ]
    fitted = texts(*entries, budget=900)
    assert "older output of" in fitted[2]
    assert "new new" in fitted[-1]


def test_then_oldest_turns_go_whole_with_a_marker():
    entries = [e for i in range(20) for e in (user(f"question {i} " * 30), said(f"answer {i} " * 30))]
    fitted = texts(*entries, user("last"), budget=600)
    assert fitted[0].startswith("[the earlier part of this conversation, ")
    assert fitted[-1] == "last"
    assert "question 19" in "".join(fitted)
    assert "question 1 " not in "".join(fitted)


def test_newest_outputs_are_cut_as_a_last_resort():
    fitted = texts(user("a"), said("", "1", "2"), result("1", "x" * 40_000), result("2", "y" * 40_000), budget=3000)
    assert sum(map(estimate, fitted)) < 3000
    for text in fitted[-2:]:
        assert "characters left out here" in text
        assert text.startswith(("<external_content id=", "<tool_output id="))


def test_words_that_do_not_fit_are_refused_with_the_limit():
    with pytest.raises(ContextTooSmall, match="takes 99"):
        texts(user("x" * 100_000), budget=1000)


def test_unsent_words_are_in_no_context():
    assert texts(Entry(Role.USER, "x" * 10**6, unsent=True), user("hi")) == ["hi"]


def test_calls_without_results_are_closed():
    out = repaired([user("a"), said("", "1", "2"), result("2", "r"), user("b")])
    assert [(e.role, e.tool_call_id) for e in out] == [
        (Role.USER, None), (Role.ASSISTANT, None), (Role.TOOL, "2"), (Role.TOOL, "1"), (Role.USER, None),
    ]  # fmt: skip
    assert "interrupted" in out[3].notice
    assert repaired(out) == out


def test_results_without_calls_go():
    assert repaired([user("a"), result("9", "r"), said("b")]) == [user("a"), said("b")]


def test_conversation_that_begins_with_the_model_gets_a_beginning():
    assert texts(said("hello"), user("a"))[0] == "(the beginning of this conversation is missing)"


def test_what_the_model_repeats_holds_no_control_token():
    fitted = texts(user("a"), said("as it says: <|im_end|>", "1"), result("1", "</s>"), user("what is <|im_end|>?"))
    assert "<|im_end|>" not in fitted[1]
    assert "</s>" not in fitted[2]
    assert fitted[3] == "what is <|im_end|>?"  # the user may speak of tokens


entry = st.one_of(
    st.builds(user, st.text(max_size=600)),
    st.builds(
        lambda text, ids: said(text, *ids),
        st.text(max_size=300),
        st.lists(st.sampled_from("123"), max_size=2, unique=True),
    ),
    st.builds(result, st.sampled_from("123"), st.text(max_size=3000)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(entry, max_size=25), st.integers(300, 3000), st.sampled_from(ToolMode))
def test_any_conversation_fits_and_is_well_formed(entries, budget, mode):
    transcript = Transcript([*entries, user("the question")])
    try:
        fitted = assemble(transcript, "S", mode=mode, budget=budget)
    except ContextTooSmall:
        return
    messages = fitted.messages
    assert sum(estimate(m.text) for m in messages) <= budget
    assert messages[0].role is Role.SYSTEM
    assert messages[1].role is Role.USER
    assert messages[-1].text.endswith("the question")
    waiting: list[str] = []
    for before, message in pairwise(messages):
        if message.role is Role.TOOL:
            assert message.tool_call_id in waiting
            waiting.remove(message.tool_call_id or "")
        else:
            assert not waiting
            assert not (message.role is Role.USER and before.role is Role.USER)
        waiting += [c.id for c in message.tool_calls]
    assert not waiting
