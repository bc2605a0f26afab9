"""However a model's JSON is cut into pieces, the user sees exactly the answer's words."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from localgpt.agent.schema_mode import Answer, AnswerStream, Broken, Call, answer_text, read_step


def streamed(text: str, sizes: list[int]) -> str:
    stream, out, at = AnswerStream(), [], 0
    for size in [*sizes, len(text)]:
        out.append(stream.feed(text[at : at + size]))
        at += size
    return "".join(out)


cuts = st.lists(st.integers(1, 9), max_size=40)


@given(st.text(), cuts, st.booleans(), st.sampled_from(["", " ", "\n  "]))
@example("😀", [1] * 60, True, "")
@example('"\\/\b\f\n\r\t', [1] * 60, False, " ")
def test_streamed_answer_is_the_answer(text, sizes, ascii_only, space):
    separators = ("," + space, ":" + space)
    raw = json.dumps({"tool": "answer", "args": {"text": text}}, ensure_ascii=ascii_only, separators=separators)
    step = read_step(raw)
    assert isinstance(step, Answer)
    assert step.text == text
    assert streamed(raw, sizes) == text


@given(st.text(alphabet='{}"\\u dD83tolanswergx:,', max_size=80), cuts)
@example('{"tool":"answer","args":{"text":"\\ud83d"}}', [1] * 60)
@example('{"tool":"answer","args":{"text":"\\ud83d\\ud83d\\ude00"}}', [1] * 60)
@example('{"tool":"answer","args":{"text":"\\uZZZZ"}}', [1] * 60)
def test_any_output_gives_the_same_words_in_pieces_and_whole(raw, sizes):
    assert streamed(raw, sizes) == streamed(raw, [])


@pytest.mark.parametrize(
    "raw",
    [
        '{"tool":"shell","args":{"command":"echo \\"answer\\""}}',
        '{"tool":"sh',
        '{"',
        '{"tool":"read_file","args":{"text":"x"}}',
    ],
)
def test_json_is_never_shown(raw):
    assert streamed(raw, [1] * len(raw)) == ""


def test_steps():
    assert read_step('{"tool":"shell","args":{"command":"ls"}}') == Call("shell", '{"command": "ls"}')
    assert read_step('{"tool":"shell"}') == Call("shell", "{}")
    assert read_step(answer_text("hi")) == Answer("hi")
    assert read_step("just words") == Answer("just words")
    assert read_step('{"tool":"answer","args":{"text":"cut in the mid') == Answer("cut in the mid", whole=False)
    assert read_step('{"tool":"shell","args":{"comm') == Broken()
    assert read_step('{"tool":"answer","args":{}}') == Broken()
    assert read_step('{"a": 1}') == Answer('{"a": 1}')
    assert read_step("{" * 100_000) == Broken()


def test_plain_words_are_streamed_as_they_come():
    stream = AnswerStream()
    assert [stream.feed(p) for p in (" ", "Hello", " you")] == ["", " Hello", " you"]


def test_long_answer_costs_linear_time():
    raw = answer_text('a"\\' * 200_000)
    assert streamed(raw, [4] * (len(raw) // 4)) == 'a"\\' * 200_000
