"""Commands are shown exactly: what bash reads from the shown text is the argument, and nothing passes for another."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgpt.cli.terminal.argv import has_disguise, quote, show_argv, show_argv_line

BASH = shutil.which("bash")
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x00")


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("ls", "ls"),
        ("two words", "'two words'"),
        ("", "''"),
        ("it's", "'it'\"'\"'s'"),
        ("a\nb", "$'a\\n\nb'"),
        ("\x1b[2K", "$'\\x1b[2K'"),
        ("tab\there", "$'tab\\there'"),
        ("\u202egpj.exe", "$'\\u202egpj.exe'"),
        ("\udcff.txt", "$'\\xff.txt'"),
        ("no\u00a0break", "$'no\\u00a0break'"),
        ("קובץ", "$'\\u05e7\\u05d5\\u05d1\\u05e5'"),
        ("\U0001d5ff\U0001d5fa", "$'\\U0001d5ff\\U0001d5fa'"),
        ("café.txt", "'café.txt'"),
        ("日本語", "'日本語'"),
        ("Документы", "'Документы'"),
        ("привет", "'привет'"),
        ("p\u0430ypal.com", "$'p\\u0430ypal.com'"),
        ("\u0441\u043e\u0440\u0443", "$'\\u0441\\u043e\\u0440\\u0443'"),
        ("a\u2212b", "$'a\\u2212b'"),
        ("\uff4c\uff53", "$'\\uff4c\\uff53'"),
    ],
)
def test_quote(argument: str, shown: str) -> None:
    assert quote(argument) == shown


def test_a_command_on_one_line_has_no_newline() -> None:
    assert show_argv_line(["sh", "-c", "a\nb\n"]) == "sh -c $'a\\nb\\n'"
    assert show_argv(["sh", "-c", "a\nb"]).count("\n") == 1


def test_disguise_is_named() -> None:
    assert has_disguise("g\u043e\u043egle")
    assert not has_disguise("google")
    assert not has_disguise("Москва")


@given(st.text(CHARACTERS, max_size=30))
def test_shown_text_is_printable(argument: str) -> None:
    assert all(char.isprintable() for char in show_argv_line([argument]))


@pytest.mark.skipif(BASH is None, reason="needs bash to read the quoting back")
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.text(CHARACTERS, max_size=12),
        min_size=1,
        max_size=8,
    )
)
def test_bash_reads_back_exactly_what_was_shown(arguments: list[str]) -> None:
    assert BASH is not None
    script = f"printf '%s\\0' {show_argv_line(arguments)}"
    done = subprocess.run(
        [BASH, "--norc", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}, timeout=20
    )
    assert done.stdout.decode().split("\0")[:-1] == arguments
