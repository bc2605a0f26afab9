"""The file tools' worker: one request in, one response out, run confined by the executor.

Run as `python -I -S -E file_worker.py` with a JSON object on standard input; it prints one JSON object. It imports the
standard library and the `confined` folder beside it, because nothing else of this program belongs inside.

Requests (`path` is absolute and free of symbolic links: the decision was made about exactly this path, so a link found
on the way was put there afterwards and is refused):

    {"op": "read",   "path", "offset", "limit"}                      lines, from 1
    {"op": "write",  "path", "content", "expect"}                    expect: SHA-256 it must have before, or null
    {"op": "edit",   "path", "old", "new", "all", "expect"}
    {"op": "list",   "path", "pattern", "depth", "skip"}            skip: {"names", "but_not", "paths"}, lists of globs
    {"op": "search", "path", "pattern", "glob", "regex", "skip"}
        both may have "into": an existing file that gets the content instead of the one at "path"
    {"op": "preview", "of": a write or edit request}                 the same response, nothing written

Responses: `{"text", "notice", "diff", "before", "after"}` or `{"error", "message", "text"}`. `text` and `diff` hold
content of files and file names and are foreign; `notice`, `message` and `error` are fixed words and numbers.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

if not __package__:
    # At the end of the path, so that nothing here can stand in for a module of the standard library.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 -- pathlib costs 5 ms a call
_PARTS: Final = f"{__package__}.confined" if __package__ else "confined"

#: Where each operation lives; only that part is imported, because each call starts a fresh process.
_OPERATIONS: Final = {
    "read": ("reading", "read"),
    "write": ("changing", "write"),
    "edit": ("changing", "edit"),
    "list": ("finding", "list_files"),
    "search": ("finding", "search"),
}
_PREVIEWED: Final = {"write": "write", "edit": "edit"}
_EMPTY: Final = {"text": "", "notice": "", "diff": "", "before": "", "after": ""}


def _operation(name: object) -> Callable[..., dict[str, Any]]:
    part, function = _OPERATIONS[str(name)]
    found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(f"{_PARTS}.{part}"), function)
    return found


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request; every refusal is an answer."""
    opening = importlib.import_module(f"{_PARTS}.opening")
    try:
        if request.get("op") == "preview":
            asked = request["of"]
            return {**_EMPTY, **_operation(_PREVIEWED[asked["op"]])(asked, dry=True)}
        return {**_EMPTY, **_operation(request["op"])(request)}
    except opening.Refused as refused:
        return dict(refused.answer)
    except (KeyError, TypeError, ValueError) as error:
        return {"error": "bad-request", "message": "the request is not one of this worker's", "text": repr(error)}
    except OSError as error:
        code, message = opening.ERRNO.get(error.errno or 0, ("failed", f"the system refused (errno {error.errno})"))
        return {"error": code, "message": message, "text": ""}


def main() -> None:
    """Read the request, print the response."""
    os.umask(0o022)
    request = json.loads(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(answer(request)))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
