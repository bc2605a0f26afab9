"""`localgpt policy`: check, test, diff, explain, show, edit, grant, in every format."""

from __future__ import annotations

import json
import os
from typing import Any
from xml.etree import ElementTree as ET

import pexpect
import pytest
from pydantic import ValidationError
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Sarif

from tests.cli.command import Home, home
from tests.cli.test_sign import document, terminal

__all__ = ["home"]

WIDE = '# Rules\n\n```toml policy\n[[deny]]\nargv = ["git", "push"]\n\n[[allow]]\nwrite = ["/**"]\n```\n'
STRICT = '# Rules\n\n```toml policy\n[[deny]]\nargv = ["git", "push"]\n```\n'
BROKEN = "# Rules\n\n```toml policy\n[[deny]]\nargs = ['rm']\n```\n"
CASES = """version = 1
case = [
  { run = ["git", "push"], code = "rule.deny" },
  { run = ["rm"], verdict = "deny" },
]
"""


@pytest.fixture
def files(home: Home) -> Home:
    for name, text in (("wide.md", WIDE), ("strict.md", STRICT), ("broken.md", BROKEN), ("strict.cases.toml", CASES)):
        (home.cwd / name).write_text(text)
    return home


def sarif(text: str) -> list[dict[str, Any]]:
    """The results of a SARIF log that holds against the schema."""
    Sarif.model_validate_json(text)
    (run,) = json.loads(text)["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    return list(run["results"])


def test_the_schema_refuses_what_is_no_sarif():
    with pytest.raises(ValidationError):
        Sarif.model_validate_json('{"version": "2.1.0", "runs": [{"tool": {"driver": {}}}]}')


def test_check_in_every_format(files):
    text = files.run("policy", "check", "wide.md")
    assert (text.status, text.out.splitlines()[0]) == (1, "wide.md:7:1: warning: allow write (line 7) allows '/**'")
    (result,) = sarif(files.run("policy", "check", "wide.md", "--output", "sarif").out)
    assert (result["ruleId"], result["level"]) == ("check.too-wide", "warning")
    assert result["locations"] == [
        {"physicalLocation": {"artifactLocation": {"uri": "wide.md"}, "region": {"startLine": 7, "startColumn": 1}}}
    ]
    suite = ET.fromstring(files.run("policy", "check", "wide.md", "-o", "junit").out)
    assert (suite.get("failures"), suite[0][0].get("classname")) == ("1", "check.too-wide")
    assert files.run("policy", "check", "wide.md", "--json").json["results"][0]["line"] == 7


def test_a_document_that_is_no_policy_is_a_result_in_every_format(files):
    for form, find in (
        ("text", "policy.unknown-key"),
        ("sarif", "policy.unknown-key"),
        ("junit", "policy.unknown-key"),
    ):
        done = files.run("policy", "check", "broken.md", "strict.md", "--output", form)
        assert (done.status, find in done.out) == (3, True)
    (result, *_) = sarif(files.run("policy", "check", "broken.md", "-o", "sarif").out)
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 5, "startColumn": 1}


def test_a_table_of_cases_is_run_and_tells_what_is_untested(files):
    done = files.run("policy", "test", "strict.md")
    assert done.status == 1
    assert "strict.cases.toml:4: error: run rm: expected deny, and built-in gives allow run.confined" in done.out
    assert done.out.endswith("1 cases pass, 1 fail\n")
    suite = ET.fromstring(files.run("policy", "test", "strict.md", "-o", "junit").out)
    assert [(case.get("name"), len(case)) for case in suite[0]] == [("run git push", 0), ("run rm", 1)]
    assert [result["kind"] for result in sarif(files.run("policy", "test", "strict.md", "-o", "sarif").out)] == [
        "pass",
        "fail",
    ]
    assert files.run("policy", "check", "strict.md").status == 0
    (files.cwd / "strict.cases.toml").write_text("version = 1\ncase = [{ run = ['ls'], verdict = 'allow' }]\n")
    assert "check.missing-case" in files.run("policy", "check", "strict.md").out
    assert files.run("policy", "check", "--strict", "strict.md").status == 1
    assert files.run("policy", "test", "--builtin").status == 0
    (files.cwd / "strict.cases.toml").write_text("version = 2\n")
    assert files.run("policy", "test", "strict.md").status == 2


def test_diff_says_what_became_more_permissive(files):
    done = files.run("policy", "diff", "strict.md", "wide.md")
    assert done.status == 1
    assert "allow write '/**' is new" in done.out
    assert "write.outside" in done.out
    back = files.run("policy", "diff", "wide.md", "strict.md")
    assert (back.status, back.out.splitlines()[0]) == (0, "strict.md:7: note: allow write '/**' is gone")
    assert [r["ruleId"] for r in sarif(files.run("policy", "diff", "strict.md", "wide.md", "-o", "sarif").out)] == [
        "diff.looser"
    ]
    assert files.run("policy", "diff", "strict.md").status == 2


