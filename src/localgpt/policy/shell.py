"""A small reader of shell text: it splits into simple commands and never expands anything.

Words known only at run time are None. Whatever it cannot read for certain raises `NotUnderstood`; it never guesses.
Time is linear in the text for each level of nesting, and nesting is bounded.

Source: POSIX.1-2024, Shell Command Language, 2.2 (quoting), 2.3 (tokens), 2.6 (expansions), 2.7 (redirection), 2.9.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

Command: TypeAlias = "tuple[str | None, ...]"

_MAX_TEXT: Final = 64 * 1024
_MAX_NESTING: Final = 8
_OPERATORS: Final = re.compile(r"&&|\|\||;;&?|;&|\|&|&>>?|<<<|<<-?|>>|<>|>\||[<>]&|[;&|()<>\n]")
_REDIRECTIONS: Final = frozenset({"<", ">", ">>", "<>", ">|", "<&", ">&", "&>", "&>>", "<<<"})
_HEREDOCS: Final = frozenset({"<<", "<<-"})
_LEADING: Final = frozenset(
    {"if", "then", "else", "elif", "fi", "while", "until", "do", "done", "{", "}", "!", "time", "coproc"}
)
_UNREAD: Final = frozenset({"case", "select", "function", "esac"})
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_PARAMETER: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])")
_GLOB: Final = frozenset("*?[")
_BRACKETS: Final = frozenset({"[", "[["})  # the test command, not a glob


class NotUnderstood(Exception):  # noqa: N818 -- named after the condition; never leaves this package
    """The text cannot be read for certain."""


def parse(text: str) -> tuple[Command, ...]:
    """Split shell text into its simple commands, those inside substitutions and compound commands included.

    Raises:
        NotUnderstood
    """
    return _Reader(text, 0).commands()


class _Reader:
    """One pass over one text. `_found` collects commands; `_words` is the command being read."""

    def __init__(self, text: str, nesting: int) -> None:
        if len(text) > _MAX_TEXT or nesting > _MAX_NESTING or "\x00" in text:
            raise NotUnderstood
        self._text = text
        self._nesting = nesting
        self._at = 0
        self._found: list[Command] = []
        self._words: list[str | None] = []
        self._assigned = False  #: the last word read has the form NAME=...
        self._heredocs: list[tuple[str, bool, bool]] = []  #: delimiter, quoted, tabs stripped

    def commands(self) -> tuple[Command, ...]:
        while self._at < len(self._text):
            self._step()
        self._end_command()
        if self._heredocs:
            raise NotUnderstood
        return tuple(self._found)

    def _step(self) -> None:
        char = self._text[self._at]
        if char in " \t\r" or self._text.startswith("\\\n", self._at):
            self._at += 2 if char == "\\" else 1
        elif char == "#":
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end
        elif operator := _OPERATORS.match(self._text, self._at):
            self._operator(operator[0])
        else:
            word, quoted = self._word()
            self._add(word, quoted)

    def _operator(self, operator: str) -> None:
        if operator in {"<", ">"} and self._text.startswith("(", self._at + 1):
            word, quoted = self._word()  # process substitution is a word
            self._add(word, quoted)
            return
        self._at += len(operator)
        if operator in _REDIRECTIONS or operator in _HEREDOCS:
            self._redirect(operator)
        else:
            self._end_command()
            if operator == "\n":
                self._skip_heredocs()

    def _redirect(self, operator: str) -> None:
        if self._words and (self._words[-1] or "").isdigit() and self._text[self._at - len(operator) - 1].isdigit():
            self._words.pop()  # the descriptor number, as in 2>file
        while self._at < len(self._text) and self._text[self._at] in " \t":
            self._at += 1
        if self._at >= len(self._text) or _OPERATORS.match(self._text, self._at):
            raise NotUnderstood
        word, quoted = self._word()
        if operator in _HEREDOCS:
            if word is None:
                raise NotUnderstood
            self._heredocs.append((word, quoted, operator == "<<-"))

    def _skip_heredocs(self) -> None:
        for delimiter, quoted, tabs in self._heredocs:
            while True:
                if self._at >= len(self._text):
                    raise NotUnderstood
                end = self._text.find("\n", self._at)
                end = len(self._text) if end < 0 else end
                line = self._text[self._at : end]
                self._at = min(end + 1, len(self._text))
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    break
                if not quoted and ("$(" in line or "`" in line):
                    raise NotUnderstood
        self._heredocs.clear()

    def _add(self, word: str | None, quoted: bool) -> None:
        if not self._words:
            if not quoted and word in _UNREAD:
                raise NotUnderstood
            if self._assigned or (not quoted and word in _LEADING):
                return
        self._words.append(word)

    def _end_command(self) -> None:
        if self._words and self._words[0] == "for":
            self._words.clear()  # `for x in a b`: data; substitutions in it were collected already
        if self._words:
            self._found.append(tuple(self._words))
        self._words = []

    def _word(self) -> tuple[str | None, bool]:
        """Read one word: its text, or None when it is known only at run time; and whether any of it was quoted."""
        start, known, quoted = self._at, True, False
        pieces: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in "'\"\\":
                quoted = True
                known &= self._quoted(char, pieces)
            elif char in "$`" or (char in "<>" and self._text.startswith("(", self._at + 1)):
                known &= self._expansion(pieces)
            elif char in " \t\r" or _OPERATORS.match(self._text, self._at):
                break
            else:
                known = known and char not in _GLOB and not (char == "{" and self._is_brace())
                pieces.append(char)
                self._at += 1
        self._assigned = _ASSIGNMENT.match(self._text, start) is not None
        if self._at == start:
            raise NotUnderstood
        if self._text[start : self._at] in _BRACKETS:
            known = True
        return ("".join(pieces) if known else None), quoted

    def _is_brace(self) -> bool:
        """`{a,b}` expands to several words; a lone `{` is a word of its own."""
        end = self._at + 1
        while end < len(self._text) and self._text[end] not in " \t\n;":
            if self._text[end] == "," or self._text.startswith("..", end):
                return True
            end += 1
            if end - self._at > 256:
                return True
        return False

    def _quoted(self, char: str, pieces: list[str]) -> bool:
        if char == "\\":
            if self._at + 1 >= len(self._text):
                raise NotUnderstood
            following = self._text[self._at + 1]
            pieces.append("" if following == "\n" else following)
            self._at += 2
            return True
        if char == "'":
            end = self._find("'", self._at + 1)
            pieces.append(self._text[self._at + 1 : end])
            self._at = end + 1
            return True
        self._at += 1
        return self._double_quoted(pieces)

    def _double_quoted(self, pieces: list[str]) -> bool:
        known = True
        while True:
            if self._at >= len(self._text):
                raise NotUnderstood
            char = self._text[self._at]
            if char == '"':
                self._at += 1
                return known
            if char == "\\" and self._text[self._at + 1 : self._at + 2] in {"$", "`", '"', "\\", "\n"}:
                pieces.append(self._text[self._at + 1].strip("\n"))
                self._at += 2
            elif char in "$`":
                known &= self._expansion(pieces)
            else:
                pieces.append(char)
                self._at += 1

    def _expansion(self, pieces: list[str]) -> bool:
        """Read `$x`, `${...}`, `$(...)`, a backtick substitution or `<(...)`. Returns whether the text is known."""
        text, at = self._text, self._at
        if text[at] == "`":
            end = self._find("`", at + 1)
            if "\\" in text[at:end]:
                raise NotUnderstood
            self._nested(text[at + 1 : end])
            self._at = end + 1
        elif text.startswith("(", at + 1):
            end = self._closing(at + 2)
            self._nested(text[at + 2 : end])
            self._at = end + 1
        elif text.startswith("${", at):
            end = self._find("}", at + 2)
            if set(text[at + 2 : end]) & set("$`{\"'\\"):
                raise NotUnderstood
            self._at = end + 1
        elif found := _PARAMETER.match(text, at):
            self._at = found.end()
        elif text.startswith(("$'", '$"'), at):
            raise NotUnderstood
        else:
            pieces.append("$")
            self._at = at + 1
            return True
        return False

    def _nested(self, text: str) -> None:
        self._found.extend(_Reader(text, self._nesting + 1).commands())

    def _closing(self, at: int) -> int:
        """The parenthesis that closes a substitution whose text begins at `at`, quotes respected."""
        depth = 1
        while at < len(self._text):
            char = self._text[at]
            if char == "\\":
                at += 1
            elif char == "'":
                at = self._find("'", at + 1)
            elif char == '"':
                at = self._closing_quote(at + 1)
            elif char in "()":
                depth += 1 if char == "(" else -1
                if depth == 0:
                    return at
            elif char == "#" or self._text.startswith("<<", at):
                raise NotUnderstood  # a comment or a here-document may hide the parenthesis
            at += 1
        raise NotUnderstood

    def _closing_quote(self, at: int) -> int:
        while at < len(self._text):
            if self._text[at] == "\\":
                at += 1
            elif self._text[at] == '"':
                return at
            elif self._text[at] == "`" or self._text.startswith("$(", at):
                raise NotUnderstood  # quotes inside a substitution inside quotes: too deep for certainty
            at += 1
        raise NotUnderstood

    def _find(self, char: str, at: int) -> int:
        end = self._text.find(char, at)
        if end < 0:
            raise NotUnderstood
        return end
