"""Reading git's configuration files without git, to see whether one could execute anything.

Git runs programs that a repository's configuration names (`core.fsmonitor`, `core.hooksPath`, `filter.*.clean`, …),
and learns new ones with every release. So nothing is called dangerous here; what is known to be harmless is, and the
rest is not. A file that this reader does not understand is not harmless.

Source: git-config(1), "Syntax".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from localgpt.sandbox.names import shipped_names

_SPACE: Final = " \t\r"
_ESCAPES: Final = {"n": "\n", "t": "\t", "b": "\b", '"': '"', "\\": "\\"}
_ADDRESSES: Final = frozenset({"url", "pushurl", "remote", "pushremote", "pushdefault"})


class NotUnderstood(ValueError):  # noqa: N818 -- named after the condition
    """The text is not of git's syntax, or of a corner of it that nobody needs."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `section` and `name` in lower case; `subsection` as written, None without one."""

    section: str
    subsection: str | None
    name: str
    value: str


def parse_config(text: str) -> tuple[Setting, ...]:
    """Every setting of a configuration file, in order.

    Raises:
        NotUnderstood: some line is not of the syntax.
    """
    reader = _Reader(text.removeprefix("\ufeff"))
    found, section, subsection = [], "", None
    while reader.skip_blank():
        if reader.peek() == "[":
            section, subsection = reader.header()
            continue
        if not section:
            raise NotUnderstood("a setting before any section")
        found.append(Setting(section, subsection, *reader.setting()))
    return tuple(found)


def not_harmless(settings: Iterable[Setting]) -> frozenset[Setting]:
    """Those that are not known to execute nothing and to lead nowhere."""
    return frozenset(each for each in settings if not _is_harmless(each))


def sanitised(text: str) -> str:
    """The part of a user's configuration that commands may see, as a configuration file; "" when nothing is."""
    try:
        settings = parse_config(text)
    except NotUnderstood:
        return ""
    shared = frozenset(shipped_names().git_shared)
    kept = [each for each in settings if each.subsection is None and f"{each.section}.{each.name}" in shared]
    return "".join(f"[{each.section}]\n\t{each.name} = {_quoted(each.value)}\n" for each in kept)


def _is_harmless(setting: Setting) -> bool:
    if setting.name in _ADDRESSES and (setting.value.startswith("-") or "::" in setting.value):
        return False  # `ext::sh -c …` is an address to git
    if setting.name == "update" and setting.value.startswith("!"):
        return False
    names = {f"{setting.section}.*"}
    names.add(
        f"{setting.section}.{setting.name}" if setting.subsection is None else f"{setting.section}.*.{setting.name}"
    )
    return not names.isdisjoint(shipped_names().git_harmless)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


class _Reader:
    """A position in the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def peek(self) -> str:
        """The next character, "" at the end."""
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        character = self.peek()
        self._at += 1
        return character

    def skip_blank(self) -> bool:
        """Skip space, empty lines and comments; whether anything is left."""
        while character := self.peek():
            if character in "#;":
                self._skip_line()
            elif character in _SPACE or character == "\n":
                self._at += 1
            else:
                return True
        return False

    def _skip_line(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end + 1

    def _word(self, more: str) -> str:
        start = self._at
        while (character := self.peek()) and (character.isalnum() or character in more) and character.isascii():
            self._at += 1
        if start == self._at:
            raise NotUnderstood("a name is missing")
        return self._text[start : self._at].lower()

    def header(self) -> tuple[str, str | None]:
        """`[section]`, `[section "subsection"]` or the old `[section.subsection]`."""
        self._take()
        section, subsection = self._word("-."), None
        if "." in section:
            section, _, subsection = section.partition(".")
        while self.peek() and self.peek() in _SPACE:
            self._at += 1
        if self.peek() == '"':
            subsection = self._subsection()
        if self._take() != "]":
            raise NotUnderstood("a section header does not end")
        return section, subsection

    def _subsection(self) -> str:
        self._take()
        said = ""
        while (character := self._take()) != '"':
            if character in {"", "\n"}:
                raise NotUnderstood("a subsection does not end")
            said += self._take() if character == "\\" else character
        return said

    def setting(self) -> tuple[str, str]:
        """`name = value`, or `name` alone, which means true."""
        name = self._word("-")
        while self.peek() and self.peek() in _SPACE:
            self._at += 1
        if self.peek() in {"", "\n", "#", ";"}:
            self._skip_line()
            return name, "true"
        if self._take() != "=":
            raise NotUnderstood("a setting without =")
        return name, self._value()

    def _value(self) -> str:
        said, kept, quoted = "", 0, False  # `kept`: how much of it a trailing space does not belong to
        while True:
            character = self._take()
            if character in {"", "\n"}:
                if quoted:
                    raise NotUnderstood("a quoted value does not end")
                return said[:kept]
            if character == '"':
                quoted = not quoted
                kept = len(said)
            elif character in "#;" and not quoted:
                self._skip_line()
                return said[:kept]
            elif character == "\\":
                said += self._escaped()
                kept = len(said)
            elif said or quoted or character not in _SPACE:
                said += character
                kept = len(said) if quoted or character not in _SPACE else kept

    def _escaped(self) -> str:
        character = self._take()
        if character == "\r" and self.peek() == "\n":
            character = self._take()
        if character == "\n":
            return ""
        if character not in _ESCAPES:
            raise NotUnderstood("an escape that git does not know")
        return _ESCAPES[character]
