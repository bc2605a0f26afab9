"""Findings of a scan as SARIF, for code-scanning pages and CI.

Source: OASIS SARIF 2.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from localgpt import __version__

if TYPE_CHECKING:
    from localgpt.injection import Finding, Report

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_MEANS: Final = {
    "phrase": "words that try to give a model orders",
    "wording": "a stretch that reads like an order to a model",
    "control-token": "a control token of a chat template",
    "boundary": "a guess at the wrapper of foreign content",
    "hidden": "invisible characters",
    "concealed": "HTML that a browser does not show",
    "bidi": "characters that reorder what a reader sees",
    "tags": "text spelled in invisible tag characters",
    "mixed-script": "a word in letters of two scripts that look alike",
    "marks": "stacked combining marks",
    "terminal": "a terminal command",
    "link": "a link that carries something away or runs code",
    "unread": "more encoded text than can be looked at",
}

Place = Callable[[str, int], tuple[int, int]]


def log(results: Iterable[tuple[str, Report, str]], place: Place) -> dict[str, Any]:
    """One run with a result for each finding at or above the threshold."""
    rules = [{"id": f"injection/{name}", "shortDescription": {"text": words}} for name, words in _MEANS.items()]
    driver = {"name": "localgpt scan", "version": __version__, "rules": rules}
    found = [
        _result(name, each, text, place)
        for name, report, text in results
        for each in report.findings
        if each.milli >= 0
    ]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": found}],
    }


def _result(name: str, finding: Finding, text: str, place: Place) -> dict[str, Any]:
    line, column = place(text, finding.start)
    end_line, end_column = place(text, finding.end)
    region = {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}
    artifact = {"uri": quote(name) if name != "-" else "stdin"}
    words = f"{_MEANS[finding.kind.value]} (view {finding.view.value}, score {finding.score:.3f})"
    return {
        "ruleId": f"injection/{finding.kind.value}",
        "level": "warning",
        "message": {"text": words},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
    }