def test_explain_and_show(files):
    told = files.ok("policy", "explain", "--policy", "strict.md", "--json", "run", "--", "sh", "-c", "make; git push")
    assert (told.json["verdict"], told.json["code"]) == ("deny", "rule.deny")
    assert ["git", "push"] in told.json["effects"][0]["commands"]
    assert "write.protected" in files.ok("policy", "explain", "write", "~/.bashrc").out
    assert files.ok("policy", "explain", "connect.metadata").out.startswith("connect.metadata: deny\n")
    assert files.run("policy", "explain", "rad").status == 2
    tainted = files.ok("policy", "explain", "--tainted", "--policy", "wide.md", "write", "/srv/x").out
    assert "not counted, because a stranger's text is in the context" in tainted
    files.ok("init")
    document(files).write_text(STRICT)
    files.ok("sign", "--yes")
    shown = files.ok("policy", "show", "--builtin", "--json").json
    assert [rule["patterns"] for rule in shown["rules"]] == [["git", "push"]]
    assert shown["builtin"]["read.secret"] == "deny"
    assert "deny  argv  git, push" in files.ok("policy", "show").out


# --- editing ----------------------------------------------------------------------------------------------------


def editor(home: Home, *scripts: str) -> None:
    """An editor that runs one shell script a call on the file; afterwards it changes nothing."""
    folder = home.path.parent / "editor"
    folder.mkdir(exist_ok=True)
    for number, script in enumerate(scripts):
        (folder / str(number)).write_text(script)
    program = folder / "edit"
    program.write_text(
        f"#!/bin/sh\nn=$(cat {folder}/count 2>/dev/null || echo 0)\necho $((n + 1)) > {folder}/count\n"
        f"[ -e {folder}/$n ] && . {folder}/$n\nexit 0\n"
    )
    program.chmod(0o755)
    home.extra["EDITOR"] = f"{program} --wait"


@pytest.fixture
def signed(files: Home) -> Home:
    files.ok("init")
    document(files).write_text(STRICT)
    files.ok("sign", "--yes")
    return files


def test_edit_checks_shows_signs_and_installs(signed):
    wide = signed.cwd / "wide.md"
    editor(signed, 'printf "[[deny\\n" > "$2"', f'cp {signed.cwd}/broken.md "$2"', f'cp {wide} "$2"')
    child = terminal(signed, "policy", "edit")
    child.expect("LOOSER   deny argv 'git', 'push' is gone", timeout=60)  # prose alone is a policy, and a looser one
    child.expect("leave it as it was")
    child.sendline("e")
    child.expect(r"policy\.unknown-key")
    child.expect("leave it as it was")
    child.sendline("e")
    child.expect("LOOSER   allow write")
    child.expect("leave it as it was")
    assert document(signed).read_text() == STRICT
    child.sendline("s")
    child.expect("signed and installed, number 2")
    child.expect(pexpect.EOF)
    assert document(signed).read_text() == WIDE
    assert signed.ok("verify").out.startswith("Policy: VALID")
    assert "policy.signed" in signed.ok("audit", "show", "--kind", "policy.signed").out
    assert list((signed.state / "policy" / "editing").glob("edit-*")) == []


def test_edit_leaves_everything_as_it_was_when_told_so(signed):
    editor(signed, f'cp {signed.cwd}/wide.md "$2"', "exit 3")
    child = terminal(signed, "policy", "edit")
    child.expect("leave it as it was", timeout=60)
    child.sendline("x")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    child = terminal(signed, "policy", "edit")
    child.expect("ended with status 3", timeout=60)
    child.expect(pexpect.EOF)
    assert document(signed).read_text() == STRICT
    assert signed.run("policy", "edit").status == 2


def test_edit_does_not_overwrite_what_somebody_else_wrote_meanwhile(signed):
    editor(signed, f'cp {signed.cwd}/wide.md "$2"; echo more >> {document(signed)}')
    child = terminal(signed, "policy", "edit")
    child.expect("leave it as it was", timeout=60)
    child.sendline("s")
    child.expect("changed meanwhile")
    child.expect(pexpect.EOF)
    assert document(signed).read_text() == STRICT + "more\n"


def test_one_editor_at_a_time(signed):
    editor(signed, f"{os.environ.get('SHELL', '/bin/sh')} -c 'read x < {signed.cwd}/fifo'")
    os.mkfifo(signed.cwd / "fifo")
    first = terminal(signed, "policy", "edit")
    lock = signed.state / "policy" / "editing"
    with (signed.cwd / "fifo").open("w") as fifo:  # opens once the first editor waits
        second = terminal(signed, "policy", "edit")
        second.expect("editing the policy already", timeout=60)
        second.expect(pexpect.EOF)
        fifo.write("go\n")
    first.expect("nothing changed", timeout=60)
    first.expect(pexpect.EOF)
    assert lock.is_dir()


def test_a_grant_is_shown_then_signed(signed):
    child = terminal(signed, "policy", "grant", "connect", "example.org:443", "--reason", "docs")
    child.expect_exact('allow = [{ connect = ["example.org:443"], reason = "docs" }]', timeout=60)
    child.expect("Sign it")
    child.sendline("y")
    child.expect("signed, number 2")
    child.expect(pexpect.EOF)
    assert signed.ok("policy", "explain", "connect", "example.org:443").out.startswith("ALLOW  rule.allow")
    assert document(signed).read_text().startswith(STRICT)
    child = terminal(signed, "policy", "grant", "connect", "*")
    child.expect("no rule can mean exactly", timeout=60)
    child.expect(pexpect.EOF)
    document(signed).write_text(STRICT)
    child = terminal(signed, "policy", "grant", "connect", "example.net")
    child.expect("Sign it", timeout=60)
    child.sendline("y")
    child.expect("the policy is tampered")
    child.expect(pexpect.EOF)
