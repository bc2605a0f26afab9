"""Plans in Seatbelt's language. There is no macOS here: what is tested is the text, and what it says when read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.sandbox import Plan
from localgpt.sandbox.faults import HostsUnsupported, PlanInvalid
from localgpt.sandbox.probes.catalogue import DATA
from localgpt.sandbox.seatbelt import PROGRAM, Profile, decides, named, parse, profile

HOME = "/Users/ada"
PROJECT = f"{HOME}/project"
TEMPORARY = "/private/var/folders/xy/localgpt-1"
PLANS = {
    "workspace-write": Plan(
        PROJECT,
        ("/opt/tools",),
        (PROJECT,),
        denied=(f"{PROJECT}/secret",),
        protected=(f"{PROJECT}/.git/hooks", f"{PROJECT}/.envrc"),
    ),
    "read-only": Plan(PROJECT, (PROJECT,), ()),
    "quotes": Plan(f'{HOME}/a"b) (allow default', (), (f'{HOME}/a"b) (allow default',)),
}
GOLDEN = DATA / "macos"
NAMES = st.text(st.characters(exclude_characters="/\0\n\r", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in {".", ".."}
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: "/Users/" + "/".join(parts))


def allows(text: Profile, operation: str, path: str = "") -> bool:
    return decides(parse(text.text), dict(text.parameters), operation, path)


@pytest.mark.parametrize("name", PLANS)
def test_the_text_is_what_it_was(name: str) -> None:
    made = profile(PLANS[name], TEMPORARY)
    defined = "".join(f";; {key} = {value}\n" for key, value in made.parameters)
    assert (GOLDEN / f"{name}.sb").read_text(encoding="utf-8") == defined + made.text


def test_what_a_plan_grants_and_no_more() -> None:
    made = profile(PLANS["workspace-write"], TEMPORARY)
    assert allows(made, "file-read-data", f"{PROJECT}/main.c")
    assert allows(made, "file-write-create", f"{PROJECT}/main.o")
    assert allows(made, "process-exec", f"{PROJECT}/run")
    assert allows(made, "file-write-data", f"{TEMPORARY}/x")
    assert allows(made, "file-read-data", "/opt/tools/bin/cc")
    assert allows(made, "process-exec", "/usr/bin/make")
    for operation, path in (
        ("file-write-data", "/opt/tools/bin/cc"),
        ("file-read-data", f"{HOME}/.ssh/id_rsa"),
        ("file-read-data", f"{PROJECT}2/x"),
        ("file-write-data", f"{HOME}/.zshrc"),
        ("file-read-data", f"{PROJECT}/secret/key"),
        ("file-write-unlink", f"{PROJECT}/.git/hooks/pre-commit"),
        ("file-write-create", f"{PROJECT}/.envrc"),
        ("file-write-unlink", f"{PROJECT}/.git"),
        ("file-write-setugid", f"{PROJECT}/x"),
        ("file-read-data", "/Users"),
        ("file-read-data", "/private/var/db/dslocal/nodes/Default/users/ada.plist"),
        ("network-outbound", ""),
        ("network-bind", ""),
        ("mach-register", ""),
        ("iokit-open", ""),
        ("process-exec", f"{HOME}/evil"),
    ):
        assert not allows(made, operation, path), (operation, path)
    assert allows(made, "file-read-data", f"{PROJECT}/.envrc")


def test_reading_only() -> None:
    made = profile(PLANS["read-only"], TEMPORARY)
    assert allows(made, "file-read-data", f"{PROJECT}/x")
    assert not allows(made, "file-write-data", f"{PROJECT}/x")


def test_parameters_go_as_words_of_their_own() -> None:
    made = profile(PLANS["quotes"], TEMPORARY)
    argv = made.argv(("sh", "-c", "true"))
    assert argv[:3] == [PROGRAM, "-p", made.text]
    assert f'WRITE0={HOME}/a"b) (allow default' in argv
    assert argv[-4:] == ["--", "sh", "-c", "true"]
    assert "allow default" not in made.text


@pytest.mark.parametrize("path", ["/Users/a\nb", "/Users/a\rb"])
def test_a_path_with_a_line_break_is_refused(path: str) -> None:
    with pytest.raises(PlanInvalid):
        profile(Plan(path, (path,), ()), TEMPORARY)


def test_hosts_are_refused() -> None:
    with pytest.raises(HostsUnsupported):
        profile(replace(PLANS["read-only"], hosts=("example.org:443",)), TEMPORARY)


@given(PATHS, PATHS, PATHS, PATHS)
def test_a_path_never_becomes_language(cwd: str, write: str, denied: str, protected: str) -> None:
    write = write.replace("/Users", "/Volumes", 1)
    plan = Plan(cwd, (cwd,), (write,), denied=(denied,), protected=(protected,))
    made = profile(plan, TEMPORARY)
    forms = parse(made.text)
    assert {name for form in forms for name in named(form)} == {name for name, _ in made.parameters}
    assert made.text == profile(Plan("/a", ("/a",), ("/b",), denied=("/c",), protected=("/d",)), TEMPORARY).text
    assert not allows(made, "file-read-data", f"{denied}/x")
    assert not allows(made, "file-write-data", f"{protected}/x")
    assert not allows(made, "network-outbound")


@given(PATHS, PATHS, PATHS)
def test_a_deny_never_allows_more(root: str, denied: str, asked: str) -> None:
    without = Plan(root, (), (root,))
    less = profile(replace(without, denied=(denied,)), TEMPORARY)
    for operation in ("file-read-data", "file-write-data", "process-exec"):
        assert not allows(less, operation, asked) or allows(profile(without, TEMPORARY), operation, asked)


@pytest.mark.parametrize("text", ["(", ")", '("', "word", '"text"', "(allow default", '(allow (literal "a\\b"))'])
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"character|end|outside"):
        parse(text)


@pytest.mark.parametrize("text", ["(version 2)", "(import x)", "(allow file-read* (regex x))", "(define x)"])
def test_what_is_not_known_is_not_guessed(text: str) -> None:
    with pytest.raises(ValueError, match=r"no rule|no filter"):
        decides(parse(text), {}, "file-read-data", "/x")


def test_there_is_one_picture_for_each_plan() -> None:
    assert {path.stem for path in Path(GOLDEN).glob("*.sb")} == set(PLANS)
