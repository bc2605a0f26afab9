"""``localgpt sandbox``: what confines commands here; test it; run one command in it."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import Mark, safe, say, say_json, sign
from localgpt.cli.state import state_of
from localgpt.errors import ExitStatus

if TYPE_CHECKING:
    from localgpt.cli.confined import Outcome, Wish
    from localgpt.monitor.events import Approver
    from localgpt.sandbox import HostReport

app = new_app(no_args_is_help=True, help="What confines commands here; test it; run one command in it.")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Profile(StrEnum):
    """What a command may change."""

    WORKSPACE_WRITE = "workspace-write"
    READ_ONLY = "read-only"
    BUILD = "build"
    NETWORK = "network"


@app.command(
    epilog="\b\nExample:\n  localgpt sandbox status --json\n\n"
    "\b\nExit status: 0 proven, 3 nothing can be proven here, so that no command runs."
)
def status(json: _Json = False) -> int:
    """Print what this host offers, and what a zygote started now has proven."""
    from dataclasses import replace

    from localgpt.sandbox import probe_host
    from localgpt.sandbox.host import probe_network

    report = probe_host()
    if report.proof is not None:
        mechanisms = (*report.proof.mechanisms, probe_network())
        report = replace(report, proof=replace(report.proof, mechanisms=mechanisms))
    if json:
        say_json(_report_object(report))
    else:
        _print_report(report)
    return ExitStatus.REFUSED if report.proof is None else ExitStatus.DONE


@app.command(
    name="test",
    epilog="\b\nExample:\n  localgpt sandbox test\n\n"
    "\b\nExit status: 0 every attempt failed as it must, 3 one of them succeeded, or nothing runs here.",
)
def attempt_escapes(ctx: typer.Context, json: _Json = False) -> int:
    """Try to escape: plant secrets and listeners, run commands that go for them, report what each got."""
    from localgpt.cli.escapes import try_escapes

    attempts = try_escapes(state_of(ctx).environ)
    failed = [attempt for attempt in attempts if not attempt.held]
    if json:
        rows = [{"name": a.name, "held": a.held, "detail": a.detail} for a in attempts]
        say_json({"passed": not failed, "attempts": rows})
    else:
        for attempt in attempts:
            _line(Mark.OK if attempt.held else Mark.FAIL, attempt.name, attempt.detail)
        say(f"\n{len(attempts) - len(failed)} of {len(attempts)} held")
    return ExitStatus.REFUSED if failed else ExitStatus.DONE


@app.command(
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog="""
\b
Examples:
  localgpt sandbox run -- make test
  localgpt sandbox run --profile read-only -- grep -rn TODO .
  localgpt sandbox run --profile build -- make
  localgpt sandbox run --read /opt/data --timeout 10 -- sh -c 'wc -l /opt/data/*'
  localgpt sandbox run --allow-host example.org -- curl -sS https://example.org/
  localgpt sandbox run --learn -- make
