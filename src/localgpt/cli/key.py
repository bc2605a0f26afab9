"""``localgpt key``: the device key, and the private key of mode ed25519."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import say, say_json
from localgpt.cli.signing import need_terminal
from localgpt.cli.state import state_of
from localgpt.errors import ConfigError, ExitStatus, LocalGptError

if TYPE_CHECKING:
    from localgpt.monitor.keychange import Changed

app = new_app(no_args_is_help=True, help="The keys that sign. Losing one loses signing, never reading.")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Read the passphrase from the first line of this file.")
]


class NoPassphrase(ConfigError):  # noqa: N818 -- named after the condition
    """No passphrase was given, or not the same one twice."""

    code = "cli.no-passphrase"


@app.command(epilog="\b\nExamples:\n  localgpt key status\n  localgpt key status --json")
def status(ctx: typer.Context, json: _Json = False) -> int:
    """Say which keys there are, what they sign, and whether the logs of earlier keys still verify."""
    from localgpt.cli.trust import open_store
    from localgpt.crypto import load_device_key
    from localgpt.monitor.keychange import archives

    state = state_of(ctx)
    path, public_key = state.paths.device_key, state.config.policy_public_key
    try:
        key_id, problem = load_device_key(path).key_id, None
    except LocalGptError as error:
        key_id, problem = "", error
    logs = archives(state.paths)
    if json:
        say_json(
            {
                "device_key": str(path),
                "key_id": key_id or None,
                "problem": None if problem is None else problem.code,
                "mode": "ed25519" if public_key else "hmac",
                "public_key": public_key or None,
                "archives": [
                    {
                        "key_id": a.key_id,
                        "directory": str(a.directory),
                        "entries": a.entries,
                        "verdict": None if a.verdict is None else a.verdict.value,
                    }
                    for a in logs
                ],
            }
        )
        return ExitStatus.DONE if problem is None else ExitStatus.REFUSED
    say(f"device key: {path}")
    if problem is not None:
        say(f"  {problem.message}\n  cure: {problem.cure}")
    else:
        say(f"  id {key_id}, yours alone; it {'does not sign the policy' if public_key else 'signs the policy'}")
        say(f"policy: {open_store(state).load().status.detail}")
    if public_key:
        say(f"the policy is signed with the private key of {public_key}")
    for log in logs:
        verdict = "can be read, not verified: its key is gone" if log.verdict is None else log.verdict.value
        say(f"log of key {log.key_id}: {log.entries} entries, {verdict} ({log.directory})")
    return ExitStatus.DONE if problem is None else ExitStatus.REFUSED


@app.command(
    epilog="""
\b
Example:
  localgpt key new /media/stick/policy.key --name me.example/policy
\b
Then:  localgpt config set security.policy_public_key 'THE LINE IT PRINTS'
       localgpt recover --key /media/stick/policy.key
"""
)
def new(
    file: Annotated[Path, typer.Argument(help="Where the private key goes; best on a medium of its own.")],
    name: Annotated[str, typer.Option("--name", help="What the key is for, as example.org/policy.")],
    json: _Json = False,
) -> None:
    """Make a private key for mode ed25519 and print its public key. This program reads the file only to sign."""
    from localgpt.crypto.signing import create_signing_key

    public = create_signing_key(file, name).public_key()
    if json:
        say_json({"file": str(file), "public_key": str(public)})
    else:
        say(str(public))


@app.command(
    epilog="""
\b
Examples:
  localgpt key rotate
  localgpt key rotate --lost     the old key is gone and there is no backup
