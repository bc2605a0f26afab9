"""No plan that was made from another by taking grants away allows more: tried in real zygotes, on both rungs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localgpt.sandbox import Executor, Plan, Rung, faults
from localgpt.sandbox.grants import landlock_grants
from tests.sandbox.world import executor

FOLDERS = ("a", "a/b", "a/b/c", "a/d", "e", "e/b")
FILES = tuple(f"{folder}/{name}" for folder in FOLDERS for name in ("x", ".envrc"))
PATHS = (*FOLDERS, *FILES)
# What can be read, what can be written, and where something new can be made.
TRIALS = "; ".join(
    [
        *(f'[ -n "$(cat {path} 2>/dev/null)" ] && echo read {path}' for path in FILES),
        *(f"(: >> {path}) 2>/dev/null && echo write {path}" for path in FILES),
        *(f"(: > {path}/new) 2>/dev/null && rm -f {path}/new && echo make {path}" for path in FOLDERS),
    ]
)

roots = st.lists(st.sampled_from(PATHS), max_size=3, unique=True)
Grants = tuple[list[str], list[str], list[str], list[str]]  # read, write, denied, protected


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """Not in /tmp: commands have one of their own, in which they may do what they like."""
    outside = [
        each for each in (Path.home(), Path("/var/lib"), Path("/opt")) if not each.resolve().is_relative_to("/tmp")
    ]
    usable = next((each for each in outside if os.access(each, os.W_OK)), None)
    if usable is None:
        pytest.skip("no folder outside /tmp can be written")
    with tempfile.TemporaryDirectory(prefix=".localgpt-test-", dir=usable) as base:
        for folder in FOLDERS:
            (Path(base) / folder).mkdir()
        for file in FILES:
            (Path(base) / file).write_text("content\n")
        yield Path(base).resolve()


def plan_of(tree: Path, grants: Grants) -> Plan | None:
    """A plan with exactly these grants beside the system's, None when it is refused."""
    read, write, denied, protected = ([str(tree / path) for path in paths] for paths in grants)
    base = Plan.read_only("/usr")
    try:
        return replace(
            base,
            read_roots=(*base.read_roots, *read),
            write_roots=tuple(write),
            denied=(*base.denied, *denied),
            protected=tuple(protected),
        )
    except faults.PlanInvalid:
        return None


def allowed(tree: Path, grants: Grants, rung: Rung) -> set[str] | None:
    """What commands of the plan can do to the tree, None when such a plan is refused."""
    plan = plan_of(tree, grants)
    if plan is None:
        return None
    try:
        with executor(plan, rung) as running:
            done = running.run(["/bin/sh", "-c", f"cd {tree} 2>/dev/null || exit 0; {TRIALS}; true"])
    except faults.PlanInvalid:
        return None
    return set(done.stdout.decode().splitlines())


@pytest.mark.parametrize("rung", list(Rung))
def test_fewer_grants_allow_no_more(rung: Rung, tree: Path) -> None:
    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.tuples(roots, roots, roots, roots), st.data())
    def check(grants: Grants, data: st.DataObject) -> None:
        read, write, denied, protected = grants
        fewer: Grants = (
            data.draw(st.lists(st.sampled_from(read), unique=True)) if read else [],
            data.draw(st.lists(st.sampled_from(write), unique=True)) if write else [],
            [*denied, *data.draw(roots)],
            [*protected, *data.draw(roots)],
        )
        before, after = allowed(tree, grants, rung), allowed(tree, fewer, rung)
        if before is not None and after is not None:
            assert after <= before, (grants, fewer, after - before)

    check()


@pytest.mark.parametrize("rung", list(Rung))
def test_both_rungs_mean_the_same(rung: Rung, tree: Path) -> None:
    """What a plan says, by its own words: denied is nothing, protected is not written, the rest is the union."""

    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.tuples(roots, roots, roots, st.just([])))
    def check(grants: Grants) -> None:
        found = allowed(tree, grants, rung)
        if found is not None:
            assert found == said_by(grants), grants

    check()


def said_by(grants: Grants) -> set[str]:
    read, write, denied, _ = grants

    def inside(path: str, above: list[str]) -> bool:
        return any(path == each or path.startswith(each + "/") for each in above)

    open_ = [path for path in PATHS if not inside(path, denied)]
    return {
        *(f"read {path}" for path in open_ if path in FILES and inside(path, [*read, *write])),
        *(f"write {path}" for path in open_ if path in FILES and inside(path, write)),
        *(f"make {path}" for path in open_ if path in FOLDERS and inside(path, write)),
    }


def test_a_read_root_inside_a_write_root_is_refused(tree: Path) -> None:
    """It would take writing away where mounts are, and nothing where they are not."""
    with pytest.raises(faults.PlanInvalid) as caught:
        Plan(cwd="/usr", read_roots=("/usr", str(tree / "a/b")), write_roots=(str(tree / "a"),))
    assert caught.value.cure
    assert str(tree / "a/b") not in Plan.workspace_write(tree / "a", read=[tree / "a/b"]).read_roots


def test_a_root_inside_what_is_denied_grants_nothing(tree: Path) -> None:
    plan = Plan(cwd="/usr", read_roots=("/usr", str(tree / "a/b")), write_roots=(), denied=(str(tree / "a"),))
    assert not [path for path, _ in landlock_grants(plan, "/private") if b"/a" in path]


def test_limits_are_no_grants_of_a_plan_without_them() -> None:
    with pytest.raises(faults.PlanInvalid):
        Executor(replace(Plan.read_only("/usr"), cwd="/nowhere"))
