"""Run the examples of a Markdown file: every ``console`` block, in an empty home and an empty project.

    python scripts/examples.py README.md

In a block, a line ``$ command`` runs in a shell; the lines below it, up to the next ``$`` or the end, are what it
prints, where ``...`` stands for any text (alone on a line: any number of lines). A line ``[exit status 3]`` closes an
example whose command does not return 0. Blocks of one file share the home and the project, from top to bottom.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STATUS = re.compile(r"^\[exit status (\d+)\]$")
TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Example:
    """One command with what it prints and returns. `line` is its line number in the file, from 1."""

    line: int
    command: str
    output: str
    status: int


def examples(text: str) -> Iterator[Example]:
    """Yield the examples of a Markdown text, in order."""
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1)) + 1
        lines = block.group(1).splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            yield parse(first + start, lines[start][2:], lines[start + 1 : end])


def parse(line: int, command: str, output: Sequence[str]) -> Example:
    """Make an example of a command and the lines below it."""
    closing = STATUS.match(output[-1]) if output else None
    shown = output[:-1] if closing else output
    return Example(line, command, "\n".join(shown).strip(), int(closing.group(1)) if closing else 0)


def matches(expected: str, found: str) -> bool:
    """Tell whether `found` is `expected`, with ``...`` standing for any text."""
    lines = (r"(?:.*\n)*?" if each.strip() == "..." else line_pattern(each) + r"\n" for each in expected.splitlines())
    return re.fullmatch("".join(lines), f"{found.strip()}\n" if found.strip() else "") is not None


def line_pattern(line: str) -> str:
    """Return the regular expression of one expected line."""
    return r".*".join(re.escape(each) for each in line.rstrip().split("...")) + r"[ \t]*"


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which only `home` is known, and the programs of this interpreter's environment."""
    programs = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    return {"HOME": str(home), "PATH": programs, "LANG": "C.UTF-8", "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"}


def problem(example: Example, project: Path, home: Path) -> str:
    """Run one example and return "" or what differs."""
    done = subprocess.run(
        ["sh", "-c", example.command],
        cwd=project,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode == example.status and matches(example.output, done.stdout):
        return ""
    expected = f"{example.output}\n[exit status {example.status}]"
    return f"$ {example.command}\n--- expected\n{expected}\n--- found\n{done.stdout}[exit status {done.returncode}]"


def check(document: Path) -> tuple[int, list[str]]:
    """Run the examples of one file; return how many there are and what went wrong."""
    found = tuple(examples(document.read_text("utf-8")))
    with tempfile.TemporaryDirectory(prefix="localgpt-examples-") as folder:
        home, project = Path(folder, "home"), Path(folder, "project")
        home.mkdir()
        project.mkdir()
        problems = [(each, problem(each, project, home)) for each in found]
    return len(found), [f"{document}:{each.line}: {text}" for each, text in problems if text]


def main(documents: Sequence[str]) -> int:
    """Check every document and return 0 when all examples hold."""
    failed = 0
    for document in documents:
        count, problems = check(Path(document))
        failed += len(problems)
        print("\n\n".join([*problems, f"{document}: {count} examples, {len(problems)} wrong"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
