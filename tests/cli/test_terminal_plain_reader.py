"""Input without a line editor: pipes and plain terminals."""

import io
import os
import pty

import pytest

from localgpt.cli.terminal.typed import PlainReader, Typed
from tests.cli.terminal_sim import PLAIN, Emulator, screen_on


def test_each_line_of_a_pipe_is_an_input() -> None:
    emulator = Emulator()
    reader = PlainReader(io.StringIO("one\ntwo \\\nmore\nlast"), screen_on(emulator, PLAIN))
    assert [reader.read().text for _ in range(3)] == ["one", "two \nmore", "last"]
    with pytest.raises(EOFError):
        reader.read()
    assert emulator.raw == ""  # nobody is there to be prompted


def test_lines_that_arrive_at_once_are_one_input() -> None:
    master, slave = pty.openpty()
    emulator = Emulator()
    with os.fdopen(slave, "r") as stream:
        reader = PlainReader(stream, screen_on(emulator, PLAIN))
        os.write(master, b"typed\n")
        assert reader.read() == Typed("typed")
        os.write(master, b"a line\n" * 30)
        # The kernel carries the lines over one by one; all must be there before they are read.
        while os.get_blocking(master) and len(_echo(master)) < 30:
            pass
        typed = reader.read()
        assert typed.text.startswith("[pasted ")
        assert typed.attachments[0].text.count("a line") == 30
        os.write(master, b"\x04")
        with pytest.raises(EOFError):
            reader.read()
    os.close(master)
    assert emulator.raw == "> > > "


_seen: list[bytes] = []


def _echo(master: int) -> list[bytes]:
    """Lines that the terminal has echoed: those it has taken in."""
    _seen.append(os.read(master, 65536))
    return b"".join(_seen).split(b"a line")[1:]