\b
Exit status: 0 changed, 1 left as it was, 2 no terminal to ask on, 3 something must be mended first.
"""
)
def rotate(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    lost: Annotated[
        bool, typer.Option("--lost", help="The old key is gone: nothing of its can be taken over.")
    ] = False,
    json: _Json = False,
) -> int:
    """Replace the device key. Policies are signed anew, the log begins anew; the old key and log stay readable."""
    from localgpt.crypto.keys import new_device_key
    from localgpt.monitor.keychange import change_key

    state = state_of(ctx)
    if not yes:
        need_terminal("key rotate", "localgpt key rotate --yes")
        say("A new device key will sign your policies, and a new log will begin. The old key and its log are kept.")
    if not yes and not _agreed("Replace the key? [y/N] "):
        say("left as it was")
        return ExitStatus.FAILED
    public_key = state.config.policy_public_key
    _report(change_key(state.paths, new_device_key(), "rotated", public_key=public_key, lost=lost), json=json)
    return ExitStatus.DONE


@app.command(epilog="\b\nExample:\n  localgpt key backup /media/stick/localgpt-key.txt")
def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")],
    passphrase_file: _Passphrase = None,
    json: _Json = False,
) -> None:
    """Write the device key into FILE, sealed with a passphrase. Without the passphrase nobody can use it."""
    from localgpt.crypto import load_device_key
    from localgpt.crypto.backup import seal_key
    from localgpt.crypto.signing import write_new_file

    key = load_device_key(state_of(ctx).paths.device_key)
    write_new_file(file, seal_key(key, _passphrase(passphrase_file, twice=True)))
    if json:
        say_json({"file": str(file), "key_id": key.key_id})
    else:
        say(f"the key {key.key_id} is in {file}, sealed; keep the file and the passphrase apart")


@app.command(
    epilog="""
\b
Example:
  localgpt key restore /media/stick/localgpt-key.txt
\b
Exit status: 0 restored or there already, 3 not a backup, another passphrase, or something must be mended first.
"""
)
def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `key backup` made.")],
    passphrase_file: _Passphrase = None,
    json: _Json = False,
) -> None:
    """Put a key back. A key that is there is kept beside it, and so is its log."""
    from localgpt.crypto.backup import open_key
    from localgpt.crypto.signing import KeyFileUnusable
    from localgpt.monitor.keychange import restore_key

    state = state_of(ctx)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise KeyFileUnusable(
            f"{file}: {error.strerror}", cure="name the file that `localgpt key backup` made"
        ) from error
    key = open_key(data, _passphrase(passphrase_file, twice=False))
    changed = restore_key(state.paths, key, public_key=state.config.policy_public_key)
    if changed is not None:
        _report(changed, json=json)
    elif json:
        say_json({"key_id": key.key_id, "changed": False})
    else:
        say(f"the key {key.key_id} is there already")


def _report(changed: Changed, *, json: bool) -> None:
    if json:
        say_json(
            {
                "key_id": changed.key_id,
                "changed": True,
                "previous": changed.previous,
                "retired": None if changed.retired is None else str(changed.retired),
                "log": None if changed.log is None else str(changed.log),
                "policies": [
                    {"document": p.document, "signed": p.manifest is not None, "problem": p.problem}
                    for p in changed.policies
                ],
                "problem": changed.problem,
            }
        )
        return
    say(f"the device key is {changed.key_id} now")
    if changed.retired is not None:
        say(f"the old one is kept for reading: {changed.retired}")
    if changed.log is not None:
        say(f"its log is kept: {changed.log}")
    for policy in changed.policies:
        say(f"{policy.document}: {policy.problem or 'signed anew'}")
    if changed.problem:
        say(f"warning: {changed.problem}")


def _agreed(prompt: str) -> bool:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _passphrase(file: Path | None, *, twice: bool) -> str:
    """Read it from a file, or ask for it without showing it."""
    if file is not None:
        try:
            return file.read_text("utf-8").split("\n", 1)[0]
        except (OSError, UnicodeDecodeError) as error:
            raise NoPassphrase(f"{file} cannot be read", cure="name a text file with one line") from error
    need_terminal("key", "give --passphrase-file FILE")
    from getpass import getpass

    passphrase = getpass("passphrase: ")
    if twice and getpass("the same again: ") != passphrase:
        raise NoPassphrase("the two are not the same", cure="try again")
    return passphrase
