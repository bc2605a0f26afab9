"""What is said between runtime and zygote: exactly one spelling, and a zygote that hears anything else ends."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import pytest
from fuzz.mutate import mutations
from fuzz.sandbox import requests
from hypothesis import given
from hypothesis import strategies as st

from localgpt.sandbox import Executor, Plan, messages
from localgpt.sandbox.faults import CommandNotStarted

WORD = st.binary(max_size=20).filter(lambda word: b"\0" not in word)
NAME = WORD.filter(lambda word: word and b"=" not in word)
CWD = WORD.map(lambda word: b"/" + word)


@given(st.lists(WORD, min_size=1).filter(lambda argv: bool(argv[0])), st.dictionaries(NAME, WORD), CWD, st.booleans())
def test_what_is_asked_is_what_is_heard(
    argv: list[bytes], env: dict[bytes, bytes], cwd: bytes, with_stdin: bool
) -> None:
    body = messages.encode_request(argv, env, cwd, with_stdin=with_stdin)
    assert messages.parse_request(body) == (argv, env, cwd, with_stdin)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        messages.HEAD.pack(0, 0, 0) + b"/\0",  # nothing to run
        messages.HEAD.pack(1, 0, 0) + b"\0/bin/true\0",  # nowhere
        messages.HEAD.pack(1, 0, 0) + b"tmp\0/bin/true\0",  # a relative folder
        messages.HEAD.pack(1, 0, 0) + b"/\0\0",  # no program
        messages.HEAD.pack(1, 0, 0) + b"/\0/bin/true",  # cut off
        messages.HEAD.pack(2, 0, 0) + b"/\0/bin/true\0",  # too few
        messages.HEAD.pack(1, 0, 0) + b"/\0/bin/true\0x\0",  # too many
        messages.HEAD.pack(1, 1, 0) + b"/\0/bin/true\0=x\0",  # no name
        messages.HEAD.pack(1, 1, 0) + b"/\0/bin/true\0x\0",  # no value
        messages.HEAD.pack(1, 2, 0) + b"/\0/bin/true\0A=1\0A=2\0",  # twice
        messages.HEAD.pack(1, 0, 2) + b"/\0/bin/true\0",  # an unknown flag
        messages.HEAD.pack(0xFFFF_FFFF, 0xFFFF_FFFF, 0) + b"/\0",
    ],
)
def test_anything_else_is_malformed(body: bytes) -> None:
    with pytest.raises(messages.Malformed):
        messages.parse_request(body)


@pytest.mark.parametrize(
    "header",
    [
        b"", b"D", messages.REPLY.pack(b"Z", 0, 0), messages.REPLY.pack(b"D", 0, messages.LARGEST_TEXT + 1),
        messages.REPLY.pack(b"D", 0, 0) + b"x",
    ],
)  # fmt: skip
def test_a_zygote_that_says_anything_else_is_not_believed(header: bytes) -> None:
    with pytest.raises(messages.Malformed):
        messages.parse_reply(header)


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux")
def test_a_zygote_that_hears_noise_starts_nothing_and_ends(project: Path) -> None:
    """Mutated requests to the real one: it answers, or it ends and everything with it; the next run has a fresh one."""
    with Executor(Plan.workspace_write(project)) as running:
        for body in islice(mutations(requests()[:2], 5), 2, 32):
            if not body:
                continue
            running.run(["true"])
            link = running._link
            assert link is not None
            link._send(body)
            link._control.settimeout(10)
            heard = link._control.recv(1)
            if not heard:
                link._warden.wait(10)
            else:  # it may have been a request after all, for which nobody sent descriptors
                assert heard in {messages.REFUSED, messages.NO_DIRECTORY}
                link._exactly(messages.REPLY.size - 1)
                running._stop()
        assert running.run(["echo", "well"]).stdout == b"well\n"


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux")
def test_a_command_line_of_many_mebibytes(project: Path) -> None:
    with Executor(Plan.workspace_write(project)) as running:
        for size in (2 << 20, 9 << 20):
            with pytest.raises(CommandNotStarted, match="too long"):
                running.run(["true", "x" * size])
        assert running.run(["true", *["x" * 1000] * 1000]).exit_status == 0
