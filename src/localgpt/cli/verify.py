"""``localgpt verify``: is the policy as it was signed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import say, say_json
from localgpt.cli.state import State, state_of

if TYPE_CHECKING:
    from localgpt.policy.check import Status

app = new_app()


@app.command(
    epilog="""
\b
Exit status: 0 valid; 1 there is no LocalGPT.md; 3 unsigned, tampered, or its manifest is corrupted,
and when the device key cannot be used.
\b
Examples:
  localgpt verify
  localgpt verify --json
  localgpt verify --public-key policy.pub      in a repository, without any secret
"""
)
def verify(
    ctx: typer.Context,
    public_key: Annotated[str, typer.Option("--public-key", help="A public key, or a file that holds one.")] = "",
    document: Annotated[Path | None, typer.Option("--document", help="With --public-key: the document.")] = None,
    note: Annotated[Path | None, typer.Option("--note", help="With --public-key: its signed note.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Check LocalGPT.md against its signature. Whatever the answer, the policy signed last still applies.

    With a public key nothing of this installation is read: the note beside the document is checked, as CI does it.
    """
    if public_key:
        return verify_note(public_key, document or _document_here(), note, json=json)
    return verify_policy(state_of(ctx), json=json)


def verify_policy(state: State, *, json: bool) -> int:
    """Check, print, and give the exit status."""
    from localgpt.cli.trust import open_store

    store = open_store(state)
    applies = store.load()
    return _print(applies.status, store.document_path, applies.notes, json=json)


def verify_note(public_key: str, document: Path, note: Path | None, *, json: bool) -> int:
    """Check a document against a signed note, print, and give the exit status."""
    import os

    from localgpt.policy.check import check_document
    from localgpt.policy.document import MAX_DOCUMENT_BYTES
    from localgpt.policy.files import read_once
    from localgpt.policy.manifest import MAX_MANIFEST_BYTES
    from localgpt.policy.noted import read_public_key
    from localgpt.policy.store import NOTE_NAME

    public = read_public_key(_key_text(public_key))
    text = read_once(document, MAX_DOCUMENT_BYTES)
    signature = read_once(note or document.with_name(NOTE_NAME), MAX_MANIFEST_BYTES)
    path = os.path.abspath(document)  # noqa: PTH100 -- a link is signed for its own place
    status = check_document(text.data, signature.data, None, path=path, public=public)
    return _print(status, document, (), json=json)


def _key_text(public_key: str) -> str:
    """The key itself, or the first line of the file that is named; comments begin with #."""
    try:
        lines = Path(public_key).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError):
        return public_key
    return next((line for line in lines if line.strip() and not line.startswith("#")), "")


def _document_here() -> Path:
    from localgpt.policy.store import DOCUMENT_NAMES

    return next((Path(name) for name in DOCUMENT_NAMES if Path(name).exists()), Path(DOCUMENT_NAMES[0]))


def _print(status: Status, document: Path, notes: tuple[str, ...], *, json: bool) -> int:
    from localgpt.cli.trust import CURES, STATUS_OF

    if json:
        say_json(
            {
                "state": status.state.value,
                "document": str(document),
                "sha256": status.digest,
                "sequence": None if status.manifest is None else status.manifest.sequence,
                "detail": status.detail,
                "code": None if status.problem is None else status.problem.code,
                "notes": list(notes),
            }
        )
    else:
        say(f"Policy: {status.state.value.upper().replace('-', ' ')}")
        say(f"{document}: {status.detail}")
        for note in notes:
            say(f"note: {note}")
        if CURES[status.state]:
            say(f"cure: {CURES[status.state]}")
    return STATUS_OF.get(status.state, 3)
