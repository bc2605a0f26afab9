"""What every command that signs shares: a terminal to ask on, the private key of a file, the diff, the log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localgpt.cli.output import coloured, safe
from localgpt.cli.state import State
from localgpt.errors import ConfigError

if TYPE_CHECKING:
    from localgpt.crypto.note import NoteSecret
    from localgpt.policy import Manifest

KeyFile = Annotated[Path | None, typer.Option("--key", help="The private key of mode ed25519.")]


class NoTerminal(ConfigError):  # noqa: N818 -- named after the condition
    """A question must be asked, and there is nobody to answer it."""

    code = "cli.no-terminal"


def need_terminal(command: str, cure: str = "run it in a terminal, yourself") -> None:
    """Raise `NoTerminal` where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NoTerminal(f"{command} asks before it signs, and this is not a terminal", cure=cure)


def read_secret(path: Path | None) -> NoteSecret | None:
    """The private key in the file `path`; None without one.

    Raises:
        KeyFileUnusable: it cannot be read, or others can read it.
    """
    if path is None:
        return None
    from localgpt.crypto.signing import load_signing_key

    return load_signing_key(path)


def log_signature(state: State, manifest: Manifest, path: str) -> None:
    """Write the signature into the log. It stands even when the log cannot be written; that is said."""
    problem = append_to_log(
        state,
        "policy.signed",
        sequence=manifest.sequence,
        document=manifest.content_sha256,
        by=manifest.signed_by,
        key_id=manifest.key_id,
        path=path,
    )
    if problem:
        sys.stderr.write(f"warning: signed, but the log could not be written: {safe(problem)}\n")


def append_to_log(state: State, kind: str, **fields: str | int) -> str:
    """Append one entry; what went wrong, or ""."""
    from localgpt.audit.log import AuditLog
    from localgpt.crypto import load_device_key
    from localgpt.errors import AuditError

    try:
        log = AuditLog.open(state.paths.audit_dir, key=load_device_key(state.paths.device_key))
        try:
            log.append(kind, session="", **fields)
        finally:
            log.close()
    except AuditError as error:
        return error.message
    return ""


def show_diff(before: str, after: str) -> None:
    """Print a unified diff. Carriage returns and other controls are shown, so that no line can hide another."""
    from difflib import unified_diff

    for line in unified_diff(before.split("\n"), after.split("\n"), "signed", "now", lineterm="", n=3):
        colour = {"+": "32", "-": "31", "@": "36"}.get(line[:1], "")
        sys.stdout.write(coloured(safe(line), colour) + "\n")
