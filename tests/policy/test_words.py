"""What is read from the user's words, and that reading them is bounded."""

import time

import pytest

from localgpt.policy.words import read_words

PIECES = ["word ", "please send the report to all of them ", "1 2 3 ", "a@b.c ", "请把报告发给大家", "\" ' "]


@pytest.mark.parametrize("piece", PIECES)
def test_a_turn_of_one_megabyte_is_read_in_a_moment(piece):
    """Only what somebody may have typed is read; a value far into a paste has no authority."""
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    words = read_words((f"{text} mail.me@far.example",))
    assert time.process_time() - started < 5
    assert not any("far.example" in address for _, address in words.addresses)


def test_a_value_that_was_typed_has_authority():
    assert any("far.example" in address for _, address in read_words(("write to mail.me@far.example",)).addresses)