\b
Exit status: the command's own; 124 it ran out of time; 3 denied by the policy, or nothing can be
proven here; 2 a folder or option is wrong. The command reads nothing from standard input.
""",
)
def run(
    ctx: typer.Context,
    argv: Annotated[list[str], typer.Argument(metavar="-- ARGV...", help="Program and arguments.")],
    *,
    profile: Annotated[Profile, typer.Option("--profile", help="What may be changed.")] = Profile.WORKSPACE_WRITE,
    write: Annotated[list[Path] | None, typer.Option("--write", help="A folder it may change as well.")] = None,
    read: Annotated[list[Path] | None, typer.Option("--read", help="A folder it may read as well.")] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="HOST or HOST:PORT it may reach."),
    ] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0.001, help="Seconds.")] = None,
    learn: Annotated[bool, typer.Option("--learn", help="Watch, and propose what to grant.")] = False,
    json: _Json = False,
    raw: Annotated[bool, typer.Option("--raw", help="Pass output through byte for byte.")] = False,
) -> int:
    """Run one command in the current folder exactly as the shell tool would: decided, logged, confined."""
    from math import isfinite

    from localgpt.cli.confined import Wish, run_confined

    if timeout is not None and not isfinite(timeout):
        raise typer.BadParameter("a time limit is a finite number of seconds", param_hint="--timeout")
    wish = Wish(
        argv=tuple(argv),
        folder=Path.cwd(),
        writable=profile is not Profile.READ_ONLY,
        profile=profile.value,
        read=tuple(read or ()),
        write=tuple(write or ()),
        hosts=tuple(allow_host or ()),
        timeout_s=timeout,
        learn=learn,
    )
    outcome = run_confined(state_of(ctx), wish, _approver(wish))
    if json:
        say_json(_as_object(outcome))
    else:
        _pass_through(outcome, raw=raw)
    return ExitStatus.TIMED_OUT if outcome.completed.timed_out else outcome.completed.exit_status


def _approver(wish: Wish) -> Approver:
    """Whoever can be asked about further hosts of a command that has some: a person at the terminal, or nobody."""
    from localgpt.cli.terminal.approval import DenyingApprover

    asks = wish.hosts or wish.learn or wish.profile == Profile.NETWORK.value
    if not asks or sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return DenyingApprover()
    from localgpt.cli.ask import open_front

    return open_front(plain=False)


def _as_object(outcome: Outcome) -> dict[str, object]:
    from dataclasses import asdict

    done = outcome.completed
    return {
        "argv": [word.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for word in done.argv],
        "exit_status": done.exit_status,
        "signal": done.signal,
        "timed_out": done.timed_out,
        "limit": done.limit,
        "duration_s": round(done.duration_s, 4),
        "stdout": done.stdout.decode("utf-8", "backslashreplace"),
        "stderr": done.stderr.decode("utf-8", "backslashreplace"),
        "stdout_bytes": done.stdout_total,
        "stderr_bytes": done.stderr_total,
        "verdict": outcome.decision.verdict.value,
        "code": outcome.decision.code,
        "rung": outcome.proof.rung.value,
        "denied": [
            {"want": d.want.value, "subject": d.subject, "why": d.why, "grant": d.grant or None} for d in outcome.denied
        ],
        "proposed": _options(outcome),
        "connections": [
            {"host": c.host, "port": c.port, "code": c.code, "about": c.about, "sent": c.sent, "received": c.received}
            for c in done.connections
        ],
        "left": asdict(done.left),
    }


def _options(outcome: Outcome) -> list[str]:
    """What to add to the command line, one word after the other."""
    return [word for each in outcome.proposed for word in (each.option, each.grant)]


def _pass_through(outcome: Outcome, *, raw: bool) -> None:
    from localgpt.monitor.results import about

    done = outcome.completed
    for stream, data in ((sys.stdout, done.stdout), (sys.stderr, done.stderr)):
        if raw:
            stream.flush()
            stream.buffer.write(data)
        else:
            stream.write(safe(data.decode("utf-8", "backslashreplace")))
        stream.flush()
    if said := about(done.left):
        sys.stderr.write(f"localgpt: {safe(said)}\n")
    if done.limit:
        sys.stderr.write(
            f"localgpt: ended at a limit after {done.duration_s:.1f} s, with all it started: {done.limit}\n"
        )
    if done.timed_out:
        sys.stderr.write(f"localgpt: stopped at its time limit after {done.duration_s:.1f} s, with all it started\n")
    for denial in () if raw else outcome.denied:
        if denial.subject != "time":
            sys.stderr.write(f"localgpt: denied: {safe(str(denial))}\n")
    if outcome.proposed:
        words = shlex.join(["localgpt", "sandbox", "run", *_options(outcome), "--", *done.argv])
        sys.stderr.write(f"localgpt: learned: what it asked for is granted by\n  {safe(words)}\n")


def _report_object(report: HostReport) -> dict[str, object]:
    from localgpt.sandbox.protection import names_by_protection

    proof = report.proof
    return {
        "rung": "none" if proof is None else proof.rung.value,
        "reason": report.reason,
        "cure": report.cure,
        "system": report.system,
        "kernel": report.kernel,
        "machine": report.machine,
        "landlock_abi": report.landlock_abi,
        "start_ms": None if proof is None else round(proof.duration_ms, 1),
        "protected_names": dict(() if proof is None else names_by_protection(proof.rung)),
        "mechanisms": [] if proof is None else [{"name": n, "held": h, "detail": d} for n, h, d in proof.mechanisms],
    }


def _print_report(report: HostReport) -> None:
    from localgpt.sandbox.protection import names_by_protection

    say(f"{report.system} {report.kernel} on {report.machine}, Landlock ABI {report.landlock_abi}")
    if report.proof is None:
        say(f"proven: nothing, so no command runs: {report.reason}")
    else:
        say(f"proven: rung {report.proof.rung.value}, by a zygote started now, in {report.proof.duration_ms:.0f} ms")
        if report.reason:
            say(f"why not rung A: {report.reason}")
    if report.cure:
        say(f"cure: {report.cure}")
    for name, held, detail in () if report.proof is None else report.proof.mechanisms:
        _line(Mark.OK if held else Mark.WARN, name, detail)
    for how, what in () if report.proof is None else names_by_protection(report.proof.rung):
        say(f"names that other programs obey, {how}: {what}")


def _line(mark: Mark, name: str, detail: str) -> None:
    sys.stdout.write(f"  {sign(mark)} {name}: {safe(detail)}\n")
