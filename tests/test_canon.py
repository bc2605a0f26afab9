"""One value, one spelling."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt import canon

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-canon.MAX_INTEGER, canon.MAX_INTEGER)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_decode_undoes_encode(value):
    assert canon.decode(canon.encode(value)) == value


@given(st.binary(max_size=60))
def test_what_decodes_is_its_own_encoding(data: bytes):
    try:
        value = canon.decode(data)
    except canon.NotCanonical:
        return
    assert canon.encode(value) == data


@given(JSON)
def test_a_spelling_with_spaces_is_refused(value):
    loose = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(", ", ": ")).encode()
    if loose != canon.encode(value):
        with pytest.raises(canon.NotCanonical):
            canon.decode(loose)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}', b'{"a":1,"a":2}', b"NaN", b"1.0", b"-0", b"1e3", b'"\\u0041"', b'{"b":1,"a":2}',
        b"[1,]", b"\xff",
        b"",
        b"9007199254740992", b'{"\xc3\xa9":1}', b"[" * 100 + b"]" * 100, b"[" * 100_000, b'"\\ud800"',
    ],
)  # fmt: skip
def test_another_spelling_is_refused(data: bytes):
    with pytest.raises(canon.NotCanonical):
        canon.decode(data)


@pytest.mark.parametrize("value", [1.5, {"é": 1}, {1: 2}, 2**53, "\ud800", b"x", (1,), [[1.0]]])
def test_a_value_outside_the_subset_is_refused(value):
    with pytest.raises(canon.NotEncodable):
        canon.encode(value)
