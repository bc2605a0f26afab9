"""Questions to the user: bound to exactly one call, answered once, bounded in number."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localgpt import canon
from localgpt.monitor.events import Answer, Approver, Choice, Question
from localgpt.policy.authority import Endorsable

EXPIRES_S: Final = 120.0
MAX_QUESTIONS: Final = 20  #: in one turn; more is a flood, and a flood gets no answers
_DOMAIN: Final = b"localgpt approval v1\x00"
_MAX_OPERAND_BYTES: Final = 16 * 1024 * 1024
_MAX_OPERANDS: Final = 64
_CHANGES: Final = frozenset({"write_file", "edit_file"})
_FLOOD: Final = "too many questions in this turn; the rest are denied without asking"


@dataclass(frozen=True, slots=True)
class ExactCall:
    """Everything an approval is bound to. `content` is the standard input (for file tools: the whole request)."""

    tool: str
    argv: tuple[str, ...]
    cwd: str
    env: tuple[tuple[str, str], ...]
    plan_digest: str
    content: bytes

    def session_key(self) -> str:
        """What an answer for the session is bound to: the digest, but for a change of a file without its content."""
        if self.tool not in _CHANGES:
            return self.digest()
        value: canon.Json = [self.tool, [_text(word) for word in self.argv], _text(self.cwd), self.plan_digest]
        return hashlib.sha256(_DOMAIN + canon.encode(value)).hexdigest()

    def digest(self) -> str:
        """Hex SHA-256 over the call and the present content of every file that its argv names."""
        value: dict[str, canon.Json] = {
            "tool": self.tool,
            "argv": [_text(word) for word in self.argv],
            "cwd": _text(self.cwd),
            "env": [[_text(name), _text(value)] for name, value in self.env],
            "plan": self.plan_digest,
            "content": hashlib.sha256(self.content).hexdigest(),
            "operands": dict(_operands(self.argv, Path(self.cwd))),
        }
        return hashlib.sha256(_DOMAIN + canon.encode(value)).hexdigest()


def _text(word: str) -> str:
    return word.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")


def _operands(argv: tuple[str, ...], cwd: Path) -> Mapping[str, str]:
    """Digest the regular files below `cwd` that a word of argv, or of a shell command in it, names.

    A script may not change between the answer and the run. Files elsewhere cannot be changed by the agent, and reading
    them here, outside the sandbox and before anybody has answered, would be an effect of its own.
    """
    words = {word for argument in argv for word in (argument, *_split(argument), argument.rpartition("=")[2])}
    found: dict[str, str] = {}
    for word in sorted(words)[: _MAX_OPERANDS * 16]:
        if len(found) < _MAX_OPERANDS and (digest := _file_digest(cwd, word)):
            found[hashlib.sha256(_text(word).encode()).hexdigest()] = digest
    return found


def _split(argument: str) -> list[str]:
    try:
        return shlex.split(argument, comments=False)
    except ValueError:
        return argument.split()


def _file_digest(cwd: Path, word: str) -> str | None:
    if not word or "\x00" in word or len(word) > 4096:
        return None
    try:
        path = (cwd / word).resolve()
        if not path.is_relative_to(cwd.resolve()):
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, RuntimeError, ValueError):
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > _MAX_OPERAND_BYTES:
            return f"size {status.st_size} mtime {status.st_mtime_ns} inode {status.st_ino}"
        return hashlib.sha256(file.read(_MAX_OPERAND_BYTES + 1)).hexdigest()


class Approvals:
    """The answers of one session. `session` answers hold for the same command, unchanged in any part, or for the same
    file: after one change of it was approved for the session, others are."""

    def __init__(self, approver: Approver) -> None:
        self._approver = approver
        self._granted: set[str] = set()
        self._asked = 0

    def new_turn(self) -> None:
        self._asked = 0

    def ask(
        self,
        call: ExactCall,
        *,
        code: str,
        sentence: str,
        diff: str,
        endorse: tuple[Endorsable, ...] = (),
        remember: bool = True,
        grant: str = "",
    ) -> Answer:
        """Ask the user, unless the session already has the answer or too much was asked.

        `endorse`: the values the answer is about. `remember` False: an answer for the session endorses these values and
        says nothing of the whole call. `grant`: what the answer for ever would sign, "" when it is not offered. The
        digest is taken again after the answer: when a script changed meanwhile, the answer is worthless.
        """
        digest, key = call.digest(), call.session_key()
        if remember and key in self._granted:
            return Answer(Choice.SESSION)
        self._asked += 1
        if self._asked > MAX_QUESTIONS:
            return Answer(Choice.DENY, _FLOOD)
        answer = self._approver.ask(
            Question(call.tool, call.argv, call.cwd, code, sentence, diff, digest, EXPIRES_S, endorse, grant)
        )
        if answer.choice is Choice.FOREVER and not grant:
            return Answer(Choice.DENY, "an answer that was not offered")
        if answer.choice is Choice.DENY:
            return answer
        if call.digest() != digest:
            return Answer(Choice.DENY, "a file that the call names changed while it was being approved")
        if remember and answer.choice in {Choice.SESSION, Choice.FOREVER}:
            self._granted.add(key)
        return answer
