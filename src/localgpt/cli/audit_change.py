"""``localgpt audit recover``, ``prune``, ``export``, ``pin-service`` and ``install-service``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from localgpt.cli.output import say
from localgpt.cli.state import state_of
from localgpt.errors import AuditError, ExitStatus

_RECOVER_HELP: Final = """
\b
After a restored backup, a moved machine or a lost end: the log is set aside, and a new one begins that says so.
\b
Exit status: 0 nothing to recover or begun anew, 1 left as it was, 2 this is no terminal.
"""


def recover(ctx: typer.Context) -> int:
    """Explain why the log cannot go on, and begin a new one that names it.

    Works in a terminal only, and asks you to type a word: no script may do this for you.
    """
    from localgpt.audit.recovery import begin_anew
    from localgpt.cli.audit_verify import verified
    from localgpt.cli.signing import need_terminal
    from localgpt.crypto import load_device_key

    need_terminal("audit recover")
    state = state_of(ctx)
    report = verified(state)
    if not report.is_tampered:
        say(f"nothing to recover: {report.entries} entries, {report.verdict.value}, {report.completeness.value}")
        return ExitStatus.DONE
    for finding in report.findings:
        say(f"{finding.code}: {finding.detail}")
    say(f"{report.entries} entries are good. The log is kept beside the new one, whose first entry names it;")
    say("from then on every verification tells that something was lost here.")
    sys.stdout.write('Type "lost" to begin a new log: ')
    sys.stdout.flush()
    if sys.stdin.readline().strip() != "lost":
        say("left as it was")
        return ExitStatus.FAILED
    aside = begin_anew(state.base_paths.audit_dir, load_device_key(state.paths.device_key), report, "accepted-loss")
    say(f"begun; the old log is in {aside}")
    return ExitStatus.DONE


_EXPORT_HELP: Final = """
\b
Examples:
  localgpt audit export > log.jsonl
  localgpt audit export --format syslog --since 1d | logger --no-act
  localgpt audit export --format ocsf
\b
Exit status: 0, or 3 when an entry cannot be what was written: nothing after it is exported.
"""


def export(
    ctx: typer.Context,
    *,
    format_: Annotated[str, typer.Option("--format", "-f", help="jsonl, syslog (RFC 5424), otlp or ocsf.")] = "jsonl",
    since: Annotated[str, typer.Option("--since", help="Only since then: 15m, 2h, 3d, or a date.")] = "",
    session: Annotated[str, typer.Option("--session", help="Only sessions whose id begins so.")] = "",
) -> int:
    """Print entries for other programs, one a line, each with the log's name and its leaf: a copy is a witness."""
    from localgpt.audit.export import FORMATS, exported
    from localgpt.audit.query import Query
    from localgpt.cli.audit_told import moment

    if format_ not in FORMATS:
        raise typer.BadParameter(f"{format_!r} is no format; formats are {', '.join(FORMATS)}")
    query = Query(session=session, since_us=moment(since))
    for line in exported(state_of(ctx).base_paths.audit_dir, format_, query):
        sys.stdout.write(line + "\n")
    return ExitStatus.DONE


_PRUNE_HELP: Final = """
\b
Examples:
  localgpt audit prune --session 20261128-1530
  localgpt audit prune --older-than 90d
"""


def prune(
    ctx: typer.Context,
    *,
    session: Annotated[str, typer.Option("--session", help="The session whose details are erased.")] = "",
    older_than: Annotated[str, typer.Option("--older-than", help="Every session last written before: 90d.")] = "",
) -> int:
    """Erase the encrypted details of sessions. Entries, tree and every verdict stay what they were."""
    from localgpt.audit.bodies import Bodies
    from localgpt.audit.log import AuditLog
    from localgpt.cli.audit_told import moment
    from localgpt.crypto import load_device_key

    if not session and not older_than:
        raise typer.BadParameter("name a --session, or --older-than")
    state = state_of(ctx)
    bodies = Bodies(state.base_paths.audit_dir)
    chosen = [session] if session else bodies.sessions(before_us=moment(older_than))
    if not chosen:
        say("nothing to prune")
        return ExitStatus.DONE
    log = AuditLog.open(state.base_paths.audit_dir, key=load_device_key(state.paths.device_key))
    try:
        for each in chosen:
            count, size = bodies.erase(each)
            log.append("log.pruned", session_pruned=each, bodies=count, body_bytes=size)
            say(f"{each}: {count} details, {size} bytes")
    finally:
        log.close()
    return ExitStatus.DONE


def pin_service(
    socket: Annotated[Path, typer.Option("--socket", help="Where it listens.")],
    state: Annotated[Path, typer.Option("--state", help="Where it remembers, a directory of its own user's.")],
) -> int:
    """Run the pin service: as another user than the one whose log it pins."""
    from localgpt.audit.pin_service import PinService

    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        service = PinService(socket, state)
    except OSError as error:
        raise AuditError(f"{socket}: {error.strerror}", cure="name a socket in a directory of this user's") from error
    say(f"pinning; socket {socket}")
    sys.stdout.flush()
    service.serve()
    return ExitStatus.DONE


_INSTALL_HELP: Final = """
\b
Run as root, once for the machine. It makes the system user `localgpt-pin` and a systemd unit that runs the pin service.
\b
Examples:
  sudo localgpt audit install-service
  localgpt audit install-service --print
"""


def install_service(*, print_: Annotated[bool, typer.Option("--print", help="Only print the unit.")] = False) -> int:
    """Install the pin service of another user: it follows the log, entry by entry, and never goes back."""
    from localgpt.cli.pin_install import install, unit

    if print_:
        sys.stdout.write(unit())
        return ExitStatus.DONE
    for line in install():
        say(line)
    return ExitStatus.DONE


def add_changes(app: typer.Typer) -> None:
    """Add these commands to the group."""
    app.command(epilog=_RECOVER_HELP)(recover)
    app.command(epilog=_EXPORT_HELP)(export)
    app.command(epilog=_PRUNE_HELP)(prune)
    app.command("pin-service", hidden=True)(pin_service)
    app.command("install-service", epilog=_INSTALL_HELP)(install_service)
