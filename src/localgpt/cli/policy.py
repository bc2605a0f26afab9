"""``localgpt policy``: check, test and compare policies, before and after they are signed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.policy_edit import edit, grant
from localgpt.cli.policy_show import explain, show
from localgpt.cli.reports import Format, Report, Result, print_report
from localgpt.cli.state import state_of
from localgpt.errors import ConfigError, ExitStatus

if TYPE_CHECKING:
    from localgpt.policy import Document, Policy
    from localgpt.policy.review import Outcome

app = new_app(no_args_is_help=True, help="Check, test, compare, explain and edit policies.")
app.command(name="edit", epilog="\b\nExample:\n  EDITOR=nano localgpt policy edit")(edit)
app.command(
    name="grant",
    epilog="""
\b
Examples:
  localgpt policy grant connect example.org:443
  localgpt policy grant write ~/notes/todo.md --even-when-tainted
""",
)(grant)
app.command(name="show", epilog="\b\nExamples:\n  localgpt policy show\n  localgpt policy show --builtin --json")(show)
app.command(
    name="explain",
    epilog="""
\b
Examples:
  localgpt policy explain write ~/.bashrc
  localgpt policy explain run -- git push --force
  localgpt policy explain connect example.org:443 --tainted
  localgpt policy explain write.protected
""",
)(explain)

Output = Annotated[Format, typer.Option("--output", "-o", help="text, json, sarif (2.1.0) or junit.")]
Json = Annotated[bool, typer.Option("--json", help="The same as --output json.")]
CASES_SUFFIX = ".cases.toml"


class NoDocument(ConfigError):  # noqa: N818 -- named after the condition
    """No document was named, and none is where one is looked for."""

    code = "cli.no-document"


@app.command(
    epilog="""
\b
Examples:
  localgpt policy check                      the policy of this installation
  localgpt policy check LocalGPT.md --output sarif > policy.sarif
\b
A table of cases beside the document (LocalGPT.cases.toml) tells which rules no case shows.
Exit status: 0 nothing found, 1 errors or warnings, 3 the document is no policy.
"""
)
def check(
    ctx: typer.Context,
    documents: Annotated[list[Path] | None, typer.Argument(help="Documents; none: that of this installation.")] = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Notes count as well.")] = False,
    tool: Annotated[list[str] | None, typer.Option("--tool", help="A tool's name that is known elsewhere.")] = None,
    output: Output = Format.TEXT,
    json: Json = False,
) -> int:
    """Find rules that do nothing and rules that do too much: shadowed, unknown, unreachable, too wide, untested."""
    from localgpt.policy.review import CODES

    results: list[Result] = []
    for document in documents or [_own_document(ctx)]:
        results += _check_one(document, tool or [])
    broken = any(result.code.startswith("policy.") for result in results)
    counted = {"error", "warning", "note"} if strict else {"error", "warning"}
    found = sum(result.level in counted for result in results)
    summary = "nothing to complain about" if not results else f"{found} to look at, {len(results) - found} only noted"
    print_report(Report("policy check", tuple(results), CODES, summary), Format.JSON if json else output)
    return ExitStatus.REFUSED if broken else ExitStatus.FAILED if found else ExitStatus.DONE


@app.command(
    name="test",
    epilog="""
\b
Examples:
  localgpt policy test
  localgpt policy test LocalGPT.md --cases more.toml --output junit
  localgpt policy test --builtin            the table of the built-in rules
\b
Exit status: 0 all cases pass, 1 some do not, 2 a table is malformed, 3 the document is no policy.
""",
)
def run_table(
    ctx: typer.Context,
    document: Annotated[Path | None, typer.Argument(help="A document; none: that of this installation.")] = None,
    *,
    cases: Annotated[list[Path] | None, typer.Option("--cases", help="Tables; none: the one beside.")] = None,
    builtin: Annotated[bool, typer.Option("--builtin", help="The shipped rules with their shipped table.")] = False,
    output: Output = Format.TEXT,
    json: Json = False,
) -> int:
    """Run tables of cases: what the policy is meant to decide, decided by the engine itself."""
    results: list[Result] = []
    if builtin:
        results += _test_builtin()
    else:
        found = document or _own_document(ctx)
        policy = _policy_of(_read_document(found))
        for table in cases or [_cases_beside(found)]:
            results += [_case_result(outcome, str(table)) for outcome in _run([policy], _read(table))]
    failed = sum(result.level == "error" for result in results)
    summary = f"{len(results) - failed} cases pass, {failed} fail"
    report = Report("policy test", tuple(results), {"case": "A case of the table."}, summary)
    print_report(report, Format.JSON if json else output)
    return ExitStatus.FAILED if failed else ExitStatus.DONE


@app.command(
    epilog="""
\b
Examples:
  localgpt policy diff                       what was signed last, and what is there now
  localgpt policy diff main/LocalGPT.md LocalGPT.md
  localgpt policy diff --signed NEW.md
