"""Between a checked file call and the confined worker that carries it out: request bytes out, a typed reply back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from localgpt.errors import LocalGptError
from localgpt.tools.calls import EditFileCall, FileCall, ListFilesCall, ReadFileCall, SearchTextCall, WriteFileCall

if TYPE_CHECKING:
    from localgpt.policy.model import Table

WORKER: Final = Path(__file__).with_name("file_worker.py")
WORKER_ROOT: Final = WORKER.parent  #: the one folder, beside the interpreter's, that the worker reads its code from


class WorkerReplyError(LocalGptError):
    """The file worker ended without a reply of its format: it was killed, or ran out of time or memory."""

    code = "tool.worker"


@dataclass(frozen=True, slots=True)
class FileReply:
    """What the worker did. `text` and `diff` are foreign; `notice` is fixed words and numbers.

    `error` is "" or a short code ("not-found", "ambiguous", "no-match", "no-space", "changed", …), with `notice` saying
    why. `before` and `after` are SHA-256 of the file in hex, "" where there was none.
    """

    error: str
    notice: str
    text: str = ""
    diff: str = ""
    before: str = ""
    after: str = ""


def worker_argv(interpreter: str) -> tuple[str, ...]:
    """The command that the executor runs: isolated from environment, site packages and the current folder."""
    return (interpreter, "-I", "-S", "-E", str(WORKER))


def worker_request(call: FileCall, resolved: str, *, expect: str | None = None, skip: Iterable[str] = ()) -> bytes:
    """The worker's standard input for `call`.

    Args:
        call: the checked call.
        resolved: the absolute path, free of links, on which the call was decided.
        expect: for writes and edits, the SHA-256 that the file must still have (`FileReply.before` of its preview).
        skip: for lists and searches, absolute patterns (`**`, `*`, `?`) of what must not be shown below the folder, as
            the user's rules deny it. What the built-in policy calls a secret by its name is always left out.
    """
    request = _request(call, resolved, expect)
    if isinstance(call, (ListFilesCall, SearchTextCall)):
        table = _table()
        names = {"names": table.secret_names, "but_not": table.not_secret_names, "paths": tuple(skip)}
        request["skip"] = names
    return json.dumps(request).encode("ascii")


def preview_request(call: WriteFileCall | EditFileCall, resolved: str) -> bytes:
    """The worker's standard input to see what `call` would change, without changing it."""
    return json.dumps({"op": "preview", "of": _request(call, resolved, None)}).encode("ascii")


def into_place(request: bytes, temporary: str) -> bytes:
    """The same request for a write or edit, but its outcome goes into the existing file `temporary`."""
    return json.dumps(json.loads(request) | {"into": temporary}).encode("ascii")


def _table() -> Table:
    from localgpt.policy.builtin import builtin_policy  # noqa: PLC0415 -- the agent imports this module and needs none

    return builtin_policy().table


def _request(call: FileCall, path: str, expect: str | None) -> dict[str, object]:
    match call:
        case ReadFileCall():
            return {"op": "read", "path": path, "offset": call.offset, "limit": call.limit}
        case WriteFileCall():
            return {"op": "write", "path": path, "content": call.content, "expect": expect}
        case EditFileCall():
            replace = {"old": call.old_text, "new": call.new_text, "all": call.replace_all}
            return {"op": "edit", "path": path, "expect": expect, **replace}
        case ListFilesCall():
            return {"op": "list", "path": path, "pattern": call.pattern, "depth": call.depth}
        case SearchTextCall():
            return {"op": "search", "path": path, "pattern": call.pattern, "glob": call.glob, "regex": call.regex}


def worker_reply(stdout: bytes) -> FileReply:
    """Read the worker's reply, trusting nothing about its shape.

    Raises:
        WorkerReplyError: when the bytes are not a reply.
    """
    try:
        found = json.loads(stdout)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise WorkerReplyError(
            "the confined file worker ended without a reply", cure="run `localgpt sandbox test` to see what is wrong"
        )
    reply = cast("dict[str, str]", found)
    if "error" in reply:
        return FileReply(reply["error"] or "failed", reply.get("message", ""), text=reply.get("text", ""))
    return FileReply("", **{name: reply.get(name, "") for name in ("notice", "text", "diff", "before", "after")})
