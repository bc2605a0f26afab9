"""Finding the simple commands in an argv, so that rules such as `argv = ["git", "push"]` have something to compare.

This serves an honest model that would run a command its user does not want. It is no boundary: a program can run any
other program, and the sandbox alone decides what a program can reach. Where a word is known only when the command runs
(`$x`, `$(...)`, globs) it is `None`, and a rule that it could match asks instead of guessing.

Source: POSIX.1-2024, Shell Command Language, 2.2 to 2.10.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

from localgpt.policy.shell import Command, NotUnderstood, parse

_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "su"})

#: Commands that run another command given in their words.
_WRAPPERS: Final = frozenset({
    "sudo", "doas", "su", "env", "nohup", "time", "timeout", "nice", "ionice", "chrt", "taskset", "stdbuf",
    "setsid", "setpriv", "command", "exec", "builtin", "xargs", "parallel", "watch", "strace", "ltrace", "find", "fd",
    "entr", "busybox", "unshare", "script", "flock", "chroot", "runuser", "systemd-run", "faketime", "uv", "poetry",
    "pipenv", "npx", "pdm", "hatch", "nix-shell",
})  # fmt: skip
_MAX_DEPTH: Final = 8
_MAX_COMMANDS: Final = 1000

Commands: TypeAlias = tuple[Command, ...]


class Match(Enum):
    """Whether a rule's words are in a command."""

    NO = "no"
    MAYBE = "maybe"  #: depends on a word that is known only when the command runs
    YES = "yes"


def simple_commands(argv: tuple[str, ...]) -> Commands | None:
    """Every simple command that `argv` will run as far as its text tells, or None when the text was not understood."""
    found: list[Command] = []
    try:
        _collect(tuple(argv), 0, found)
    except (NotUnderstood, RecursionError):
        return None
    return tuple(found)


def match_any(words: tuple[str, ...], commands: Commands | None) -> Match:
    """The strongest match of a rule's `words` among `commands`; text that was not understood may hold anything."""
    if commands is None:
        return Match.MAYBE
    found = {match(words, command) for command in commands}
    return Match.YES if Match.YES in found else Match.MAYBE if Match.MAYBE in found else Match.NO


def match(words: tuple[str, ...], command: Command) -> Match:
    """Compare a rule with one command: the program by base name, then its other words in order.

    Other words may stand between them. A rule word of single-dash letters (`-rf`) asks for these letters among the
    command's short options, in any order.
    """
    if not command:
        return Match.NO
    if command[0] is None:
        return Match.MAYBE
    starts = range(len(command)) if _base(command[0]) in _WRAPPERS else range(1)
    if any(_is_program(words[0], command[i]) and _has_rest(words[1:], command[i + 1 :]) for i in starts):
        return Match.YES
    possible = None in command and (len(starts) > 1 or _is_program(words[0], command[0]))
    return Match.MAYBE if possible else Match.NO


def _has_rest(words: tuple[str, ...], rest: Command) -> bool:
    letters = {c for word in rest if word is not None and is_cluster(word) for c in word[1:]}
    position = 0
    for word in words:
        if is_cluster(word):
            if not letters.issuperset(word[1:]):
                return False
            continue
        position = next((i + 1 for i in range(position, len(rest)) if _same_word(word, rest[i])), 0)
        if position == 0:
            return False
    return True


def _same_word(wanted: str, word: str | None) -> bool:
    return word is not None and (word == wanted or (wanted.startswith("--") and word.startswith(wanted + "=")))


def is_cluster(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and word[1:].isalpha()


def _is_program(wanted: str, word: str | None) -> bool:
    return word is not None and (word == wanted or _base(word) == wanted)


def _base(word: str) -> str:
    return word.rsplit("/", 1)[-1]


def _collect(command: Command, depth: int, found: list[Command]) -> None:
    if depth > _MAX_DEPTH or len(found) >= _MAX_COMMANDS:
        raise NotUnderstood
    found.append(command)
    text = _inner_text(command)
    if text is not None:
        for inner in parse(text):
            _collect(inner, depth + 1, found)


def _inner_text(command: Command) -> str | None:
    """The shell text that this command carries as an argument, if it does.

    Raises:
        NotUnderstood: it carries text that is known only when the command runs.
    """
    for i, word in enumerate(command):
        name = None if word is None else _base(word)
        if name == "eval" and i == 0:
            return _joined(command[1:])
        if name in _SHELLS and (i == 0 or _base(command[0] or "") in _WRAPPERS):
            return _dash_c(command[i + 1 :])
    return None


def _dash_c(rest: Command) -> str | None:
    for i, word in enumerate(rest):
        if word is None:
            raise NotUnderstood
        if word.startswith("-") and not word.startswith("--") and "c" in word[1:]:
            text = next((later for later in rest[i + 1 :] if later is None or not later.startswith("-")), "")
            if text is None:
                raise NotUnderstood
            return text
        if not word.startswith(("-", "+")):
            return None  # a script file: its content is the plan's affair
    return None


def _joined(words: Command) -> str:
    if None in words:
        raise NotUnderstood
    return " ".join(word for word in words if word is not None)
