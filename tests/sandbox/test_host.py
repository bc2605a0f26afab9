"""What is reported of hosts that lack something. The lack is real: a filter takes it away from the whole process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from localgpt.sandbox import Rung, landlock, probe_host
from localgpt.sandbox.host import probe_network
from localgpt.sandbox.link import parse_report
from localgpt.sandbox.proof import REQUIRED, missing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux")

LACKING = """
import json, sys
from localgpt.sandbox import kernel, probe_host, seccomp
from localgpt.sandbox.seccomp import Rule
from localgpt.sandbox.syscalls import ARCH
call, error = sys.argv[1], int(sys.argv[2])
kernel.no_new_privileges()
kernel.load_filter(seccomp.assemble(ARCH, (Rule((call,), error),)).code)
report = probe_host()
print(json.dumps([report.rung, report.reason, report.cure, report.landlock_abi]))
"""


def lacking(call: str, error: int) -> tuple[str | None, str, str, int]:
    done = subprocess.run(
        [sys.executable, "-c", LACKING, call, str(error)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    rung, reason, cure, abi = json.loads(done.stdout)
    return rung, reason, cure, abi


def test_this_host() -> None:
    report = probe_host()
    assert report.landlock_abi == landlock.abi()
    assert report.rung is not None
    assert (report.reason == "") is (report.rung is Rung.A)


@pytest.mark.parametrize("call", ["unshare", "mount", "pivot_root", "open_tree", "move_mount"])
def test_without_namespaces_or_mounts_it_is_rung_b_and_says_why(call: str) -> None:
    """EPERM of unshare is a stock container; of mount, a namespace without capabilities (AppArmor's restriction)."""
    rung, reason, cure, _ = lacking(call, 1)
    assert rung == "B"
    assert call in reason or "mount" in reason
    assert "sysctl" not in cure


def test_without_landlock_nothing_runs() -> None:
    rung, reason, cure, abi = lacking("landlock_create_ruleset", 38)
    assert (rung, abi) == (None, 0)
    assert "Landlock" in reason
    assert cure


def test_without_seccomp_nothing_runs() -> None:
    rung, reason, _, _ = lacking("seccomp", 22)
    assert rung is None
    assert "seccomp" in reason


def test_a_broken_restriction_is_noticed() -> None:
    """landlock_restrict_self that answers 0 and does nothing: only trying finds out."""
    rung, reason, _, _ = lacking("landlock_restrict_self", 0)
    assert rung is None
    assert "landlock" in reason


def test_a_filter_that_is_not_there_is_noticed() -> None:
    rung, reason, _, _ = lacking("seccomp", 0)
    assert rung is None
    assert "filter-mounts" in reason


def test_what_was_not_reported_counts_as_failed() -> None:
    assert {name for name, _, _ in missing(Rung.A, ())} == REQUIRED[Rung.A]
    everything = tuple((name, True, "") for name in REQUIRED[Rung.A])
    assert missing(Rung.A, everything) == ()
    assert missing(Rung.A, (*everything, ("landlock", False, "broken")))[0][0] == "landlock"


def test_reports_are_parsed_strictly() -> None:
    text = "good\t1\tdetail\nbad\t0\t\nno-tabs\nodd\t2\tx\n\t1\t\ntruncated\t1"
    assert [*parse_report(text)] == [("good", True, "detail"), ("bad", False, ""), ("", True, "")]


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    for rung in Rung:
        probe_host(rung)
    assert [*tmp_path.iterdir()] == []


def test_whether_hosts_can_be_allowed_one_by_one_is_tried(rung):
    name, held, detail = probe_network(rung)
    assert name == "hosts"
    assert held is (rung is Rung.A and probe_host().rung is Rung.A)
    assert ("finds nobody but the proxy" if held else "without a network namespace") in detail
