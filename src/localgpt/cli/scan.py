"""``localgpt scan``: what in a text looks like an attempt to command a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from localgpt.cli.lazy import new_app
from localgpt.cli.output import say, say_json, say_json_line
from localgpt.errors import ConfigError, ExitStatus

if TYPE_CHECKING:
    from localgpt.injection import Report

app = new_app()

_PIECE: Final = 1 << 20
_SUFFIXES: Final = frozenset({".md", ".markdown", ".mdx", ".mdc", ".txt", ".rst", ".html", ".htm"})
_NAMES: Final = frozenset({"mcp.json", ".mcp.json", "server.json", "manifest.json", ".cursorrules", ".windsurfrules"})
_SKIPPED: Final = frozenset({".git", ".hg", ".svn", "node_modules", ".venv", "__pycache__", ".tox"})


@app.command(
    epilog="\b\nExamples:\n  localgpt scan README.md\n  localgpt scan --check --sarif scan.sarif .\n"
    "  curl -s https://example.org | localgpt scan --explain -\n\n"
    "\b\nExit status: 0 done, 1 with --check when something is flagged, 2 a file cannot be read.\n\n"
    "A finding is advice: nothing is allowed because none was found."
)
def scan(  # noqa: PLR0917 -- one option each
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE|DIR|-]…", help="Standard input when none is given.")
    ] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help='Each input line is {"text": …}; so is each result.')] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    sarif: Annotated[
        Path | None, typer.Option("--sarif", help="Write what is flagged as SARIF 2.1.0 too; - prints it.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every view of the text and what matched in it.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="End with status 1 when something is flagged.")] = False,
) -> int:
    """Scan files, folders (Markdown, skills, MCP manifests) or a stream for attempts to command a model."""
    names = paths or ["-"]
    if jsonl:
        return _scan_lines(names, check=check)
    results = [(name, *_scan_file(name)) for name in _expanded(names)]
    if json:
        say_json([{"file": name, **_object(report)} for name, report, _ in results])
    elif sarif != Path("-"):
        _print(results, explain=explain)
    if sarif is not None:
        _write_sarif(results, sarif)
    return ExitStatus.FAILED if check and any(report.flagged for _, report, _ in results) else ExitStatus.DONE


# --- reading -----------------------------------------------------------------------------------------------------


def _expanded(names: list[str]) -> Iterator[str]:
    """Files as they are named, folders as what a model might read of them."""
    for name in names:
        path = Path(name)
        if name == "-" or not path.is_dir():
            yield name
            continue
        for found in sorted(path.rglob("*")):
            wanted = found.suffix.lower() in _SUFFIXES or found.name.lower() in _NAMES
            if wanted and not _SKIPPED.intersection(found.relative_to(path).parts) and found.is_file():
                yield str(found)


def _pieces(name: str) -> Iterator[str]:
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            while data := file.read(_PIECE):
                yield decoder.decode(data)
            yield decoder.decode(b"", final=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{name}: {reason}", cure="localgpt scan FILE, or - for standard input") from error


def _scan_file(name: str) -> tuple[Report, str]:
    """The report, and the beginning of the text for excerpts and line numbers."""
    from localgpt.injection.streaming import scan_stream

    kept: list[str] = []

    def noted() -> Iterator[str]:
        for piece in _pieces(name):
            kept.append(piece)
            yield piece

    return scan_stream(noted()), "".join(kept)


def _scan_lines(names: list[str], *, check: bool) -> int:
    from localgpt.injection import scan as scan_text

    flagged = False
    for name in names:
        for number, line in enumerate(_lines(name), 1):
            report = scan_text(_text_of(line, f"{name}:{number}"))
            flagged |= report.flagged
            say_json_line(_object(report))
    return ExitStatus.FAILED if check and flagged else ExitStatus.DONE


def _lines(name: str) -> Iterator[str]:
    rest = ""
    for piece in _pieces(name):
        *whole, rest = (rest + piece).split("\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def _text_of(line: str, where: str) -> str:
    import json

    try:
        text = json.loads(line)["text"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise ConfigError(f'{where}: not {{"text": "…"}}', cure="one JSON object a line") from error
    if not isinstance(text, str):
        raise ConfigError(f'{where}: "text" is not a string', cure="one JSON object a line")
    return text


# --- printing ----------------------------------------------------------------------------------------------------


def _object(report: Report) -> dict[str, Any]:
    found = [
        {
            "kind": each.kind.value,
            "start": each.start,
            "end": each.end,
            "view": each.view.value,
            "score": each.score,
            "detail": each.detail,
        }
        for each in report.findings
    ]
    return {"flagged": report.flagged, "score": report.score, "findings": found}


def _print(results: list[tuple[str, Report, str]], *, explain: bool) -> None:
    from localgpt.cli.terminal.escape import escape_line

    for name, report, text in results:
        shown = [each for each in report.findings if explain or each.milli > -3000]
        if not shown and not report.flagged and len(results) > 1:
            continue
        verdict = "looks like an attack" if report.flagged else "nothing that stands out"
        say(f"{name}: {verdict} (score {report.score:.3f})")
        for each in shown:
            line, column = _place(text, each.start)
            excerpt = escape_line(text[each.start : each.end], 100)
            detail = f" {each.detail}" if each.detail else ""
            what = f"{each.kind.value}{detail}, view {each.view.value}, score {each.score:.3f}"
            say(f"  {line}:{column}  {what}: {excerpt}")
        if explain:
            _print_views(text)
    if len(results) > 1:
        say(f"{sum(report.flagged for _, report, _ in results)} of {len(results)} files are flagged")


def _print_views(text: str) -> None:
    from localgpt.cli.terminal.escape import escape_line
    from localgpt.injection.scanning import explained

    for view, matches, excerpt in explained(text):
        say(f"  view {view.value}: {', '.join(matches) or 'no phrase'}")
        say(f"    {escape_line(excerpt, 160)}")


def _place(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _write_sarif(results: list[tuple[str, Report, str]], target: Path) -> None:
    from localgpt.cli.sarif import log

    document = log(results, _place)
    if target == Path("-"):
        say_json(document)
        return
    import json

    with target.open("w", encoding="utf-8") as file:
        _dump(document, file, json)


def _dump(document: Any, file: TextIO, json: Any) -> None:  # noqa: ANN401 -- a JSON document, and the module
    json.dump(document, file, indent=1)
    file.write("\n")
