"""Spelling of hosts and paths: what two readers could take for two things is refused or compared strictly."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.policy.hosts import HostKind, classify, is_host_pattern, matches, normalise
from localgpt.policy.paths import fold, glob_part, glob_path, has_name, inside, is_resolved, shadowed_by_any


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("example.org", HostKind.PUBLIC),
        ("EXAMPLE.org.", HostKind.PUBLIC),
        ("_dmarc.example.org", HostKind.PUBLIC),
        ("1.1.1.1", HostKind.PUBLIC),
        ("192.168.1.1", HostKind.LOCAL),
        ("100.64.0.1", HostKind.LOCAL),
        ("0.0.0.0", HostKind.LOCAL),
        ("224.0.0.1", HostKind.LOCAL),
        ("fe80::1", HostKind.LOCAL),
        ("fd00::1", HostKind.LOCAL),
        ("2002:7f00:1::", HostKind.LOCAL),
        ("64:ff9b::7f00:1", HostKind.LOCAL),
        ("64:ff9b::808:808", HostKind.PUBLIC),
        ("x.localhost", HostKind.LOCAL),
        ("fd00:ec2::254", HostKind.METADATA),
        ("METADATA.google.internal", HostKind.METADATA),
        ("2002:a9fe:a9fe::", HostKind.METADATA),
        ("017700000001", HostKind.BAD),
        ("0177.0.0.1", HostKind.BAD),
        ("1.2.3", HostKind.BAD),
        ("1.2.3.4.5", HostKind.BAD),
        ("256.1.1.1", HostKind.BAD),
        ("example.0x7f", HostKind.BAD),
        ("fe80::1%eth0", HostKind.BAD),
        ("[::1]", HostKind.BAD),
        ("user@example.org", HostKind.BAD),
        ("example.org/path", HostKind.BAD),
        ("example.org:443", HostKind.BAD),
        ("exam\u2024ple.org", HostKind.BAD),
        ("-a.org", HostKind.BAD),
        ("a..org", HostKind.BAD),
        ("a" * 64 + ".org", HostKind.BAD),
        ("a." * 130 + "org", HostKind.BAD),
        (".", HostKind.BAD),
    ],
)
def test_kinds(host, kind):
    assert classify(host) is kind


@pytest.mark.parametrize(
    ("pattern", "host", "port", "expected"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "Example.org.", None, True),
        ("example.org:443", "example.org", 443, True),
        ("example.org:443", "example.org", 80, False),
        ("example.org:443", "example.org", None, False),
        ("*.example.org", "test.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "evilexample.org", 443, False),
        ("example.org", "example.org.evil.example", 443, False),
        ("[::1]:80", "::1", 80, True),
        ("[::1]", "0:0::1", 80, True),
        ("::1", "::1", 80, True),
        ("127.0.0.1", "::ffff:127.0.0.1", 80, True),
        ("*", "anything.example", 1, True),
        ("*", "127.1", 1, False),
    ],
)
def test_host_patterns(pattern, host, port, expected):
    assert is_host_pattern(pattern)
    assert matches(pattern, host, port) is expected


@given(st.text(max_size=40))
def test_normalising_is_idempotent(host):
    once = normalise(host)
    assert once is None or normalise(once) == once


@pytest.mark.parametrize("path", ["/", "/a", "/a/b.c", "/a/...", "/ä/ /x"])
def test_resolved(path):
    assert is_resolved(path)


@pytest.mark.parametrize(
    "path", ["", "a", "./a", "//a", "/a/", "/a//b", "/a/./b", "/a/..", "/a\x00", "/a\nb", "/" + "a" * 5000]
)
def test_not_resolved(path):
    assert not is_resolved(path)


def test_inside():
    assert inside("/a/b", "/a")
    assert inside("/a", "/a")
    assert inside("/a", "/")
    assert not inside("/ab", "/a")
    assert not inside("/a", "")
    assert not inside("/a", "a")
    assert not inside("/a", "/a/../a")


def test_case_and_composition_fold_for_what_denies():
    assert shadowed_by_any("/h/.SSH/id", ("/h/.ssh",))
    assert shadowed_by_any("/h/cafe\u0301/x", ("/h/caf\u00e9",))
    assert not shadowed_by_any("/h/.sshx", ("/h/.ssh",))
    assert has_name("/p/SOUL.MD", ("soul.md",))
    assert has_name("/p/.env.local/x", (".env.*",))
    assert not has_name("/p/.env.example", (".env.*",), but_not=(".env.example",))


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_globs_agree_with_regular_expressions(pattern, text):
    expression = "".join({"*": ".*", "?": "."}.get(c, c) for c in pattern)
    assert glob_part(pattern, text) is (re.fullmatch(expression, text) is not None)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [("/**/a/**/b", "/a/b/a/c", True), ("/**/a/**/b", "/b/a/c", False), ("/a/**", "/a", True), ("/a/*", "/a", False)],
)
def test_double_stars(pattern, path, expected):
    assert glob_path(pattern, path) is expected


def test_globs_are_not_exponential():
    assert not glob_part("*a" * 60 + "b", "a" * 4000)
    assert not glob_path("/" + "**/a/" * 60 + "b", "/a" * 1000)


_paths = st.lists(st.sampled_from(["a", "A", "b", "\u00e9", "e\u0301"]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


@given(_paths, st.lists(_paths, max_size=3).map(tuple))
def test_shadowing_is_being_inside_after_folding(path, roots):
    assert shadowed_by_any(path, roots) is any(inside(fold(path), fold(root)) for root in roots)


@given(st.text(max_size=30))
def test_folding_is_idempotent(text):
    assert fold(fold(text)) == fold(text)
