"""LocalGPT.md: prose for the model, and fenced ```` ```toml policy ```` blocks for the engine.

Parsing is strict and non-malleable. What a reader of the file could take for a rule is a rule or an error, never
silently prose; nothing is cut; every error names line and column. Prose is never judged by the words it uses.

Source: docs/spec/policy.md.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from typing import Any, Final

from localgpt.crypto import sha256_hex
from localgpt.policy.authority import FlowRules
from localgpt.policy.errors import (
    ControlCharacter,
    DocumentNotUtf8,
    DocumentTooLarge,
    DuplicateKey,
    FenceError,
    Position,
    ProseTooLong,
    TomlSyntax,
    UnknownPolicy,
)
from localgpt.policy.flowrules import merge_flow
from localgpt.policy.model import Rule
from localgpt.policy.rules import Locator, read_flow, read_rules

MAX_DOCUMENT_BYTES: Final = 64 * 1024
MAX_PROSE_CHARS: Final = 4096
#: The shipped policies that a document may extend.
POLICY_NAMES: Final = ("assistant", "strict", "coding", "offline", "read-only")

_OPENING: Final = "```toml policy"
_CLOSING: Final = "```"
_NOT_PLAIN: Final = re.compile(r"[^\n\t\x20-\x7e]")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
#: A fence that reads like a policy block to a person, however it is indented, quoted or spelled.
_FENCE_LIKE: Final = re.compile(r"[\s>*+\-\d.)]*(?:`{3,}|~{3,})(.*)")
_TOML_POSITION: Final = re.compile(r" ?\(at (?:line (\d+), column (\d+)|end of document)\)$")
_DUPLICATE: Final = re.compile(r"Cannot (overwrite a value|declare .* twice|mutate immutable)|Key .* already defined")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document. `digest`: hex SHA-256 of its exact bytes; `extends`: a shipped policy's name, or ""."""

    prose: str
    rules: tuple[Rule, ...]
    digest: str
    extends: str = ""
    flow: FlowRules | None = None


@dataclass(frozen=True, slots=True)
class _Block:
    """The text of one policy block and the document line of its first line."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class _Part:
    """What one policy block says: the policy that it extends or "", its rules, and its tables about flows."""

    extends: str
    rules: tuple[Rule, ...]
    flow: FlowRules | None


def parse_document(data: bytes) -> Document:
    """Parse the exact bytes of a policy document.

    Raises:
        DocumentError: one of its leaves, with line and column.
    """
    text = _decode(data)
    prose, blocks = _split(text)
    if len(prose) > MAX_PROSE_CHARS:
        raise ProseTooLong(
            f"the prose has {len(prose)} characters; at most {MAX_PROSE_CHARS} go to the model, and none are cut",
            cure="shorten it, or move rules into a policy block, which the model does not pay for",
        )
    read = [_read_block(block) for block in blocks]
    flows = [part.flow for part in read if part.flow is not None]
    rules = tuple(rule for part in read for rule in part.rules)
    flow = reduce(merge_flow, flows) if flows else None
    return Document(prose, rules, sha256_hex(data), _extends(read, blocks), flow)


def _decode(data: bytes) -> str:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(f"the document has {len(data)} bytes; the limit is {MAX_DOCUMENT_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        raise DocumentNotUtf8(f"byte 0x{data[error.start]:02x} is not UTF-8", _position(before)) from error
    for found in _NOT_PLAIN.finditer(text):
        at, char = found.start(), found[0]
        if _is_hidden(text, at):
            cure = "save it with Unix line ends" if char == "\r" else "remove it"
            name = unicodedata.name(char, "control character")
            raise ControlCharacter(f"U+{ord(char):04X} ({name}) is not allowed", _position(text[:at]), cure=cure)
    return text


def _is_hidden(text: str, at: int) -> bool:
    """Control, format, private-use and line-separator characters, and joiners that join nothing."""
    char = text[at]
    if char.isascii():
        return char < " " or char == "\x7f"
    if char in "\u200c\u200d\ufe0f":  # joiners and emoji style: legitimate inside words and emoji
        return at == 0 or text[at - 1].isspace() or text[at - 1] in "\u200c\u200d"
    return unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def _split(text: str) -> tuple[str, list[_Block]]:
    """Separate prose from policy blocks."""
    prose: list[str] = []
    blocks: list[_Block] = []
    lines = text.split("\n")
    number, fence = 0, ""
    while number < len(lines):
        line = lines[number]
        if not fence and line == _OPENING:
            end = _end_of_block(lines, number)
            blocks.append(_Block("".join(f"{rule}\n" for rule in lines[number + 1 : end]), number + 2))
            number = end + 1
            continue
        _refuse_look_alike(line, number, fence)
        fence = _fence_after(line, fence)
        prose.append(line)
        number += 1
    return re.sub(r"\n{3,}", "\n\n", "\n".join(prose)).strip(), blocks


def _end_of_block(lines: list[str], start: int) -> int:
    for number in range(start + 1, len(lines)):
        if lines[number] == _CLOSING:
            return number
        if _FENCE.fullmatch(lines[number]):
            break
    raise FenceError("this policy block is not closed by a line ```", Position(start + 1, 1))


def _refuse_look_alike(line: str, number: int, fence: str) -> None:
    found = _FENCE_LIKE.match(line)
    if found is None or not {"toml", "policy"}.issubset(re.split(r"\W+", found[1].casefold())):
        return
    where = "inside another fence" if fence else "not written as ```toml policy at the start of a line"
    raise FenceError(f"this looks like a policy block but is {where}", Position(number + 1, 1))


def _fence_after(line: str, fence: str) -> str:
    """The fence that is open after `line`, "" for none. Source: CommonMark 0.31 section 4.5."""
    found = _FENCE.fullmatch(line)
    if found is None:
        return fence
    marks, info = found[1], found[2]
    if not fence:
        return "" if marks[0] == "`" and "`" in info else marks
    closes = marks[0] == fence[0] and len(marks) >= len(fence) and not info.strip()
    return "" if closes else fence


def _read_block(block: _Block) -> _Part:
    try:
        tree: dict[str, Any] = tomllib.loads(block.text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), block) from error
    except RecursionError as error:
        raise TomlSyntax("nested too deeply", Position(block.line, 1)) from error
    where = Locator(block.text, block.line)
    name = tree.pop("extends", None)
    if name is not None and name not in POLICY_NAMES:
        near = get_close_matches(str(name), POLICY_NAMES, n=1)
        cure = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(POLICY_NAMES)}"
        raise UnknownPolicy(f"{name!r} is no shipped policy", where.top("extends"), cure=cure)
    return _Part(name or "", read_rules(tree, where), read_flow(tree, where))


def _extends(read: list[_Part], blocks: list[_Block]) -> str:
    named = [(part.extends, block) for part, block in zip(read, blocks, strict=True) if part.extends]
    if len(named) > 1:
        raise UnknownPolicy("a document extends one policy", Locator(named[1][1].text, named[1][1].line).top("extends"))
    return named[0][0] if named else ""


def _syntax_error(message: str, block: _Block) -> TomlSyntax | DuplicateKey:
    found = _TOML_POSITION.search(message)
    line, column = (int(found[1]), int(found[2])) if found and found[1] else (block.text.count("\n") + 1, 1)
    text = _TOML_POSITION.sub("", message)
    kind = DuplicateKey if _DUPLICATE.search(text) else TomlSyntax
    return kind(text, Position(block.line + line - 1, column))


def _position(before: str) -> Position:
    return Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
