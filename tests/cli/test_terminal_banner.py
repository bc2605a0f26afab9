"""The banner and the status line say what the session reports, and no more."""

from dataclasses import replace

import pytest

from localgpt.cli.terminal.banner import banner_rows, show_usage, status_parts, status_text
from localgpt.monitor.events import SessionStatus
from localgpt.wire import Usage
from tests.cli.terminal_sim import MONO, STATUS


def banner(status: SessionStatus, width: int = 200) -> list[str]:
    return banner_rows(status, "1.2.3", MONO, width)


DEMO_LINE = "model: smollm2 (demo; /model NAME switches), tools off (/tools on)"


def test_one_line_a_fact() -> None:
    assert banner(STATUS) == [
        "LocalGPT 1.2.3",
        DEMO_LINE,
        "policy: valid",
        "confinement: rung A proven (namespaces + Landlock + seccomp)",
        "project: /home/ann/work (trusted)",
    ]


def test_effects_off_says_why_and_claims_no_rung() -> None:
    text = "\n".join(banner(replace(STATUS, rung="none", effects_off="no Landlock; use kernel 5.13 or newer")))
    assert "effects are off, talking works: no Landlock; use kernel 5.13 or newer" in text
    assert "rung" not in text
    assert "proven" not in text


@pytest.mark.parametrize("rung", ["none", "", "C", "A+"])
def test_an_unknown_rung_is_not_called_proven(rung: str) -> None:
    assert "proven" not in "\n".join(banner(replace(STATUS, rung=rung)))


@pytest.mark.parametrize(
    ("state", "cure"),
    [
        ("unsigned", "localgpt sign"),
        ("missing", "localgpt init"),
        ("tampered", "localgpt verify"),
        ("manifest-corrupted", "localgpt verify"),
    ],
)
def test_a_policy_that_is_not_valid_names_the_cure(state: str, cure: str) -> None:
    assert f"policy: {state}; {cure}" in banner(replace(STATUS, policy_state=state))


def test_an_untrusted_folder_is_named() -> None:
    assert "not trusted" in banner(replace(STATUS, project_trusted=False))[-1]
    assert ("class:status.warn", "untrusted folder") in status_parts(replace(STATUS, project_trusted=False))


def test_foreign_names_are_escaped() -> None:
    status = replace(STATUS, demo_tier=False, model="x\x1b[2J\u202e", provider="p\n", project="/a\nb")
    text = "\n".join(banner(status))
    assert "model: x␛[2J\\u{202e} (p␊), tools off" in text
    assert "$'/a\\nb'" in text
    assert all(part.isprintable() for _, part in status_parts(status))


def test_status_line() -> None:
    assert status_text(STATUS) == "smollm2 | tools off | policy valid | rung A | 1.2k in 56 out $? | session abcd"
    off = replace(STATUS, effects_off="x", tools_on=True)
    assert ("class:status.bad", "effects off") in status_parts(off)


@pytest.mark.parametrize(
    ("usage", "shown"),
    [
        (Usage(), "0 in 0 out"),
        (Usage(999, 1000), "999 in 1.0k out $?"),
        (Usage(2_500_000, 1, 0, 0, 12_345), "2.5M in 1 out $0.0123"),
        (Usage(1, 1, 0, 0, 0), "1 in 1 out $0"),
    ],
)
def test_usage(usage: Usage, shown: str) -> None:
    assert show_usage(usage) == shown


def test_the_demo_is_told_in_one_row_of_a_small_terminal() -> None:
    rows = banner(replace(STATUS, model="smollm2-135m-instruct"), 80)
    assert rows[1] == "model: smollm2-135m-instruct (demo; /model NAME switches), tools off (/tools on)"
