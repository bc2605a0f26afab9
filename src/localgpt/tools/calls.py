"""Tool calls as values: from the text a model wrote to a frozen call whose fields need no further check.

Nothing here touches a file or starts a program; the monitor turns a call into effects, decides, and executes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from localgpt.tools.fields import Field, Flag, Number, Text, ToolArgumentError, is_required

MAX_ARGUMENTS_CHARS: Final = 16 * 1024 * 1024
MAX_TIMEOUT_S: Final = 120  #: the executor's limit on one command
MAX_LINES: Final = 2000
DEFAULT_LINES: Final = 1000
_PATH_CHARS: Final = 4096  #: PATH_MAX
_COMMAND_CHARS: Final = 32 * 1024  #: in UTF-8 at most the 128 KiB that execve takes for one string
_CONTENT_CHARS: Final = 8 * 1024 * 1024
_EDIT_CHARS: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ShellCall:
    """Run `command` with /bin/sh in the project. `timeout_s` None means the executor's limit.

    `hosts`: names or addresses, perhaps with ports, that it needs to reach, separated by blanks.
    """

    command: str
    timeout_s: int | None = None
    hosts: str = ""


@dataclass(frozen=True, slots=True)
class ReadFileCall:
    """Read `limit` lines from line `offset` (the first line is 1)."""

    path: str
    offset: int = 1
    limit: int = DEFAULT_LINES


@dataclass(frozen=True, slots=True)
class WriteFileCall:
    """Create or replace a whole file."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class EditFileCall:
    """Replace the one occurrence of `old_text`, or every one when `replace_all`."""

    path: str
    old_text: str
    new_text: str
    replace_all: bool = False


@dataclass(frozen=True, slots=True)
class ListFilesCall:
    """List a folder, `depth` levels deep, names matching the glob `pattern` ("" for all)."""

    path: str = "."
    pattern: str = ""
    depth: int = 1


@dataclass(frozen=True, slots=True)
class SearchTextCall:
    """Find `pattern` (literal unless `regex`) in a file or in the files below a folder whose names match `glob`."""

    pattern: str
    path: str = "."
    glob: str = ""
    regex: bool = False


@dataclass(frozen=True, slots=True)
class HostedCall:
    """A call of a tool that a host carries out. `arguments_json`: one JSON object, checked for its form alone."""

    tool: str
    arguments_json: str


FileCall: TypeAlias = ReadFileCall | WriteFileCall | EditFileCall | ListFilesCall | SearchTextCall
Call: TypeAlias = ShellCall | FileCall | HostedCall


@dataclass(frozen=True, slots=True)
class Tool:
    """One row of the table that parser, declaration and grammar share."""

    name: str
    doc: str
    call: type[Call]
    fields: tuple[Field, ...]


_PATH: Final = Text("path", "", _PATH_CHARS)
_FOLDER: Final = Text("path", "", _PATH_CHARS, default=".")

TOOLS: Final[tuple[Tool, ...]] = (
    Tool(
        "shell",
        "Run a shell command in the project folder. No network but to hosts; output is cut at 1 MiB.",
        ShellCall,
        (
            Text("command", "", _COMMAND_CHARS),
            Number("timeout_s", "", 1, MAX_TIMEOUT_S, default=None),
            Text("hosts", "hosts it must reach, as pypi.org:443; the user is asked", 1000, "", may_be_empty=True),
        ),
    ),
    Tool(
        "read_file",
        "Read lines of a text file.",
        ReadFileCall,
        (
            _PATH,
            Number("offset", "first line, from 1", 1, 10**9, default=1),
            Number("limit", "number of lines", 1, MAX_LINES, default=DEFAULT_LINES),
        ),
    ),
    Tool(
        "write_file",
        "Create or replace a whole file. Use edit_file to change part of one.",
        WriteFileCall,
        (_PATH, Text("content", "", _CONTENT_CHARS, may_be_empty=True)),
    ),
    Tool(
        "edit_file",
        "Replace text in a file. old_text must occur exactly once unless replace_all.",
        EditFileCall,
        (
            _PATH,
            Text("old_text", "exact text, white space included", _EDIT_CHARS),
            Text("new_text", "", _EDIT_CHARS, may_be_empty=True),
            Flag("replace_all", ""),
        ),
    ),
    Tool(
        "list_files",
        "List the files of a folder.",
        ListFilesCall,
        (
            _FOLDER,
            Text("pattern", "glob such as *.py", 200, default="", may_be_empty=True),
            Number("depth", "levels of folders", 1, 20, default=1),
        ),
    ),
    Tool(
        "search_text",
        "Find text in files; literal unless regex.",
        SearchTextCall,
        (
            Text("pattern", "", 1000),
            _FOLDER,
            Text("glob", "file names to look into", 200, default="", may_be_empty=True),
            Flag("regex", ""),
        ),
    ),
)

