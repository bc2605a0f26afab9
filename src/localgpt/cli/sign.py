"""``localgpt sign``: show what changed, ask, sign."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import coloured, safe, say, say_json
from localgpt.cli.state import State, state_of
from localgpt.errors import ConfigError, ExitStatus

if TYPE_CHECKING:
    from localgpt.policy import Manifest

app = new_app()


class NoTerminal(ConfigError):  # noqa: N818 -- named after the condition
    """A question must be asked, and there is nobody to answer it."""

    code = "cli.no-terminal"


@app.command(
    epilog="""
\b
Examples:
  localgpt sign            shows the text's digest and what changed, and asks
  localgpt sign --yes      for scripts: signs what is there
\b
Exit status: 0 signed, 1 not signed, 2 there is no terminal to ask on, 3 the text or the key cannot be used.
"""
)
def sign(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Sign LocalGPT.md with the device key, as it is now. From then on every change to it is noticed."""
    state = state_of(ctx)
    if not yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NoTerminal("sign asks before it signs, and this is not a terminal", cure="localgpt sign --yes")
    return sign_policy(state, ask=not yes, json=json)


def sign_policy(state: State, *, ask: bool, json: bool) -> int:
    """Show, ask, sign. Raises `PolicyError` leaves."""
    from localgpt.cli.trust import open_store
    from localgpt.crypto import sha256_hex

    store = open_store(state)
    document = store.document()
    if ask and not _confirmed(store.document_path, document, store.last_signed()):
        say("not signed")
        return ExitStatus.FAILED
    manifest = store.sign(shown_digest=sha256_hex(document) if ask else None)
    log_signature(state, manifest, str(store.document_path))
    if json:
        say_json(
            {
                "document": str(store.document_path),
                "content_sha256": manifest.content_sha256,
                "hmac_sha256": manifest.hmac_sha256,
                "sequence": manifest.sequence,
                "signed_at": manifest.signed_at,
            }
        )
    else:
        name, digests = store.document_path.name, (manifest.content_sha256[:16], manifest.hmac_sha256[:16])
        say(f"Signed {name} (sha256: {digests[0]} | hmac: {digests[1]})")
    return ExitStatus.DONE


def log_signature(state: State, manifest: Manifest, path: str) -> None:
    """Write the signature into the log. The signature stands even when the log cannot be written; that is said."""
    from localgpt.audit.log import AuditLog
    from localgpt.crypto import load_device_key
    from localgpt.errors import AuditError

    try:
        log = AuditLog.open(state.paths.audit_dir, key=load_device_key(state.paths.device_key))
        try:
            log.append(
                "policy.signed",
                sequence=manifest.sequence,
                document=manifest.content_sha256,
                by=manifest.signed_by,
                key_id=manifest.key_id,
                path=path,
            )
        finally:
            log.close()
    except AuditError as error:
        sys.stderr.write(f"warning: signed, but the log could not be written: {safe(error.message)}\n")


def _confirmed(path: Path, document: bytes, last: bytes | None) -> bool:
    """Show the document, or what changed in it since it was last signed, and ask. Enter and end of file mean no."""
    from localgpt.crypto import sha256_hex

    text = document.decode("utf-8", "replace")
    if last is None:
        say(f"{path} was never signed with this key. It says:\n")
        say(text)
    elif last == document:
        say(f"{path} has not changed since it was signed last.")
    else:
        say(f"{path}, changes since it was signed last:\n")
        show_diff(last.decode("utf-8", "replace"), text)
    say(f"\nsha256: {sha256_hex(document)}")
    sys.stdout.write("Sign it? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def show_diff(before: str, after: str) -> None:
    """Print a unified diff. Carriage returns and other controls are shown, so that no line can hide another."""
    from difflib import unified_diff

    for line in unified_diff(before.split("\n"), after.split("\n"), "signed", "now", lineterm="", n=3):
        colour = {"+": "32", "-": "31", "@": "36"}.get(line[:1], "")
        sys.stdout.write(coloured(safe(line), colour) + "\n")
