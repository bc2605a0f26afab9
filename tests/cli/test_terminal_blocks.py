"""Markdown is cut into blocks at the same places however it arrives, and nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.cli.terminal.blocks import MAX_BLOCK_CHARS, MAX_FENCE_LINES, Block, BlockSplitter, Kind


def split(text: str, step: int = 10**9) -> list[Block]:
    splitter = BlockSplitter()
    done: list[Block] = []
    for at in range(0, len(text), step):
        done += splitter.feed(text[at : at + step])
    return done + splitter.finish()


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("one\n\ntwo", ["one", "two"]),
        ("one\nstill one\n\n\n\ntwo\n", ["one\nstill one", "two"]),
        ("# head\ntext", ["# head", "text"]),
        ("a\n# head\nb", ["a", "# head", "b"]),
        ("```py\nx\n\ny\n```\nafter", ["```py\nx\n\ny\n```", "after"]),
        ("text\n```\ncode\n```", ["text", "```\ncode\n```"]),
        ("~~~\n```\n~~~", ["~~~\n```\n~~~"]),
        ("````\n```\n````\nx", ["````\n```\n````", "x"]),
        ("- a\n- b\n\n- c\n\nend", ["- a\n- b\n\n- c", "end"]),
        ("1. a\n\n   more of a\n2. b\n\nend", ["1. a\n\n   more of a\n2. b", "end"]),
        ("words\n- a\n- b", ["words", "- a\n- b"]),
        ("in 1986\n1986. was a year", ["in 1986\n1986. was a year"]),
        ("| a |\n|---|\n| 1 |\n\nx", ["| a |\n|---|\n| 1 |", "x"]),
        ("open\n```\nnever closed", ["open", "```\nnever closed"]),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 7, 10**9])
def test_boundaries(text: str, sources: list[str], step: int) -> None:
    assert [block.source for block in split(text, step)] == sources


@given(st.text(st.sampled_from("ab \n-`~#1.|*"), max_size=120), st.integers(1, 9))
def test_pieces_do_not_matter_and_nothing_is_lost(text: str, step: int) -> None:
    blocks = split(text, step)
    assert blocks == split(text)
    assert [line for line in text.split("\n") if line.strip()] == [
        line for block in blocks for line in block.source.split("\n") if line.strip()
    ]


def test_the_tail_is_what_still_grows() -> None:
    splitter = BlockSplitter()
    assert splitter.tail is None
    splitter.feed("done\n\ngrow")
    assert splitter.tail == Block(Kind.TEXT, "grow")


def test_a_long_fence_is_cut_between_lines() -> None:
    code = "".join(f"line {n}\n" for n in range(300))
    blocks = split(f"```python\n{code}```\n")
    assert len(blocks) > 2
    assert all(block.kind is Kind.FENCE and block.source.startswith("```python\n") for block in blocks)
    assert all(block.source.count("\n") <= MAX_FENCE_LINES + 1 for block in blocks)
    assert "".join(f"{line}\n" for block in blocks for line in block.source.split("\n")[1:-1]) == code
    assert [block.joined for block in blocks] == [False] + [True] * (len(blocks) - 1)


def test_a_line_without_end_becomes_raw_text() -> None:
    text = "x" * (3 * MAX_BLOCK_CHARS)
    blocks = split(text, 1000)
    assert "".join(block.source for block in blocks) == text
    assert blocks[0].kind is Kind.RAW
