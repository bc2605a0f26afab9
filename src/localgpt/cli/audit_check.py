"""``localgpt audit verify``, ``head``, ``prove`` and ``check-proof``: what can be shown, to oneself and to others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from localgpt.cli.output import safe, say, say_json
from localgpt.cli.state import state_of
from localgpt.errors import ExitStatus

if TYPE_CHECKING:
    from localgpt.audit.report import Report

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_VERIFY_HELP: Final = """
\b
Exit status: 0 intact or nothing logged yet, 1 no log where there was one, 3 tampered or cut off (the first bad entry
is named) or the device key cannot be used.
\b
Examples:
  localgpt audit verify
  localgpt audit verify --json
  localgpt audit verify --new          only what was appended since the last time
"""


def verify(
    ctx: typer.Context,
    *,
    new: Annotated[bool, typer.Option("--new", help="Begin where the last verification ended.")] = False,
    json: _Json = False,
) -> int:
    """Check every entry, who wrote it, the tree and its checkpoints, and that no acknowledged entry is missing."""
    from localgpt.cli.audit_verify import verified

    state = state_of(ctx)
    directory = state.base_paths.audit_dir
    report = verified(state, new=new)
    if json:
        say_json({**_as_json(report), "directory": str(directory)})
    else:
        _print(report)
        if report.is_tampered:
            say(f"cure: keep a copy of {directory}, find out who could write there, then: localgpt audit recover")
    if report.is_tampered:
        return ExitStatus.REFUSED
    return ExitStatus.FAILED if "audit.emptied" in {finding.code for finding in report.findings} else ExitStatus.DONE


_HEAD_HELP: Final = """
\b
Examples:
  localgpt audit head
  localgpt audit head > /media/usb/localgpt.head
"""


def head(ctx: typer.Context, json: _Json = False) -> int:
    """Print what to write down: the log's identity and its last checkpoint."""
    from localgpt.cli.audit_verify import last_head

    found = last_head(state_of(ctx))
    if json:
        say_json(found)
    else:
        sys.stdout.write("".join(f"{safe(str(found[name]))}\n" for name in ("identity", "checkpoint") if found[name]))
    return ExitStatus.DONE


def _as_json(report: Report) -> dict[str, object]:
    return {
        "verdict": report.verdict.value,
        "completeness": report.completeness.value,
        "freshness": report.freshness.value,
        "entries": report.entries,
        "sealed": report.sealed,
        "pinned": report.pinned,
        "first_bad": report.first_bad,
        "findings": [{"code": f.code, "seq": f.seq, "detail": f.detail} for f in report.findings],
        "pins": [{"tier": p.tier.value, "where": p.where, "problem": p.problem} for p in report.pins],
        "origin": report.origin,
        "identity": report.identity,
    }


def _print(report: Report) -> None:
    sealed = f", {report.sealed} of them sealed" if report.sealed else ""
    say(f"Audit log: {report.verdict.value.upper()}, {report.entries} entries{sealed}")
    say(f"completeness: {report.completeness.value}{_of_pins(report)}")
    say(f"freshness: {report.freshness.value}{_of_freshness(report)}")
    if report.first_bad is not None:
        say(f"first bad entry: {report.first_bad}")
    for finding in report.findings:
        where = "" if finding.seq is None else f"entry {finding.seq}: "
        say(f"{finding.code}: {where}{finding.detail}")


def _of_pins(report: Report) -> str:
    tiers = [f"{pin.tier.value} ({pin.where})" for pin in report.pins if not pin.problem]
    return f"; compared with: {', '.join(['the head beside the log', *tiers])}"


def _of_freshness(report: Report) -> str:
    if not report.pinned:
        return "; no pin is beyond the reach of this user's other programs: see localgpt audit head"
    return f"; {report.pinned} of {report.entries} entries are pinned beyond this user's reach"


_PROVE_HELP: Final = """
\b
Examples:
  localgpt audit prove 1234 > entry.tlog-proof
"""


def prove(ctx: typer.Context, seq: Annotated[int, typer.Argument(help="The entry's number.", min=0)]) -> int:
    """Print a proof that one entry is in the log; it convinces someone who has neither the log nor a key of yours."""
    from localgpt.audit.proof import prove as make

    sys.stdout.write(make(state_of(ctx).base_paths.audit_dir, seq).decode())
    return ExitStatus.DONE


_CHECK_HELP: Final = """
\b
Examples:
  localgpt audit check-proof entry.tlog-proof --identity "$(head -1 localgpt.head)"
\b
Exit status: 0 proven, 3 not proven.
"""


def check_proof(
    proof: Annotated[Path, typer.Argument(help="The proof.", exists=True, dir_okay=False)],
    identity: Annotated[str, typer.Option("--identity", help="The log's verifier key, from `audit head`.")],
    json: _Json = False,
) -> int:
    """Check such a proof, with nothing but the verifier key of the log."""
    from localgpt.audit.proof import check_proof as check
    from localgpt.crypto.note import NoteKey

    proven = check(proof.read_bytes(), NoteKey.parse(identity))
    fields = proven.entry.to_json()
    if json:
        say_json({"proven": True, "size": proven.checkpoint.size, "origin": proven.checkpoint.origin, "entry": fields})
    else:
        say(f"proven: entry {proven.entry.seq} of {proven.checkpoint.origin}, which had {proven.checkpoint.size} then")
        say(" ".join(f"{name}={value}" for name, value in fields.items()))
    return ExitStatus.DONE


_LEGACY_HELP: Final = """
\b
Examples:
  localgpt audit legacy
  localgpt audit legacy ~/old/localgpt.audit.jsonl --json
\b
Exit status: 0 the chain is whole, 1 there is no such file, 3 it is broken (the first line is named).
"""


def legacy(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="The file; by default the one in the state directory.")] = None,
    json: _Json = False,
) -> int:
    """Read and verify the log of the Rust LocalGPT: an unkeyed chain, which shows only what was not repaired."""
    from dataclasses import asdict

    from localgpt.audit.legacy import LEGACY_NAME, read_legacy

    path = state_of(ctx).base_paths.state_dir / LEGACY_NAME if file is None else file
    entries = list(read_legacy(path))
    broken = [entry for entry in entries if entry.problem]
    if json:
        say_json({"entries": [asdict(entry) for entry in entries], "first_bad": broken[0].line if broken else None})
    else:
        for entry in entries:
            say(f"{entry.line}  {entry.ts}  {entry.action}  {entry.source}  {entry.detail}  {entry.problem}".rstrip())
        say(f"{len(entries)} lines, {'BROKEN at line ' + str(broken[0].line) if broken else 'chain whole'}; no key: a")
        say("log rewritten as a whole would look the same")
    return ExitStatus.REFUSED if broken else ExitStatus.DONE


def add_checks(app: typer.Typer) -> None:
    """Add these commands to the group."""
    app.command(epilog=_VERIFY_HELP)(verify)
    app.command(epilog=_HEAD_HELP)(head)
    app.command(epilog=_PROVE_HELP)(prove)
    app.command("check-proof", epilog=_CHECK_HELP)(check_proof)
    app.command(epilog=_LEGACY_HELP)(legacy)
