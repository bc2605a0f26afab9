"""From a checked tool call to what it would do: resolved paths, effects, and what would be executed."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from localgpt.monitor.hosts import parse_host
from localgpt.policy import Connect, Effect, ReadPath, Run, WritePath
from localgpt.tools import (
    Call,
    EditFileCall,
    FileCall,
    HostedCall,
    ListFilesCall,
    ReadFileCall,
    SearchTextCall,
    ShellCall,
    ToolArgumentError,
    WriteFileCall,
    parse_call,
    shown_argv,
    worker_argv,
    worker_request,
)

_MAX_HOSTS: Final = 16
_SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/bin/sh")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One call, ready to be decided and executed.

    `shown`: what the user sees; `argv` and `stdin`: what the executor runs; `path`: the resolved operand of a file
    tool, "" for the shell.
    """

    tool: str
    call: Call
    shown: tuple[str, ...]
    argv: tuple[str, ...]
    stdin: bytes
    effects: tuple[Effect, ...]
    path: str
    timeout_s: float | None = None


def prepare(name: str, arguments_json: str, cwd: Path, home: Path, skip: tuple[str, ...] = ()) -> Prepared:
    """Check a model's call and say what it would do. `skip`: absolute patterns that lists and searches leave out.

    Raises:
        ToolArgumentError: the call is malformed; the text tells the model how to mend it.
    """
    call = parse_call(name, arguments_json)
    if isinstance(call, ShellCall):
        return prepare_shell(name, call)
    if isinstance(call, HostedCall):
        raise ToolArgumentError("a hosted tool is prepared by its host")
    path = resolve(call.path, cwd, home)
    return Prepared(
        name,
        call,
        _shown(name, call, path, cwd),
        worker_argv(os.path.realpath(sys.executable)),
        worker_request(call, path, skip=skip),
        _effects(call, path),
        path,
    )


def prepare_shell(tool: str, call: ShellCall) -> Prepared:
    """A shell command: one argv, no operand that could be trusted, and the network only to the hosts that it names.

    Raises:
        ToolArgumentError: what it names is no host.
    """
    argv = (_shell(), "-c", call.command)
    return Prepared(tool, call, argv, argv, b"", (Run(argv), *_connects(call.hosts)), "", call.timeout_s)


def _connects(hosts: str) -> tuple[Connect, ...]:
    found = []
    for word in hosts.replace(",", " ").split():
        if (effect := parse_host(word)) is None:
            raise ToolArgumentError('"hosts" are names such as pypi.org or localhost:8080, separated by blanks')
        found.append(effect)
    if len(found) > _MAX_HOSTS:
        raise ToolArgumentError(f'"hosts" names {len(found)} hosts; at most {_MAX_HOSTS} are taken')
    return tuple(dict.fromkeys(found))


def resolve(path: str, cwd: Path, home: Path) -> str:
    """The absolute path without links, `.` or `..`, of a file that may not exist yet. `~` and `~/…` are the home.

    Raises:
        ToolArgumentError: the path cannot be looked up at all, as one with a name of 300 characters.
    """
    if path == "~" or path.startswith("~/"):
        path = str(home) + path[1:]
    try:
        return os.path.realpath(cwd / path)
    except (OSError, ValueError) as error:
        raise ToolArgumentError(f"the path cannot be looked up: {type(error).__name__}") from error


def _shown(name: str, call: FileCall, path: str, cwd: Path) -> tuple[str, ...]:
    """The call as the user sees and approves it: with the path it will really touch, wherever the name led.

    What a change would write is shown once, as its diff.
    """
    words = [word for word in shown_argv(name, call) if not word.startswith("path=")]
    if isinstance(call, (WriteFileCall, EditFileCall)):
        words = [word for word in words if not word.startswith(("content=", "old_text=", "new_text="))]
    inside = os.path.relpath(path, cwd)
    return (words[0], f"path={path if inside.startswith('..') else inside}", *words[1:])


def _shell() -> str:
    return next((shell for shell in _SHELLS if os.access(shell, os.X_OK)), None) or shutil.which("sh") or "/bin/sh"


def _effects(call: FileCall, path: str) -> tuple[Effect, ...]:
    match call:
        case ReadFileCall() | ListFilesCall() | SearchTextCall():
            return (ReadPath(path),)
        case WriteFileCall():
            return (WritePath(path),)
        case EditFileCall():
            return (ReadPath(path), WritePath(path))
        case _:
            assert_never(call)
