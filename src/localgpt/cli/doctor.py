"""``localgpt doctor``: what is wrong here, with a cure for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from localgpt.cli.checks.finding import Finding, fail, worst
from localgpt.cli.lazy import new_app
from localgpt.cli.output import Mark, say, say_json, sign
from localgpt.cli.state import State, state_of
from localgpt.errors import ExitStatus

app = new_app()


@app.command(
    epilog="""
\b
✓ well   ⚠ works, but worth knowing   ✗ does not work or is not safe (exit status 1)
\b
Examples:
  localgpt doctor
  localgpt doctor --json
"""
)
def doctor(ctx: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """Check the installation, directories, keys, policy, log, sandbox and models. Nothing is changed or contacted."""
    state = state_of(ctx)
    report = [(group, finding) for group, check in _groups() for finding in _run(group, check, state)]
    if json:
        rows = [
            {"group": group, "check": f.check, "mark": f.mark.value, "text": f.text, "cure": f.cure}
            for group, f in report
        ]
        say_json({"worst": worst(f for _, f in report).value, "findings": rows})
    else:
        _print(report)
    return ExitStatus.FAILED if worst(f for _, f in report) is Mark.FAIL else ExitStatus.DONE


def _groups() -> list[tuple[str, Callable[[State], Iterator[Finding]]]]:
    from localgpt.cli.checks import host, install, models, trust

    return [
        ("installation", install.findings),
        ("configuration and trust", trust.findings),
        ("sandbox", host.findings),
        ("models", models.findings),
    ]


def _run(group: str, check: Callable[[State], Iterator[Finding]], state: State) -> list[Finding]:
    """Run one group; a check that breaks is a finding of its own, and the others still run."""
    found: list[Finding] = []
    try:
        found.extend(check(state))
    except Exception as error:  # noqa: BLE001 -- the doctor must survive what it looks for
        found.append(
            fail(group, f"the check itself failed: {type(error).__name__}: {error}", "localgpt --debug doctor")
        )
    return found


def _print(report: list[tuple[str, Finding]]) -> None:
    last = ""
    for group, finding in report:
        if group != last:
            say(f"{'' if not last else chr(10)}{group}")
            last = group
        _line(finding)
    counts = {mark: sum(f.mark is mark for _, f in report) for mark in Mark}
    say(f"\n{counts[Mark.OK]} well, {counts[Mark.WARN]} worth knowing, {counts[Mark.FAIL]} wrong")


def _line(finding: Finding) -> None:
    import sys

    from localgpt.cli.output import safe

    sys.stdout.write(f"  {sign(finding.mark)} {finding.check}: {safe(finding.text)}\n")
    if finding.cure:
        sys.stdout.write(f"      → {safe(finding.cure)}\n")
