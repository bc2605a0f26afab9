"""Covering is sound: what a wider rule is said to cover, it matches wherever the narrower one does."""

from itertools import product

import pytest
from hypothesis import given, settings

from localgpt.policy.commands import Match, simple_commands
from localgpt.policy.decide import match_rule
from localgpt.policy.model import Run
from localgpt.policy.paths import glob_part, glob_path
from localgpt.policy.review.cover import covers, covers_part, covers_path
from tests.policy.support import requests, rule, rules

COVERED = [
    ("/srv/**", "/srv/a"),
    ("/srv", "/srv/a/*.py"),
    ("/**", "~/x"),
    ("/**", "src/x"),
    ("**/*", "/etc/passwd"),
    ("**/.git", "~/p/.git/config"),
    ("**/.git", "**/.git/hooks/*"),
    ("~/**", "~/a/b"),
    ("~", "~/a"),
    ("src/*", "src/*.py"),
    ("src/**/x", "src/a/**/x"),
    ("src/**", "src/**/y"),
    ("a/**/b", "a/b"),
]
NOT_COVERED = [
    ("/srv/a", "/srv/**"),
    ("/srv/*", "/srv"),
    ("~/a", "/home/u/a"),
    ("src/*.py", "src/*"),
    ("src/?", "src/*"),
    ("src/a", "~/src/a"),
    ("a/*/b", "a/**/b"),
    ("**/x", "**/y"),
    ("src", "**/src"),
    ("~", "/"),
]


@pytest.mark.parametrize(("wide", "narrow"), COVERED)
def test_covered_paths(wide, narrow):
    assert covers_path(wide, narrow)


@pytest.mark.parametrize(("wide", "narrow"), NOT_COVERED)
def test_paths_that_are_not_covered(wide, narrow):
    assert not covers_path(wide, narrow)


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        (("connect", "*"), ("connect", "example.org:443"), True),
        (("connect", "*.example.org"), ("connect", "a.example.org:80"), True),
        (("connect", "*.example.org"), ("connect", "*.b.example.org"), True),
        (("connect", "*.example.org"), ("connect", "example.org"), False),
        (("connect", "*.example.org"), ("connect", "evilexample.org"), False),
        (("connect", "example.org:443"), ("connect", "example.org"), False),
        (("connect", "example.org"), ("connect", "Example.org.:443"), True),
        (("connect", "*.org"), ("connect", "*"), False),
        (("model", "*"), ("model", "openai"), True),
        (("model", "*.example.org"), ("model", "a.example.org"), True),
        (("model", "openai"), ("model", "*"), False),
        (("tool", "*"), ("argv", "rm"), True),
        (("tool", "send_*"), ("tool", "send_mail"), True),
        (("tool", "send_?"), ("tool", "send_*"), False),
        (("argv", "git"), ("argv", "git", "push"), True),
        (("argv", "git", "push"), ("argv", "git", "remote", "push", "--force"), True),
        (("argv", "git", "--force"), ("argv", "git", "--force=yes"), True),
        (("argv", "rm", "-r"), ("argv", "rm", "-rf"), True),
        (("argv", "rm", "-rf"), ("argv", "rm", "-r"), False),
        (("argv", "git", "push"), ("argv", "hg", "push"), False),
        (("read", "**/*"), ("write", "**/*"), False),
    ],
)
def test_other_subjects(wide, narrow, expected):
    assert covers(rule("deny", *wide), rule("deny", *narrow)) is expected


def test_what_allows_compares_exactly_and_minds_taint():
    assert covers(rule("deny", "read", "~/A"), rule("deny", "read", "~/a"))
    assert not covers(rule("allow", "read", "~/A"), rule("allow", "read", "~/a"))
    assert covers(rule("deny", "read", "~/A"), rule("allow", "read", "~/a"))
    assert not covers(rule("allow", "read", "~"), rule("deny", "read", "~/a"))
    assert not covers(rule("allow", "read", "~"), rule("allow", "read", "~/a", tainted=True))
    assert covers(rule("allow", "read", "~", tainted=True), rule("allow", "read", "~/a"))


def words(alphabet: str, longest: int) -> list[tuple[str, ...]]:
    return [word for length in range(longest + 1) for word in product(alphabet, repeat=length)]


def test_exhaustively_a_name_that_the_narrow_glob_matches_the_wide_one_matches():
    globs, names = ["".join(w) for w in words("a*?", 3)], ["".join(w) for w in words("ab", 4)]
    matched = {glob: {name for name in names if glob_part(glob, name)} for glob in globs}
    covered = [(wide, narrow) for wide in globs for narrow in globs if covers_part(wide, narrow)]
    assert len(covered) > 300
    assert [pair for pair in covered if not matched[pair[1]] <= matched[pair[0]]] == []


def test_exhaustively_a_path_that_the_narrow_pattern_matches_the_wide_one_matches():
    patterns = ["/" + "/".join("**" if part == "2" else part for part in w) for w in words("a*2", 3) if w]
    paths = ["/" + "/".join(w) for w in words("ab", 5)]
    matched = {pattern: {path for path in paths if glob_path(pattern, path)} for pattern in patterns}
    covered = [(wide, narrow) for wide in patterns for narrow in patterns if covers_path(wide, narrow)]
    assert len(covered) > 300
    assert [pair for pair in covered if not matched[pair[1]] <= matched[pair[0]]] == []


@given(rules(), rules(), requests)
@settings(max_examples=400)
def test_a_request_that_the_narrow_rule_matches_the_wide_one_matches(wide, narrow, request):
    if not covers(wide, narrow):
        return
    for effect in request.effects:
        commands = simple_commands(effect.argv) if isinstance(effect, Run) else None
        found = match_rule(narrow, request, effect, commands)
        if found is not Match.NO:
            wider = match_rule(wide, request, effect, commands)
            assert wider is Match.YES or wider is found


@given(rules())
def test_every_rule_covers_itself(found):
    assert covers(found, found)
