"""``localgpt policy edit`` and ``grant``: change the policy the safe way: edit a copy, check, show, sign, install."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from localgpt.cli.output import safe, say
from localgpt.cli.signing import KeyFile, log_signature, need_terminal, read_secret, show_diff
from localgpt.cli.state import State, state_of
from localgpt.errors import ConfigError, ExitStatus, LocalGptError

if TYPE_CHECKING:
    from localgpt.crypto.note import NoteSecret
    from localgpt.policy import Document, PolicyStore

_EDITORS: Final = ("sensible-editor", "nano", "vim", "vi")


class EditorFailed(LocalGptError):  # noqa: N818 -- named after the condition
    """The editor is not there, or ended with an error."""

    code = "cli.editor-failed"


class EditedElsewhere(ConfigError):  # noqa: N818 -- named after the condition
    """Somebody else is editing, or changed the document meanwhile."""

    code = "cli.edited-elsewhere"


def edit(ctx: typer.Context, key: KeyFile = None) -> int:
    """Edit a copy of LocalGPT.md in $VISUAL or $EDITOR, check it, show what changes, sign and install it.

    A text with errors is never installed: you are asked to edit again or to leave it as it was.
    """
    from localgpt.cli.trust import open_store

    need_terminal("policy edit")
    state = state_of(ctx)
    store = open_store(state)
    secret = read_secret(key)
    with _copy_of(state, store) as copy:
        before = copy.read_bytes()
        return _edit(state, store, copy, before, secret)


def grant(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(help="read, write, connect, model or tool.")],
    what: Annotated[str, typer.Argument(help="Exactly one path, host, provider or tool.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="One line, shown with every decision.")] = "",
    even_when_tainted: Annotated[
        bool, typer.Option("--even-when-tainted", help="Also after a stranger's text.")
    ] = False,
    key: KeyFile = None,
) -> int:
    """Allow one thing for ever: the line is shown, then added to LocalGPT.md and signed."""
    from localgpt.cli.trust import open_store
    from localgpt.policy import Rule, Subject, Verdict
    from localgpt.policy.emit import emit_grant

    need_terminal("policy grant")
    if kind not in {"read", "write", "connect", "model", "tool"}:
        raise typer.BadParameter(f"{kind!r} is none of read, write, connect, model, tool")
    if kind in {"read", "write"}:
        what = os.path.realpath(Path(what).expanduser())
    rule = Rule(Verdict.ALLOW, Subject(kind), (what,), reason, even_when_tainted=even_when_tainted)
    line, state = emit_grant(rule), state_of(ctx)
    store = open_store(state)
    say(f"This line will be added to {store.document_path} and signed:\n\n  {line}\n")
    if not _yes("Sign it? [y/N] "):
        say("not signed")
        return ExitStatus.FAILED
    manifest = store.grant(rule, shown=line, secret=read_secret(key))
    log_signature(state, manifest, str(store.document_path))
    say(f"signed, number {manifest.sequence}")
    return ExitStatus.DONE


# --- editing ----------------------------------------------------------------------------------------------------


@contextmanager
def _copy_of(state: State, store: PolicyStore) -> Iterator[Path]:
    """A private copy of the document, gone afterwards; one editor at a time."""
    from localgpt.policy.errors import NothingToSign
    from localgpt.policy.files import try_exclusive
    from localgpt.policy.starter import starter_document

    try:
        data = store.document()
    except NothingToSign:
        data = store.last_signed() or starter_document()
    place = state.paths.state_dir / "policy" / "editing"
    with try_exclusive(place) as held:
        if not held:
            raise EditedElsewhere("somebody is editing the policy already", cure="end the other `localgpt policy edit`")
        folder = Path(tempfile.mkdtemp(prefix="edit-", dir=place))
        try:
            copy = folder / "LocalGPT.md"
            copy.touch(mode=0o600)
            copy.write_bytes(data)
            yield copy
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _edit(state: State, store: PolicyStore, copy: Path, before: bytes, secret: NoteSecret | None) -> int:
    from localgpt.policy.errors import DocumentError

    while True:
        _run_editor(copy)
        data = copy.read_bytes()
        if data == before:
            say("nothing changed")
            return ExitStatus.DONE
        try:
            document = _checked(data, str(store.document_path))
        except DocumentError as error:
            sys.stdout.write(f"error: {safe(error.message)} [{error.code}]\n")
            if error.cure:
                say(f"cure: {error.cure}")
            if _choice("(e)dit again, or (x) leave it as it was? ", "ex") == "e":
                continue
            say("left as it was")
            return ExitStatus.FAILED
        _show_changes(store, before, data, document)
        chosen = _choice("(s)ign and install, (e)dit again, or (x) leave it as it was? ", "sex")
        if chosen == "s":
            return _install(state, store, before, data, secret)
        if chosen == "x":
            say("left as it was")
            return ExitStatus.FAILED


def _run_editor(copy: Path) -> None:
    """Run the user's own editor in the user's own terminal."""
    import subprocess

    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    argv = shlex.split(named) or [next((name for name in _EDITORS if shutil.which(name)), "vi")]
    try:
        status = subprocess.run([*argv, str(copy)], check=False).returncode  # noqa: S603 -- what the user named
    except OSError as error:
        cure = "name one: EDITOR=nano localgpt policy edit"
        raise EditorFailed(f"the editor {argv[0]!r} cannot be started: {error.strerror}", cure=cure) from error
    if status:
        raise EditorFailed(f"the editor ended with status {status}; nothing was changed", cure="try again")


def _checked(data: bytes, name: str) -> Document:
    """Parse, and print what can be said against it."""
    from localgpt.policy import parse_document
    from localgpt.policy.review import review
    from localgpt.tools import DECLARATIONS

    document = parse_document(data)
    for finding in review(document, tools=tuple(each.name for each in DECLARATIONS)):
        say(f"{Path(name).name}:{finding.line}: {finding.severity}: {finding.message} [{finding.code}]")
    return document


def _show_changes(store: PolicyStore, before: bytes, after: bytes, document: Document) -> None:
    """The text's diff, then what became more permissive and what stricter than what was signed last."""
    from localgpt.policy import builtin_policy, parse_document
    from localgpt.policy.check import policy_of
    from localgpt.policy.review import compare

    show_diff(before.decode("utf-8", "replace"), after.decode("utf-8", "replace"))
    signed = store.last_signed()
    old = builtin_policy() if signed is None else policy_of(parse_document(signed))
    found = compare(old, policy_of(document))
    for change in found.looser:
        say(f"LOOSER   {change.what}{f' — {change.example}' if change.example else ''}")
    for change in found.stricter:
        say(f"stricter {change.what}")
    if not found.looser:
        say("nothing is allowed that was not allowed before")


def _install(state: State, store: PolicyStore, before: bytes, data: bytes, secret: NoteSecret | None) -> int:
    from localgpt.crypto import sha256_hex

    store.replace_document(before, data)
    manifest = store.sign(shown_digest=sha256_hex(data), secret=secret)
    log_signature(state, manifest, str(store.document_path))
    say(f"signed and installed, number {manifest.sequence}")
    return ExitStatus.DONE


def _yes(prompt: str) -> bool:
    return _choice(prompt, "yn") == "y"


def _choice(prompt: str, keys: str) -> str:
    """One of `keys`; anything else, and end of file, is the last of them."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    answer = sys.stdin.readline().strip().lower()[:1]
    return answer if answer and answer in keys else keys[-1]