_BY_NAME: Final = {tool.name: tool for tool in TOOLS}


def parse_call(name: str, arguments_json: str) -> Call:
    """Check a model's call and return it as a value.

    Args:
        name: the tool's name as the model wrote it.
        arguments_json: the arguments as the model wrote them: the text of one JSON object; "" counts as {}.

    Raises:
        ToolArgumentError: with a sentence that tells the model what to write instead.
    """
    tool = _BY_NAME.get(name)
    if tool is None:
        raise ToolArgumentError(f'there is no tool "{name[:60]}"; the tools are {", ".join(_BY_NAME)}')
    try:
        return _build(tool, _object(arguments_json))
    except ToolArgumentError as error:
        raise ToolArgumentError(f"{name}: {error.message}. Arguments of {name}: {usage(tool)}") from error


def usage(tool: Tool) -> str:
    """One line that shows a tool's arguments, for example `{"path": string, "limit"?: number}`."""
    kinds = {Text: "string", Number: "number", Flag: "boolean"}
    shown = (f'"{f.name}"{"" if is_required(f) else "?"}: {kinds[type(f)]}' for f in tool.fields)
    return "{" + ", ".join(shown) + "}"


def _object(arguments_json: str) -> dict[str, object]:
    if len(arguments_json) > MAX_ARGUMENTS_CHARS:
        raise ToolArgumentError(f"the arguments have {len(arguments_json)} characters; split the work")
    if not arguments_json.strip():
        return {}
    try:
        value = json.loads(arguments_json, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ToolArgumentError("the arguments are nested too deeply") from None
    except ValueError as error:
        where = f" ({error.msg} at character {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise ToolArgumentError(f"the arguments are not valid JSON{where}") from error
    if not isinstance(value, dict):
        raise ToolArgumentError("the arguments must be one JSON object")
    return cast("dict[str, object]", value)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ToolArgumentError("an argument is given twice")
    return found


def _no_constant(name: str) -> object:
    raise ToolArgumentError(f"{name} is not a JSON number")


def _build(tool: Tool, given: dict[str, object]) -> Call:
    known = {field.name for field in tool.fields}
    if unknown := sorted(given.keys() - known):
        raise ToolArgumentError(f'there is no argument "{unknown[0][:60]}"')
    values: dict[str, object] = {}
    for field in tool.fields:
        if field.name in given and not (given[field.name] is None and not is_required(field)):
            values[field.name] = field.check(given[field.name])
        elif is_required(field):
            raise ToolArgumentError(f'the argument "{field.name}" is missing')
    return tool.call(**values)  # type: ignore[arg-type]  # every value was checked by the field of that name


def shown_argv(tool: str, call: Call) -> tuple[str, ...]:
    """The call as a user sees it: the tool's name, then `name=value` of every argument that was given a value."""
    fields = {name: getattr(call, name) for name in call.__slots__}
    return (tool, *(f"{name}={value}" for name, value in fields.items() if value not in (None, "", False)))
