"""Keys on a real pseudo-terminal: raw mode, draining, and that the old mode comes back."""

import os
import pty
import select
import termios
from collections.abc import Iterator

import pytest

from localgpt.cli.terminal.keys import ENTER, LineBuffer, TtyKeyboard, quiet, single_key


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def arrived(slave: int) -> None:
    """Wait until the kernel has carried what was written to the other side."""
    assert select.select([slave], [], [], 10)[0]


def test_what_was_typed_before_is_thrown_away(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    keyboard = TtyKeyboard(slave)
    os.write(master, b"o\no\n")
    arrived(slave)
    with keyboard.raw():
        assert keyboard.read(0) is None
        os.write(master, b"s")
        assert keyboard.read(5) == "s"


def test_drain_throws_away_what_came_since(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    keyboard = TtyKeyboard(slave)
    with keyboard.raw():
        os.write(master, b"ooo")
        arrived(slave)
        keyboard.drain()
        assert keyboard.read(0) is None


def test_the_mode_comes_back_and_the_rest_is_not_kept(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    before = termios.tcgetattr(slave)
    keyboard = TtyKeyboard(slave)

    def interrupted() -> None:
        with keyboard.raw():
            os.write(master, b"left over\n")
            arrived(slave)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert termios.tcgetattr(slave) == before
    with keyboard.raw():
        assert keyboard.read(0) is None


def test_control_c_is_a_key_while_raw(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    keyboard = TtyKeyboard(slave)
    with keyboard.raw():
        os.write(master, b"\x03")
        assert keyboard.read(5) == "\x03"


def test_a_character_in_two_pieces(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    keyboard = TtyKeyboard(slave)
    with keyboard.raw():
        os.write(master, "日".encode()[:2])
        assert keyboard.read(5) == ""
        os.write(master, "日".encode()[2:])
        assert keyboard.read(5) == "日"


def test_a_terminal_that_hangs_up() -> None:
    master, slave = pty.openpty()
    keyboard = TtyKeyboard(slave)
    with keyboard.raw():
        os.close(master)
        with pytest.raises(EOFError):
            keyboard.read(5)
    os.close(slave)


def test_no_terminal_at_all() -> None:
    reading, writing = os.pipe()
    with pytest.raises(EOFError), TtyKeyboard(reading).raw():
        pass
    os.close(reading)
    os.close(writing)


def test_quiet_keeps_keys_and_echoes_none(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    with quiet(slave):
        os.write(master, b"typed ahead\n")
        os.write(slave, b"answer")
        assert os.read(master, 100) == b"answer"
    assert os.read(slave, 100) == b"typed ahead\n"


def test_quiet_does_nothing_without_a_terminal() -> None:
    reading, writing = os.pipe()
    with quiet(reading):
        pass
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("o", "o"),
        ("o\r", "o"),
        ("o\n", "o"),
        ("\n", ENTER),
        ("\r", ENTER),
        ("ab", ""),
        ("\x1b[A", ""),
        ("1\r", ""),
        ("\x1b", "\x1b"),
    ],
)
def test_single_key(typed: str, key: str) -> None:
    assert single_key(typed) == key


def test_a_little_line_editor() -> None:
    buffer = LineBuffer(limit=5)
    assert buffer.feed("abc\x7f\x1b[A") == ""
    assert buffer.text == "ab[A"
    assert buffer.feed("\x15xyz\x00") == ""
    assert buffer.feed("123456\r") == ENTER
    assert buffer.text == "xyz12"
    assert LineBuffer().feed("\x1b[A") == ""
    assert LineBuffer().feed("\x1b") == "\x1b"
    assert LineBuffer().feed("a\x03") == "\x03"
