"""`scripts/check.py`: what is chosen, and that a failed step is told and fails the whole."""

import sys
from pathlib import Path

import pytest
from scripts import check


def names(*arguments: str) -> list[str]:
    return [each.name for each in check.chosen(arguments)]


def test_everything_without_arguments():
    assert names() == ["format", "lint", "types", "imports", "readme", "benches", "tests"]


def test_only_named_steps():
    assert names("--only", "types,lint") == ["lint", "types"]


def test_pytest_arguments_choose_the_tests():
    (tests,) = check.chosen(["-k", "policy", "-x"])
    assert tests.argv[-3:] == ("-k", "policy", "-x")


def test_unknown_step_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        check.chosen(["--only", "lnit"])
    assert caught.value.code == 2
    assert "no such step: lnit" in capsys.readouterr().err


def test_every_program_of_a_step_is_installed():
    programs = {each.argv[0] for each in check.steps(())}
    assert [name for name in programs if not (Path(sys.prefix) / "bin" / name).exists()] == []


def test_failure_is_shown_and_counted(monkeypatch, capsys):
    steps = (
        check.Step("good", ("python", "-c", "print('quiet')")),
        check.Step("bad", ("python", "-c", "print('the reason'); raise SystemExit(1)")),
        check.Step("tests", ("python", "-c", "print('== 3 passed in 0.1s ==')"), shown=True),
    )
    monkeypatch.setattr(check, "chosen", lambda _: steps)
    assert check.main([]) == 1
    output = capsys.readouterr().out
    assert "the reason" in output
    assert "quiet" not in output
    assert "FAILED  bad" in output
    assert output.splitlines()[-1] == "== 3 passed in 0.1s =="