\b
Exit status: 0 nothing became more permissive, 1 something did or may have, 3 a document is no policy.
"""
)
def diff(
    ctx: typer.Context,
    old: Annotated[Path | None, typer.Argument(help="The old document.")] = None,
    new: Annotated[Path | None, typer.Argument(help="The new document.")] = None,
    *,
    signed: Annotated[bool, typer.Option("--signed", help="Compare what was signed last with the one named.")] = False,
    output: Output = Format.TEXT,
    json: Json = False,
) -> int:
    """Say what became more permissive between two policies. What is not listed did not."""
    from localgpt.cli.trust import open_store
    from localgpt.policy import builtin_policy
    from localgpt.policy.review import compare

    if old is not None and (new is None) is not signed:
        raise typer.BadParameter("name two documents, or one with --signed, or none")
    if old is None or signed:
        store = open_store(state_of(ctx))
        last, after = store.last_signed(), old or store.document_path
        before_policy = builtin_policy() if last is None else _policy_of(_parse(last))
    else:
        before_policy, after = _policy_of(_read_document(old)), new or old
    document = _read_document(after)
    found = compare(before_policy, _policy_of(document))
    results = [
        Result(
            "diff.looser", "warning", each.what + (f" — {each.example}" if each.example else ""), str(after), each.line
        )
        for each in found.looser
    ] + [Result("diff.stricter", "note", each.what, str(after), each.line) for each in found.stricter]
    codes = {"diff.looser": "More is allowed than before.", "diff.stricter": "Less is allowed than before."}
    summary = f"{len(found.looser)} looser, {len(found.stricter)} stricter"
    print_report(Report("policy diff", tuple(results), codes, summary), Format.JSON if json else output)
    return ExitStatus.FAILED if found.looser else ExitStatus.DONE


# --- what the commands share ------------------------------------------------------------------------------------


def _own_document(ctx: typer.Context) -> Path:
    from localgpt.cli.trust import open_store

    path = open_store(state_of(ctx)).document_path
    if not path.exists():
        raise NoDocument(f"there is no {path}", cure="name a document, or run `localgpt init`")
    return path


def _read(path: Path) -> bytes:
    from localgpt.policy.errors import DocumentUnreadable

    try:
        return path.read_bytes()
    except OSError as error:
        raise DocumentUnreadable(f"{path}: {error.strerror}", cure="name a file that can be read") from error


def _parse(data: bytes) -> Document:
    from localgpt.policy import parse_document

    return parse_document(data)


def _read_document(path: Path) -> Document:
    return _parse(_read(path))


def _policy_of(document: Document) -> Policy:
    from localgpt.policy.check import policy_of

    return policy_of(document)


def policy_in(path: Path) -> Policy:
    """The policy of one document, signed or not."""
    return _policy_of(_read_document(path))


def _cases_beside(document: Path) -> Path:
    return document.with_name(document.stem + CASES_SUFFIX)


def _check_one(path: Path, more_tools: Sequence[str]) -> list[Result]:
    """The findings of one document; an error of its own is one, so that every format can show it."""
    from localgpt.policy.errors import DocumentError
    from localgpt.policy.review import review
    from localgpt.tools import DECLARATIONS

    try:
        document = _read_document(path)
    except DocumentError as error:
        position = error.position
        line, column = (position.line, position.column) if position else (0, 0)
        return [Result(error.code, "error", error.message, str(path), line, column, error.cure or "")]
    table, exercised = _cases_beside(path), None
    if table.exists():
        outcomes = _run([_policy_of(document)], _read(table))
        exercised = frozenset(line for rule in document.rules for line in [rule.line] if _decides(rule.name, outcomes))
    tools = (*(declaration.name for declaration in DECLARATIONS), *more_tools)
    return [
        Result(f.code, f.severity.value, f.message, str(path), f.line, f.column, f.cure)
        for f in review(document, tools=tools, exercised=exercised)
    ]


def _decides(rule: str, outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.decision.rule == rule for outcome in outcomes)


def _run(policies: Sequence[Policy], table: bytes) -> Sequence[Outcome]:
    from localgpt.policy.review import run_table

    return run_table(policies, table)


def _test_builtin() -> list[Result]:
    """Every shipped table: of the built-in rules, and of each policy that a document may extend."""
    from localgpt.policy import builtin_policy
    from localgpt.policy.document import POLICY_NAMES
    from localgpt.policy.shipped import shipped_directory

    results: list[Result] = []
    for name in sorted(table.stem for table in shipped_directory("cases").glob("*.toml")):
        extending = f'```toml policy\nextends = "{name}"\n```\n'.encode()
        policy = _policy_of(_parse(extending)) if name in POLICY_NAMES else builtin_policy()
        results += _test_shipped(name, policy)
    return results


def _test_shipped(name: str, policy: Policy) -> list[Result]:
    from localgpt.policy.builtin import shipped

    table = f"cases/{name}.toml"
    return [_case_result(outcome, table) for outcome in _run([policy], shipped(table))]


def _case_result(outcome: Outcome, table: str) -> Result:
    case = outcome.case
    if outcome.passed:
        return Result("case", "none", "as expected", table, case.line, name=case.name)
    return Result("case", "error", f"{case.name}: {outcome.sentence}", table, case.line, name=case.name)
