"""The sandbox is a library of its own: the standard library and our error tree, nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import localgpt.sandbox

PACKAGE = Path(localgpt.sandbox.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
ALLOWED = ("localgpt.sandbox", "localgpt.errors")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_standard_library_is_imported(path: Path) -> None:
    foreign = {
        name
        for name in imported(path)
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(ALLOWED)
    }
    assert not foreign


def test_it_works_without_any_installed_package(tmp_path: Path) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from localgpt.sandbox import Executor, Plan
with Executor(Plan.workspace_write(sys.argv[2])) as executor:
    print(executor.run(["echo", "alone"]).stdout)
print(sorted(name for name in sys.modules if name.startswith("localgpt") and not name.startswith("localgpt.sandbox")))
"""
    argv = [sys.executable, "-I", "-S", "-c", code, str(PACKAGE.parent.parent), str(tmp_path.resolve())]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["b'alone\\n'", "['localgpt', 'localgpt.errors']"]
