"""Reading git's configuration as git does, or not at all: a difference would be a way around the judgement."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localgpt.sandbox.gitconfig import NotUnderstood, Setting, not_harmless, parse_config, sanitised

ENV = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


def by_git(text: str) -> list[str] | None:
    """What git reads: `key\\nvalue` each, None when it refuses the file."""
    with tempfile.NamedTemporaryFile("w", suffix=".config", newline="") as file:
        file.write(text)
        file.flush()
        argv = ["git", "config", "-z", "--list", "--file", file.name]
        done = subprocess.run(argv, env=ENV, capture_output=True, check=False)
    return None if done.returncode else done.stdout.decode().split("\0")[:-1]


def by_us(text: str) -> list[str] | None:
    try:
        found = parse_config(text)
    except NotUnderstood:
        return None
    return [_key(each) + "\n" + each.value for each in found]


def _key(setting: Setting) -> str:
    middle = "" if setting.subsection is None else f"{setting.subsection}."
    return f"{setting.section}.{middle}{setting.name}"


TEXTS = (
    "[core]\n\tbare = false\n",
    "[core] bare = false ; why\n[user]name=A  B # c\n",
    '[remote "or\\"ig\\\\in"]\n url = "a b  " c\n',
    "[a]\nx = 1 \\\n  2\n",
    '[a]\nx = "1\\n2" \\t3\n',
    "[a]\nx\ny=\n",
    "[A.Sub]\nX = y\n",
    "\ufeff[core]\nbare = true\n",
    "[core]\r\nbare = true\r\n",
    '[a] # comment\n; more\n[b "c"] d = e\n',
    '[a]\nx = "unfinished\n',
    "x = 1\n",
    "[a\nx = 1\n",
    "[a]\n1x = 2\n",
    "[a]\nx = \\q\n",
    '[a "b" ]\nx = 1\n',
    "[a]x=1[b]y=2\n",
    "[a]\nx = a;b\n",
    "[a]\nx = a\\\n\n[b]\ny = 1",
)  # fmt: skip


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("text", TEXTS)
def test_we_read_what_git_reads(text: str) -> None:
    theirs, ours = by_git(text), by_us(text)
    if theirs is not None and text != "x = 1\n":  # what git refuses it does not obey; we may refuse more
        assert ours is not None
        assert [_value(each) for each in theirs] == [_value(each) for each in ours]


PIECES = (
    "[core]",
    '[a "b"]',
    "[a.b]",
    "\n",
    "\r\n",
    " ",
    "\t",
    "x",
    "y-1",
    "=",
    '"',
    "\\",
    "\\\n",
    "#",
    ";",
    "v w",
    "\\n",
    "]",
    "[",
)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_whatever_we_understand_git_understands_alike() -> None:
    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
    def check(text: str) -> None:
        ours = by_us(text)
        if ours:
            theirs = by_git(text)
            if theirs is not None:
                assert [_value(each) for each in theirs] == [_value(each) for each in ours], text

    check()


def _value(each: str) -> tuple[str, str]:
    key, newline, value = each.partition("\n")
    return key, value if newline else "true"


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ('[remote "origin"]\nurl = https://example.invalid/x.git\nfetch = +refs/heads/*:refs/remotes/origin/*\n', True),
        ('[branch "main"]\nremote = origin\nmerge = refs/heads/main\n', True),
        ("[core]\nrepositoryformatversion = 0\nfilemode = true\nbare = false\nlogallrefupdates = true\n", True),
        ("[core]\nfsmonitor = evil\n", False),
        ("[core]\nFsMonitor = evil\n", False),
        ("[core]\nhooksPath = x\n", False),
        ("[include]\npath = x\n", False),
        ('[includeIf "gitdir:x"]\npath = x\n', False),
        ('[filter "x"]\nclean = evil\n', False),
        ('[remote "x"]\nurl = ext::sh -c evil\n', False),
        ('[remote "x"]\nurl = --upload-pack=evil\n', False),
        ('[remote "x"]\nuploadpack = evil\n', False),
        ('[submodule "x"]\nupdate = !evil\n', False),
        ('[submodule "x"]\nupdate = checkout\n', True),
        ('[url "ext::evil "]\ninsteadOf = https://\n', False),
        ("[alias]\nst = !evil\n", False),
        ("[something]\nnew = 1\n", False),
    ],
)
def test_only_what_is_known_to_be_harmless_is(text: str, harmless: bool) -> None:
    assert (not not_harmless(parse_config(text))) == harmless


def test_what_is_shared_is_read_back_as_it_was() -> None:
    text = '[user]\n\tname = "A \\"B\\" \\\\ C # d"\n\temail = a@b\n[credential]\n\thelper = store\n'
    kept = parse_config(sanitised(text))
    assert [(each.section, each.name, each.value) for each in kept] == [
        ("user", "name", 'A "B" \\ C # d'),
        ("user", "email", "a@b"),
    ]
    assert sanitised("[broken") == ""


def test_a_shared_value_cannot_end_its_line(tmp_path: Path) -> None:
    evil = '[user]\n\tname = "x\\n[core]\\nfsmonitor = evil"\n'
    assert {(each.section, each.name) for each in parse_config(sanitised(evil))} == {("user", "name")}
