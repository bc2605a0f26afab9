"""Show a command exactly: quoted for a shell, and with nothing in it that can look like something else.

An argument of plain characters is quoted as a shell would need it. Any other argument takes the ``$'…'`` form, which
names every special character (``\\n``, ``\\x1b``, ``\\u202e``), so that what is read is what will run, and pasting it
into a shell gives the same bytes back.

Stricter than prose: besides everything invisible, right-to-left letters (terminals move them), combining marks,
characters that only look different in some fonts (NFKC), and letters of another script that pass for Latin ones
(``pаypal`` with a Cyrillic а) are named instead of drawn.

Source: bash(1) QUOTING; UTS #39 section 4 and 5 (confusables, mixed scripts).
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from localgpt.cli.terminal.escape import is_mark, is_unsafe

_NAMED: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", "'": "\\'", "\a": "\\a", "\b": "\\b"}
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_WORD: Final = re.compile(r"\w+")

#: Letters that most fonts draw like an ASCII letter, a digit or a ligature of them (UTS #39, confusables).
_LATIN_LOOK: Final = frozenset(
    "аеорсухіјѕһԁԛԝүѵґАВЕЅІЈКМНОРСТУХҮҺԀԚԜӀӏ"  # Cyrillic
    "αγινορυχωκΑΒΕΖΗΙΚΜΝΟΡΤΥΧϲϳϹ"  # Greek
    "օոսզցհյքՏՕՍԼ"  # Armenian
    "ᎪᎬᎻᎠᏀᏃᏢᎡᏔᎢᏙᏴᎷᏚᏟᏦᏆᎶ"  # Cherokee
    "ıɑɡɩʋʀɢɪʟᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜰꜱǃ"  # Latin letters that pass for plain ones
)
#: Punctuation that passes for the shell's own.
_SHELL_LOOK: Final = frozenset("‐‑‒–—―−⁃∕⁄／╱⧸＼∖⧵‘’‚‛′ˋˊ`´“”„″∣ǀ❘｜；;：ː∶‥…․﹒。、¦＆＞＜＄＂＇＊？￼�ꞏ·•")


def show_argv(argv: Iterable[str]) -> str:
    """Quote a whole command. One line, unless an argument holds newlines: after each ``\\n`` shown comes a real one."""
    return " ".join(quote(argument) for argument in argv)


def show_argv_line(argv: Iterable[str]) -> str:
    """Quote a whole command on exactly one line."""
    return show_argv(argv).replace("\n", "")


def quote(argument: str) -> str:
    """Quote one argument. The layout breaks the line after a shown ``\\n``; nothing else adds a newline."""
    disguised = _disguised(argument)
    if not disguised and all(_is_clear(char) for char in argument):
        return shlex.quote(argument)
    shown = "".join(_show(char, at in disguised) for at, char in enumerate(argument))
    return f"$'{shown}'"


def has_disguise(argument: str) -> bool:
    """Whether letters or punctuation in `argument` pass for ASCII ones."""
    return bool(_disguised(argument))


def _show(char: str, disguised: bool) -> str:
    if char == "\n":
        return "\\n\n"
    if char in _NAMED:
        return _NAMED[char]
    if not disguised and _is_clear(char):
        return char
    return _name(char)


def _name(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte that was not UTF-8 (PEP 383)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


@lru_cache(maxsize=4096)
def _is_clear(char: str) -> bool:
    """Whether the character, alone, can be mistaken for nothing else."""
    if char.isascii():
        return char.isprintable()
    if is_unsafe(char) or is_mark(char) or unicodedata.category(char) in {"Zs", "Cn", "Lm", "Sk"}:
        return False
    if unicodedata.bidirectional(char) in _RIGHT_TO_LEFT or char in _SHELL_LOOK:
        return False
    return unicodedata.normalize("NFKC", char) == char


def _disguised(argument: str) -> frozenset[int]:
    """Positions of letters that pass for ASCII ones in their word.

    A word (a run of letters and digits) of one foreign script is shown as it is when at least one of its letters could
    not be Latin: a reader sees then which script it is. In a word that mixes in ASCII letters, every foreign letter of
    the table is named.
    """
    if argument.isascii():
        return frozenset()
    found: set[int] = set()
    for match in _WORD.finditer(argument):
        word = match.group()
        looks = [at for at, char in enumerate(word) if char in _LATIN_LOOK]
        if not looks:
            continue
        letters = [char for char in word if char.isalpha()]
        mixed = any(char.isascii() for char in letters)
        if mixed or len(looks) == len(letters):
            found.update(match.start() + at for at in looks)
    return frozenset(found)
