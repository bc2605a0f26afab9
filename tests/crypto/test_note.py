"""Signed notes: the published examples, one spelling each, and nothing believed that no trusted key signed."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgpt.crypto.note import (
    Note,
    NoteError,
    NoteForged,
    NoteKey,
    NoteKeyMalformed,
    NoteMalformed,
    NoteNotSigned,
    NoteSecret,
    Signature,
    open_note,
    parse_note,
    sign_note,
)

# Source: golang.org/x/mod/sumdb/note, package example.
SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
SIGNED = TEXT + f"\n\u2014 PeterNeumann {SIGNATURE}\n".encode()

ANNA = NoteSecret("anna.example/policy", bytes(32))
OTHER = NoteSecret("other.example", b"\x01" * 32)
KEY = ANNA.public_key()


def test_the_published_example():
    assert str(NoteSecret.parse(SECRET).public_key()) == PUBLIC
    assert sign_note(TEXT, NoteSecret.parse(SECRET)) == SIGNED
    note, keys = open_note(SIGNED, [NoteKey.parse(PUBLIC)])
    assert (note.text, [str(key) for key in keys]) == (TEXT, [PUBLIC])


def test_the_specifications_example_is_well_formed():
    """Source: c2sp.org/signed-note. Its text holds an empty line."""
    data = (
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
        "— quasimodo.example/salvatore "
        "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    ).encode()
    note = parse_note(data)
    assert note.text.decode().count("\n") == 4
    assert (note.signatures[0].name, note.signatures[0].key_id.hex()) == ("quasimodo.example/salvatore", "367ba04b")
    assert note.encode() == data


def test_keys_have_one_spelling_and_come_back():
    assert NoteKey.parse(f"  {KEY}\n") == KEY
    assert NoteSecret.parse(ANNA.spell()).public_key() == KEY
    assert len(NoteSecret.generate("me").sign_raw(b"")) == 64


@pytest.mark.parametrize(
    "text",
    ["", "x", "a+b", PUBLIC[:-1], PUBLIC.replace("c74f20a3", "c74f20a4"), PUBLIC.replace("+AR", "+BR"),
     PUBLIC.replace("c74f20a3", "C74F20A3"), " x" + PUBLIC, PUBLIC.replace("Peter", "Peter "), PUBLIC + "=", SECRET],
)  # fmt: skip
def test_a_key_that_is_not_spelled_as_one(text):
    with pytest.raises(NoteKeyMalformed):
        NoteKey.parse(text)


@pytest.mark.parametrize("text", ["", PUBLIC, SECRET[:-2], SECRET.replace("c74f20a3", "c74f20a4")])
def test_no_error_repeats_a_private_key(text):
    with pytest.raises(NoteKeyMalformed) as caught:
        NoteSecret.parse(text)
    assert "AYEKFALV" not in str(caught.value)


def test_a_private_key_shows_itself_nowhere():
    assert "_seed" not in repr(ANNA)
    with pytest.raises(TypeError):
        pickle.dumps(ANNA)
    with pytest.raises(NoteKeyMalformed):
        NoteSecret("a b", bytes(32))
    with pytest.raises(NoteKeyMalformed):
        NoteSecret("a", bytes(31))


def test_lines_of_unknown_keys_are_ignored_even_when_name_or_id_is_known():
    note = sign_note(b"text\n", OTHER, ANNA)
    assert open_note(note, [KEY])[1] == (KEY,)
    assert open_note(note, [KEY, OTHER.public_key()])[1] == (KEY, OTHER.public_key())
    same_name = NoteSecret(KEY.name, b"\x02" * 32)
    with pytest.raises(NoteNotSigned):
        open_note(sign_note(b"text\n", OTHER, same_name), [KEY])
    strange = Note(b"text\n", (Signature("x", KEY.key_id, b"\x00" * 64), ANNA.sign(b"text\n")))
    assert open_note(strange.encode(), [KEY])[1] == (KEY,)


def test_one_bad_line_of_a_trusted_key_condemns_the_note():
    good = ANNA.sign(b"text\n")
    for blob in (bytes(64), good.blob[:-1], good.blob + b"\x00"):
        bad = Signature(good.name, good.key_id, blob)
        for lines in ((bad,), (good, bad), (bad, good)):
            with pytest.raises(NoteForged):
                open_note(Note(b"text\n", lines).encode(), [KEY])


def test_every_flipped_bit_of_a_note_is_noticed():
    good = sign_note(b"origin\n42\n", ANNA)
    for at in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[at // 8] ^= 1 << (at % 8)
        with pytest.raises(NoteError):
            open_note(bytes(flipped), [KEY])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"\n\n" + ANNA.sign(b"\n").line().encode() + b"\n",
        sign_note(b"text\n", ANNA)[:-1],
        sign_note(b"text\n", ANNA) + b"\n",
        sign_note(b"text\n", ANNA).replace(b"text", b"te\txt"),
        sign_note(b"text\n", ANNA).replace(b"text", b"te\rxt"),
        sign_note(b"text\n", ANNA).replace(b"text", b"\xff"),
        sign_note(b"text\n", ANNA).replace("\u2014".encode(), b"-"),
        b"text\n\n" + "\u2014 a b AAAAAAAA\n".encode(),
        b"text\n\n" + "\u2014 a+b AAAAAAAA\n".encode(),
        b"text\n\n" + "\u2014 a AAAA\n".encode(),
        b"text\n\n" + "\u2014 a AAAAAAB=\n".encode(),
        b"text\n\n" + "\u2014 a AAAAAAA\n".encode(),
        b"text\n\n" + "\u2014 a AAAAAAAA\n".encode() * 101,
        b"x" * 1_100_000,
    ],
)  # fmt: skip
def test_what_is_no_note(data):
    with pytest.raises(NoteMalformed):
        parse_note(data)


def test_sixteen_signatures_are_accepted():
    keys = [NoteSecret(f"k{number}", bytes([number]) * 32) for number in range(16)]
    note = sign_note(b"text\n", *keys)
    assert len(open_note(note, [key.public_key() for key in keys])[1]) == 16


@pytest.mark.parametrize("text", [b"", b"\n", b"no line feed", b"a\r\n", b"\xff\n"])
def test_a_text_that_no_note_may_have_is_not_signed(text):
    with pytest.raises(NoteMalformed):
        sign_note(text, ANNA)


@given(st.binary(max_size=80) | st.text(alphabet="a\n \u2014+", max_size=40).map(str.encode))
@settings(max_examples=300)
def test_whatever_parses_is_spelled_as_it_was(data):
    try:
        note = parse_note(data + b"\n\n" + ANNA.sign(b"x\n").line().encode() + b"\n")
    except NoteMalformed:
        return
    assert note.encode().startswith(data)


@given(st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace") + b"\n"))
@settings(max_examples=200)
def test_whatever_is_signed_opens_to_the_same_text(text):
    try:
        signed = sign_note(text, ANNA)
    except NoteMalformed:
        return
    assert open_note(signed, [KEY])[0].text == text
