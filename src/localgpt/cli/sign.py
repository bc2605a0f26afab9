"""``localgpt sign``: show what changed, ask, sign."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import say, say_json
from localgpt.cli.signing import KeyFile, log_signature, need_terminal, read_secret, show_diff
from localgpt.cli.state import State, state_of
from localgpt.errors import ExitStatus

app = new_app()


@app.command(
    epilog="""
\b
Examples:
  localgpt sign                    shows the text's digest and what changed, and asks
  localgpt sign --yes              for scripts: signs what is there
  localgpt sign --key /media/stick/policy.key --portable
\b
Exit status: 0 signed, 1 not signed, 2 there is no terminal to ask on, 3 the text or the key cannot be used.
"""
)
def sign(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    key: KeyFile = None,
    portable: Annotated[
        bool, typer.Option("--portable", help="With --key: valid in every copy of a repository.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Sign LocalGPT.md as it is now. From then on every change to it is noticed.

    The device key signs, unless the configuration names a public key: then the private key of `--key` does.
    """
    state = state_of(ctx)
    if not yes:
        need_terminal("sign", "localgpt sign --yes")
    return sign_policy(state, ask=not yes, json=json, key=key, portable=portable)


def sign_policy(state: State, *, ask: bool, json: bool, key: Path | None = None, portable: bool = False) -> int:
    """Show, ask, sign. Raises `PolicyError` leaves."""
    from localgpt.cli.trust import open_store
    from localgpt.crypto import sha256_hex

    store, secret = open_store(state), read_secret(key)
    document = store.document()
    if ask and not _confirmed(store.document_path, document, store.last_signed()):
        say("not signed")
        return ExitStatus.FAILED
    shown = sha256_hex(document) if ask else None
    manifest = store.sign(shown_digest=shown, secret=secret, portable=portable)
    log_signature(state, manifest, str(store.document_path))
    if json:
        say_json(
            {
                "document": str(store.document_path),
                "content_sha256": manifest.content_sha256,
                "hmac_sha256": None if store.public_key else manifest.hmac_sha256,
                "public_key": None if store.public_key is None else str(store.public_key),
                "sequence": manifest.sequence,
                "signed_at": manifest.signed_at,
            }
        )
    else:
        by = f"hmac: {manifest.hmac_sha256[:16]}" if store.public_key is None else f"note: {store.public_key.name}"
        say(f"Signed {store.document_path.name} (sha256: {manifest.content_sha256[:16]} | {by})")
    return ExitStatus.DONE


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
