"""Every attempt of ``sandbox/probes``: seen to succeed without the sandbox, refused inside it, on both rungs."""

from __future__ import annotations

import ast
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.sandbox.probing import BARE, Rows, run_suite
from tests.sandbox.verdicts import check_bare, check_confined
from tests.sandbox.world import executor

from localgpt.sandbox.faults import NotConfined
from localgpt.sandbox.probes import catalogue, suite
from localgpt.sandbox.probes.catalogue import Attempt, Verdict
from localgpt.sandbox.probes.contained import Container
from localgpt.sandbox.probes.launchers import CommandLine, Confined, attack_plan
from localgpt.sandbox.probes.world import planted
from localgpt.sandbox.proof import Rung

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux")

DECISIONS = Path(__file__).resolve().parents[2] / "docs/adr"
ATTEMPTS = catalogue.attempts()


@pytest.fixture(scope="module")
def rows() -> Rows:
    return run_suite()


@pytest.mark.parametrize("rung", list(Rung), ids=lambda rung: f"rung{rung}")
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_refused(request: pytest.FixtureRequest, rows: Rows, attempt: Attempt, rung: Rung) -> None:
    check_confined(request, rows, attempt, rung)


@pytest.mark.parametrize(
    "attempt", [each for each in ATTEMPTS if each.succeeds_bare(os.geteuid())], ids=lambda attempt: attempt.name
)
def test_succeeds_without_the_sandbox(rows: Rows, attempt: Attempt) -> None:
    check_bare(rows.of(BARE, attempt), attempt)


@pytest.mark.parametrize("rung", list(Rung), ids=lambda rung: f"rung{rung}")
def test_nobody_outside_was_touched(tmp_path: Path, rung: Rung) -> None:
    with planted(tmp_path) as world, executor(attack_plan(world), rung) as running:
        chosen = [each for each in ATTEMPTS if each.file in {"processes", "writing"}]
        results = [*suite.run(chosen, Confined(running), world)]
        assert len(results) == len(chosen)
        assert Path(f"/proc/{world.victim}").exists()
        assert Path(str(world.facts["victim_file"])).read_text() == "canary: victim file"
        assert {path.name for path in Path(str(world.facts["outside"])).iterdir()} == {
            "disposable", "disposable-folder", "link", "program", "victim",
        }  # fmt: skip
        assert running.run(["true"]).exit_status == 0


CALLS = [each for each in ATTEMPTS if each.file not in {"resources", "protected"}]


@pytest.mark.nightly
@pytest.mark.parametrize("abi", [3, 4, 5, 6])
def test_older_landlock_holds_the_same(tmp_path: Path, abi: int) -> None:
    with planted(tmp_path) as world, executor(attack_plan(world), Rung.B, abi) as running:
        results = [*suite.run(CALLS, Confined(running), world)]
    listed = catalogue.names_not_held(Rung.B)
    through = [each for each in results if each.outcome not in suite.ALLOWED[each.attempt.item.verdict]]
    assert len(results) == len(CALLS)
    assert {each.attempt.name for each in through} <= listed


@pytest.mark.nightly
def test_a_plan_with_hosts_opens_nothing_else(tmp_path: Path) -> None:
    """Its filter allows internet sockets, for the way to the proxy."""
    with (
        planted(tmp_path) as world,
        executor(replace(attack_plan(world), hosts=("example.org:443",)), Rung.A) as running,
    ):
        results = [*suite.run(CALLS, Confined(running), world)]
    through = [each for each in results if each.outcome not in suite.ALLOWED[each.attempt.item.verdict]]
    assert [each.attempt.name for each in through] == ["proxy_from_the_environment"]  # that is how it works


def test_every_item_is_tried() -> None:
    """By an attempt of its own, or by a test that it names; but for what it says nothing here can stop."""
    tried = {each.item.number for each in ATTEMPTS}
    items = catalogue.items().values()
    assert [each.number for each in items if each.number not in tried and not each.tests] == [
        each.number for each in items if each.verdict is Verdict.OUTSIDE
    ]
    assert {each.number for each in items} == set(range(1, max(tried) + 1))


def test_attempts_have_names_of_their_own_and_reasons() -> None:
    names = [each.name for each in ATTEMPTS]
    assert len(names) == len(set(names))
    assert not [each.name for each in ATTEMPTS if each.bare in {"never", "ours"} and not each.because]
    assert {each.bare for each in ATTEMPTS} == {"user", "ordinary", "root", "never", "ours"}


def test_what_rung_b_does_not_hold_is_fixed() -> None:
    listed = [name for entry in catalogue.not_held_on_b() for name in entry.attempts]
    assert set(listed) <= {each.name for each in ATTEMPTS}
    assert len(listed) == len(set(listed))
    assert not catalogue.names_not_held(Rung.A)
    text = (catalogue.DATA / "HAZARDS.md").read_text(encoding="utf-8")
    for entry in catalogue.not_held_on_b():
        assert f"| {entry.what} | {entry.why} |" in text
        assert entry.attempts or entry.tests
        assert [*DECISIONS.glob(f"{entry.decision}-*.md")]


def test_other_launchers_start_in_a_pid_namespace_only(tmp_path: Path) -> None:
    """Where an attempt got through it could signal whatever its user may."""
    with planted(tmp_path) as world, pytest.raises(NotConfined):
        CommandLine("none", [], world, Container("pid:[1]"))


def test_what_goes_for_the_server_never_runs_elsewhere() -> None:
    elsewhere = [each for each in ATTEMPTS if each.bare != "ours"]
    calls = ("getppid", "kill(-1", "kill(0", "PRIO_USER")
    for program in {each.program for each in elsewhere}:
        for node in ast.parse(program.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name in {each.name for each in elsewhere}:
                assert not [call for call in calls if call in ast.unparse(node)], node.name
