"""Results of checks, as a person, a script, a code-scanning page or a test dashboard reads them.

Source: SARIF 2.1.0 (OASIS, errata 01); the JUnit XML that Jenkins and its relatives read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from localgpt import __version__
from localgpt.cli.output import coloured, say, say_json


class Format(StrEnum):
    """How a report is printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


@dataclass(frozen=True, slots=True)
class Result:
    """One result. `level`: "error", "warning", "note", or "none" for what passed. Lines and columns count from 1."""

    code: str
    level: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    cure: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What one command found. `codes`: what each code means; `summary`: the closing line of the text."""

    command: str
    results: tuple[Result, ...]
    codes: Mapping[str, str]
    summary: str
    more: Mapping[str, object] = field(default_factory=dict)
    show_passed: bool = False


def print_report(report: Report, form: Format) -> None:
    """Print to standard output."""
    if form is Format.JSON:
        say_json({"command": report.command, "results": [_plain(r) for r in report.results], **report.more})
    elif form is Format.SARIF:
        say_json(sarif(report))
    elif form is Format.JUNIT:
        say(junit(report))
    else:
        _print_text(report)


_COLOURS = {"error": "31", "warning": "33", "note": "36"}


def _print_text(report: Report) -> None:
    for result in report.results:
        if result.level == "none":
            if report.show_passed:
                say(f"as it was: {result.message}")
            continue
        where = ":".join(str(part) for part in (result.file, result.line or "", result.column or "") if part)
        say(f"{where}: " * bool(where) + f"{coloured(result.level, _COLOURS[result.level])}: {result.message}")
        say(f"  {result.code}" + (f", cure: {result.cure}" if result.cure else ""))
    say(report.summary)


def _plain(result: Result) -> dict[str, object]:
    return {
        "code": result.code,
        "level": result.level,
        "name": result.name,
        "message": result.message,
        "file": result.file,
        "line": result.line,
        "column": result.column,
        "cure": result.cure,
    }


# --- SARIF ------------------------------------------------------------------------------------------------------


def sarif(report: Report) -> dict[str, object]:
    """A SARIF 2.1.0 log with one run."""
    used = dict.fromkeys(result.code for result in report.results)
    rules = [{"id": code, "shortDescription": {"text": report.codes.get(code, code)}} for code in used]
    driver = {"name": "localgpt", "version": __version__, "semanticVersion": __version__, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "automationDetails": {"id": f"localgpt {report.command}/"},
                "columnKind": "unicodeCodePoints",
                "results": [_sarif_result(result, list(used)) for result in report.results],
            }
        ],
    }


def _sarif_result(result: Result, codes: Sequence[str]) -> dict[str, object]:
    text = f"{result.message}\ncure: {result.cure}" if result.cure else result.message
    body: dict[str, object] = {
        "ruleId": result.code,
        "ruleIndex": codes.index(result.code),
        "level": result.level,
        "kind": "pass" if result.level == "none" else "fail",
        "message": {"text": text},
    }
    if result.file:
        place: dict[str, object] = {"artifactLocation": {"uri": _uri(result.file)}}
        if result.line:
            region = {"startLine": result.line}
            place["region"] = {**region, "startColumn": result.column} if result.column else region
        body["locations"] = [{"physicalLocation": place}]
    return body


def _uri(file: str) -> str:
    """A relative reference for a file beneath the current directory, as code-scanning pages want it."""
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


# --- JUnit ------------------------------------------------------------------------------------------------------


def junit(report: Report) -> str:
    """One test suite; what did not pass is a failed test case."""
    from xml.etree.ElementTree import Element, SubElement, tostring

    failed = sum(result.level in {"error", "warning"} for result in report.results)
    results = report.results or (Result("passed", "none", report.summary, name=report.command),)
    counts = {"tests": str(len(results)), "failures": str(failed), "errors": "0", "skipped": "0"}
    suites = Element("testsuites", counts)
    suite = SubElement(suites, "testsuite", {"name": f"localgpt {report.command}", **counts, "time": "0"})
    for result in results:
        attributes = {"name": _xml(result.name or result.message), "classname": _xml(result.code), "time": "0"}
        if result.file:
            attributes |= {"file": _xml(result.file), "line": str(result.line)}
        case = SubElement(suite, "testcase", attributes)
        if result.level in {"error", "warning"}:
            failure = SubElement(case, "failure", {"message": _xml(result.message), "type": result.code})
            failure.text = _xml(f"{result.file}:{result.line}: {result.message}\n{result.cure}".strip())
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode")


def _xml(text: str) -> str:
    """Text without what XML 1.0 cannot hold, nor what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)
