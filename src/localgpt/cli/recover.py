"""``localgpt recover``: explain why the policy is not what was signed, and sign it anew on purpose."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import safe, say
from localgpt.cli.signing import KeyFile, append_to_log, need_terminal, read_secret, show_diff
from localgpt.cli.state import State, state_of
from localgpt.errors import ExitStatus

if TYPE_CHECKING:
    from localgpt.policy import Effective, Manifest, PolicyStore

app = new_app()

_WHY: Final = {
    "policy.rollback": "The document and its signature are older than what was seen here last: a backup was put back.",
    "policy.other-path": "The signature was made for another place: the workspace was moved or copied.",
    "policy.other-key": "Another device key signed it: the key was replaced, or the file comes from another machine.",
    "policy.other-signer": "The configuration names another signer than the one who signed here last.",
    "policy.content-changed": "The document was changed after it was signed.",
    "policy.signature-mismatch": "The signature is not one of this key, or the manifest was changed.",
    "policy.manifest-corrupted": "The manifest is damaged.",
    "unsigned": "There is no signature.",
    "lost": "Something was signed here, and what it said is not known any more.",
}


@app.command(
    epilog="""
\b
Example:
  localgpt recover
\b
Exit status: 0 nothing to recover or signed, 1 left as it was, 2 this is no terminal, 3 it cannot be signed.
"""
)
def recover(ctx: typer.Context, key: KeyFile = None) -> int:
    """After a restore, a move or a lost key: explain the mismatch, show the text, sign it, and record the gap.

    Works in a terminal only, and asks you to type a word: no script may do this for you.
    """
    from localgpt.cli.trust import open_store
    from localgpt.policy.check import PolicyState

    need_terminal("recover")
    state = state_of(ctx)
    store = open_store(state)
    applies = store.load()
    locked = any(policy.locked for policy in applies.policies)
    if applies.state is PolicyState.VALID and not locked:
        say(f"nothing to recover: {applies.status.detail}")
        return ExitStatus.DONE
    document = store.document()
    reason = _explain(applies, locked=locked)
    _show(store, document)
    if not _typed("recover"):
        say("left as it was")
        return ExitStatus.FAILED
    return _sign(state, store, document, reason, read_secret(key))


def _sign(state: State, store: PolicyStore, document: bytes, reason: str, secret: object) -> int:
    from localgpt.crypto import sha256_hex
    from localgpt.crypto.note import NoteSecret

    last_seen = store.last_sequence()
    private = secret if isinstance(secret, NoteSecret) else None
    manifest = store.sign("recover", shown_digest=sha256_hex(document), secret=private, recover=True)
    _log(state, store, manifest, last_seen, reason)
    say(f"signed, number {manifest.sequence}; the gap after number {last_seen} is in the log")
    return ExitStatus.DONE


def _explain(applies: Effective, *, locked: bool) -> str:
    """Say what is wrong; give the reason for the log."""
    status = applies.status
    code = status.problem.code if status.problem is not None else status.state.value
    reason = code if code in _WHY else "lost" if locked else code
    say(f"Policy: {status.state.value.upper().replace('-', ' ')}")
    say(status.detail)
    say(_WHY.get(reason, ""))
    for note in applies.notes:
        say(f"note: {note}")
    return reason


def _show(store: PolicyStore, document: bytes) -> None:
    from localgpt.crypto import sha256_hex

    last, text = store.last_signed(), document.decode("utf-8", "replace")
    if last is None:
        say(f"\n{store.document_path} says:\n")
        say(text)
    elif last == document:
        say(f"\n{store.document_path} says what was signed last.")
    else:
        say(f"\n{store.document_path}, against what was signed last:\n")
        show_diff(last.decode("utf-8", "replace"), text)
    say(f"sha256: {sha256_hex(document)}")


def _typed(word: str) -> bool:
    sys.stdout.write(f"Type {word} to sign this text; anything else leaves it as it is: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip() == word


def _log(state: State, store: PolicyStore, manifest: Manifest, last_seen: int, reason: str) -> None:
    problem = append_to_log(
        state,
        "policy.recovered",
        sequence=manifest.sequence,
        last_seen=last_seen,
        reason=reason,
        document=manifest.content_sha256,
        by=manifest.signed_by,
        key_id=manifest.key_id,
        path=str(store.document_path),
    )
    if problem:
        sys.stderr.write(f"warning: signed, but the log could not be written: {safe(problem)}\n")
