"""What is written is true: every test, module, file and link that a document names exists."""

import ast
import re
from pathlib import Path

import pytest
from scripts import claims
from scripts.bootstrap import CHECKOUT

THREATS = CHECKOUT / "docs/threats.md"
COLUMNS = ("id", "attacker", "asset", "attack", "defence", "test", "remains")
DOCUMENTS = sorted((*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("bench/*.md")))
TEST = re.compile(r"tests/[\w/]+\.py(?:::\w+)*")
MODULE = re.compile(r"`(localgpt(?:\.\w+)+)`")


def rows(text: str) -> list[dict[str, str]]:
    """Return the rows of every seven-column table in a Markdown text."""
    found = []
    for line in text.splitlines():
        cells = [each.strip() for each in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == len(COLUMNS) and cells[0] != "id":
            found.append(dict(zip(COLUMNS, cells, strict=True)))
    return found


def names_in(file: Path) -> set[str]:
    """Return the names of tests in a file: functions, classes, and ``Class::function``."""
    names = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names |= {
                node.name,
                *(f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)),
            }
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    return names


def missing_tests(text: str) -> list[str]:
    """Return what `text` names as a test and does not exist."""
    missing = []
    for named in sorted(set(TEST.findall(text))):
        file, _, name = named.partition("::")
        if not (CHECKOUT / file).is_file() or (name and name not in names_in(CHECKOUT / file)):
            missing.append(named)
    return missing


def missing_modules(names: set[str]) -> list[str]:
    """Return the dotted names that are neither a module nor a package of the source tree."""
    places = {each: CHECKOUT / "src" / each.replace(".", "/") for each in names}
    return sorted(each for each, path in places.items() if not path.with_suffix(".py").is_file() and not path.is_dir())


THREAT_ROWS = rows(THREATS.read_text("utf-8"))
CLAIMS = claims.claims(claims.LIST.read_text("utf-8"))


def test_threats_are_listed_once():
    ids = [row["id"] for row in THREAT_ROWS]
    assert len(ids) >= 10
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("row", THREAT_ROWS, ids=lambda row: row["id"])
def test_a_threat_names_tests_and_modules_that_exist(row):
    assert missing_tests(row["test"]) == []
    assert missing_modules(set(MODULE.findall(row["defence"]))) == []
    assert MODULE.search(row["defence"])
    assert TEST.search(row["test"]) or row["test"] == "none yet"
    assert all(row.values())


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_is_backed_by_modules_and_tests_that_exist(claim):
    assert claim.tests
    assert missing_tests(" ".join(claim.tests)) == []
    assert claim.mechanism
    assert missing_modules(set(claim.mechanism)) == []
    assert claim.rung in {"A", "B", "any"}
    assert claim.assumption


def test_claims_are_listed_once():
    assert len({each.id for each in CLAIMS}) == len(CLAIMS) > 0


def test_the_readme_claims_what_the_list_claims():
    assert claims.main([]) == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_what_a_document_names_exists(document):
    text = document.read_text("utf-8")
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text)
    assert [each for each in links if not (document.parent / each).exists()] == []
    assert missing_tests(text) == []
    assert missing_modules(set(MODULE.findall(text))) == []
    benches = re.findall(r"python -m bench\.(\w+)", text)
    runnable = {path.stem for path in CHECKOUT.glob("bench/*.py")} | {
        path.parent.name for path in CHECKOUT.glob("bench/*/__main__.py")
    }
    assert [each for each in benches if each not in runnable] == []


@pytest.mark.parametrize("adr", sorted(CHECKOUT.glob("docs/adr/*.md")), ids=lambda path: path.stem)
def test_a_decision_has_number_status_and_consequences(adr):
    text = adr.read_text("utf-8")
    assert text.startswith(f"# ADR {adr.stem[:4]}: ")
    assert re.search(r"^Status: (proposed|accepted|superseded by ADR \d{4})", text, re.MULTILINE)
    assert "\n## Consequences\n" in text


class TestTheChecksThemselves:
    """A check that cannot fail is worth nothing."""

    def test_a_test_that_does_not_exist_is_found(self):
        assert missing_tests("`tests/test_docs.py::no_such_test`") == ["tests/test_docs.py::no_such_test"]
        assert missing_tests("`tests/no_such_file.py`") == ["tests/no_such_file.py"]

    def test_a_test_that_exists_is_not(self):
        here = "tests/test_docs.py::TestTheChecksThemselves::test_a_test_that_exists_is_not"
        assert missing_tests(f"{here} tests/test_docs.py::test_threats_are_listed_once tests/test_docs.py") == []

    def test_a_module_that_does_not_exist_is_found(self):
        assert missing_modules({"localgpt.canon", "localgpt.policy", "localgpt.nothing"}) == ["localgpt.nothing"]

    def test_a_claim_without_a_field_is_refused(self):
        with pytest.raises(TypeError):
            claims.claims('[[claim]]\nid = "x"\nsentence = "y"\n')

    def test_a_readme_without_a_place_is_refused(self):
        with pytest.raises(claims.NoPlaceForClaims):
            claims.with_table("# Title\n", CLAIMS)
