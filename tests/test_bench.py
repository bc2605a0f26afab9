"""`python -m bench`: every bench is found, and a missed limit is tried once more and then fails."""

from pathlib import Path

import pytest
from bench import __main__ as bench

CHECKOUT = Path(__file__).resolve().parent.parent


def test_every_fast_bench_exists():
    assert set(bench.FAST) <= set(bench.benches())


def write_bench(folder: Path, body: str) -> None:
    (folder / "bench").mkdir()
    (folder / "bench" / "figure.py").write_text(body)


@pytest.mark.parametrize(
    ("body", "status", "runs"),
    [
        ("pass", 0, 1),
        ("raise SystemExit(1)", 1, 2),
        ("import os, sys\nif not os.path.exists('seen'):\n    open('seen', 'w').close()\n    sys.exit(1)", 0, 2),
    ],
    ids=["met", "missed", "met the second time"],
)
def test_limits(tmp_path, monkeypatch, capfd, body, status, runs):
    write_bench(tmp_path, body)
    monkeypatch.setattr(bench, "HERE", tmp_path / "bench")
    assert bench.main([]) == status
    assert capfd.readouterr().out.count("-- figure") == runs
