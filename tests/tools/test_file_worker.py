"""The file worker as it really runs: a fresh isolated interpreter, one request, one reply."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.policy.paths import glob_path
from localgpt.tools import (
    EditFileCall,
    FileCall,
    FileReply,
    ListFilesCall,
    ReadFileCall,
    SearchTextCall,
    WriteFileCall,
    preview_request,
    worker_argv,
    worker_reply,
    worker_request,
)
from localgpt.tools.confined.changing import unified
from localgpt.tools.confined.skipping import _path, fold
from localgpt.tools.files import WORKER_ROOT, WorkerReplyError


def send(request: bytes) -> FileReply:
    done = subprocess.run(worker_argv(sys.executable), check=False, input=request, capture_output=True, timeout=60)
    assert done.stderr == b""
    return worker_reply(done.stdout)


def run(call: FileCall, path: Path | str, expect: str | None = None) -> FileReply:
    return send(worker_request(call, str(path), expect=expect))


@pytest.fixture
def here(tmp_path):
    return tmp_path.resolve()


def edit(path: Path, old: str, new: str, *, replace_all: bool = False) -> FileReply:
    return run(EditFileCall(str(path), old, new, replace_all), path)


class TestRead:
    def test_window_of_lines(self, here):
        (here / "f").write_text("".join(f"{i}\n" for i in range(1, 101)))
        reply = run(ReadFileCall("f", 10, 3), here / "f")
        assert reply.text == "10\n11\n12"
        assert "lines 10 to 12" in reply.notice
        assert "more follows from offset 13" in reply.notice

    def test_windows_join_to_the_whole_file(self, here):
        text = "".join(f"line {i} {'x' * (i % 90)}\n" for i in range(3000))
        (here / "f").write_text(text)
        offset, parts = 1, []
        while True:
            reply = run(ReadFileCall("f", offset, 2000), here / "f")
            parts.append(reply.text)
            if "more follows from offset " not in reply.notice:
                break
            offset = int(reply.notice.rpartition(" ")[2])
        assert "\n".join(parts).rstrip("\n") == text.rstrip("\n")

    def test_200_megabytes_are_not_read_whole(self, here):
        path = here / "large"
        with path.open("wb") as file:
            file.write(b"first\n" * 2000)
            file.truncate(200 * 1024 * 1024)  # sparse: no disk is used
        started = time.monotonic()
        reply = run(ReadFileCall("large", 1, 10), path)
        assert time.monotonic() - started < 2
        assert reply.text.splitlines() == ["first"] * 10
        assert "209715200 bytes" in reply.notice

    def test_far_offset_in_a_large_file(self, here):
        path = here / "large"
        with path.open("wb") as file:
            for _ in range(200):
                file.write(b"0123456789abcde\n" * 65536)
        reply = run(ReadFileCall("large", 13_107_199, 10), path)
        assert reply.text.splitlines() == ["0123456789abcde"] * 2
        assert "more" not in reply.notice
        path.unlink()

    def test_past_the_end(self, here):
        (here / "f").write_text("a\nb\n")
        reply = run(ReadFileCall("f", 50, 10), here / "f")
        assert reply.error == "past-end"
        assert "2 line ends" in reply.notice

    def test_binary_is_named_and_not_dumped(self, here):
        (here / "f").write_bytes(b"\x7fELF\x02\x01\x01\0" + bytes(4000))
        reply = run(ReadFileCall("f"), here / "f")
        assert reply.text == ""
        assert reply.notice == "not text: ELF program or library, 4008 bytes; not shown"

    def test_invalid_utf8_is_shown_and_said(self, here):
        (here / "f").write_bytes(b"caf\xe9\n")
        reply = run(ReadFileCall("f"), here / "f")
        assert reply.text == "caf\N{REPLACEMENT CHARACTER}"
        assert "not UTF-8" in reply.notice

    def test_crlf_is_read_as_lines_and_said(self, here):
        (here / "f").write_bytes(b"a\r\nb\r\n")
        reply = run(ReadFileCall("f"), here / "f")
        assert reply.text.splitlines() == ["a", "b"]
        assert "CRLF" in reply.notice

    def test_one_endless_line_is_cut(self, here):
        (here / "f").write_text("x" * 500_000)
        reply = run(ReadFileCall("f"), here / "f")
        assert len(reply.text) == 48 * 1024
        assert "was cut" in reply.notice

    def test_empty_file(self, here):
        (here / "f").write_text("")
        assert run(ReadFileCall("f"), here / "f").notice == "the file is empty"

    def test_missing_folder_pipe_and_device(self, here):
        os.mkfifo(here / "pipe")
        assert run(ReadFileCall("x"), here / "x").error == "not-found"
        assert run(ReadFileCall("."), here).error == "is-folder"
        assert run(ReadFileCall("pipe"), here / "pipe").error == "not-regular"
        assert run(ReadFileCall("null"), "/dev/null").error == "not-regular"


class TestLinks:
    """The decision was made on a path without links: one that appears later is refused, wherever it lies."""

    def test_link_as_last_part(self, here):
        (here / "secret").write_text("s")
        (here / "f").symlink_to(here / "secret")
        for reply in (
            run(ReadFileCall("f"), here / "f"),
            run(WriteFileCall("f", "x"), here / "f"),
            edit(here / "f", "s", "t"),
        ):
            assert reply.error == "link"
        assert (here / "secret").read_text() == "s"

    def test_link_as_folder_on_the_way(self, here):
        (here / "real").mkdir()
        (here / "real" / "f").write_text("s")
        (here / "d").symlink_to(here / "real")
        assert run(ReadFileCall("f"), here / "d" / "f").error == "link"
        assert run(WriteFileCall("g", "x"), here / "d" / "g").error == "link"
        assert not (here / "real" / "g").exists()

    def test_dots_and_relative_paths(self, here):
        assert run(ReadFileCall("f"), f"{here}/a/../b").error == "bad-path"
        assert run(ReadFileCall("f"), "f").error == "bad-path"

    def test_write_does_not_reach_through_a_hard_link(self, here):
        (here / "outside").write_text("keep")
        os.link(here / "outside", here / "f")
        run(WriteFileCall("f", "new"), here / "f")
        assert (here / "outside").read_text() == "keep"
        assert (here / "f").read_text() == "new"

    def test_search_and_list_do_not_follow(self, here):
        (here / "in").mkdir()
        (here / "out").mkdir()
        (here / "out" / "f").write_text("needle")
        (here / "in" / "link").symlink_to(here / "out")
        (here / "in" / "flink").symlink_to(here / "out" / "f")
        assert run(SearchTextCall("needle"), here / "in").text == ""
        assert " -> " in run(ListFilesCall(depth=5), here / "in").text
        assert "link/f" not in run(ListFilesCall(depth=5), here / "in").text


class TestWrite:
    def test_new_file_with_folders(self, here):
        reply = run(WriteFileCall("a/b/f", "hé\n"), here / "a" / "b" / "f")
        assert (here / "a/b/f").read_text() == "hé\n"
        assert stat.S_IMODE((here / "a/b/f").stat().st_mode) == 0o644
        assert reply.before == ""
        assert reply.after == hashlib.sha256("hé\n".encode()).hexdigest()
        assert reply.diff.startswith("--- /dev/null\n")

    def test_mode_is_kept_and_nothing_is_left_behind(self, here):
        (here / "f").write_text("old")
        (here / "f").chmod(0o750)
        run(WriteFileCall("f", "new"), here / "f")
        assert stat.S_IMODE((here / "f").stat().st_mode) == 0o750
        assert [entry.name for entry in here.iterdir()] == ["f"]

    def test_preview_shows_and_writes_nothing(self, here):
        (here / "f").write_text("one\ntwo\nthree\n")
        call = WriteFileCall("f", "one\n2\nthree\n")
        reply = send(preview_request(call, str(here / "f")))
        assert "-two\n+2\n" in reply.diff
        assert (here / "f").read_text() == "one\ntwo\nthree\n"
        assert run(call, here / "f", expect=reply.before).error == ""

    def test_preview_of_a_file_in_folders_that_are_not_there(self, here):
        reply = send(preview_request(WriteFileCall("a/f", "x\n"), str(here / "a" / "f")))
        assert "+x" in reply.diff
        assert not (here / "a").exists()

    def test_what_was_approved_is_what_is_changed(self, here):
        (here / "f").write_text("one")
        shown = send(preview_request(WriteFileCall("f", "two"), str(here / "f")))
        (here / "f").write_text("swapped")
        reply = run(WriteFileCall("f", "two"), here / "f", expect=shown.before)
        assert reply.error == "changed"
        assert (here / "f").read_text() == "swapped"

    def test_folder_in_the_way(self, here):
        (here / "d").mkdir()
        assert run(WriteFileCall("d", "x"), here / "d").error == "is-folder"
        (here / "f").write_text("x")
        assert run(WriteFileCall("f/g", "x"), here / "f" / "g").error == "not-folder"

    def test_full_disk_leaves_the_old_file(self, here):
        (here / "f").write_text("old")
        argv = ("/bin/sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *worker_argv(sys.executable))
        request = worker_request(WriteFileCall("f", "x" * 100_000), str(here / "f"))
        done = subprocess.run(argv, check=False, input=request, capture_output=True, timeout=60)
        assert worker_reply(done.stdout).error == "too-large"
        assert (here / "f").read_text() == "old"
        assert [entry.name for entry in here.iterdir()] == ["f"]


class TestEdit:
    def test_one_match(self, here):
        (here / "f").write_text("a\nb\nc\n")
        reply = edit(here / "f", "b", "B")
        assert (here / "f").read_text() == "a\nB\nc\n"
        assert reply.notice == "1 replacement"
        assert "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n" in reply.diff

    def test_ambiguous_is_refused_with_the_lines(self, here):
        (here / "f").write_text("x = 1\ny\nx = 1\n")
        reply = edit(here / "f", "x = 1", "x = 2")
        assert reply.error == "ambiguous"
        assert "2 times, at lines 1, 3" in reply.notice
        assert (here / "f").read_text() == "x = 1\ny\nx = 1\n"

    def test_replace_all(self, here):
        (here / "f").write_text("x x x")
        assert edit(here / "f", "x", "y", replace_all=True).notice == "3 replacements"
        assert (here / "f").read_text() == "y y y"

    def test_missing_match_names_the_nearest_line(self, here):
        (here / "f").write_text("import os\ndef run(self):\n    pass\n")
        reply = edit(here / "f", "def run( self ):", "x")
        assert reply.error == "no-match"
        assert "nearest line is 2" in reply.notice
        assert reply.text == "def run(self):"

    def test_crlf_is_kept(self, here):
        (here / "f").write_bytes(b"a\r\nb\r\nc\r\n")
        assert edit(here / "f", "a\nb\n", "a\nB\n").error == ""
        assert (here / "f").read_bytes() == b"a\r\nB\r\nc\r\n"

    def test_bytes_that_are_not_utf8_survive(self, here):
        (here / "f").write_bytes(b"\xff\xfe\x00binary one\xe9")
        edit(here / "f", "one", "two")
        assert (here / "f").read_bytes() == b"\xff\xfe\x00binary two\xe9"

    def test_no_change_and_missing_file(self, here):
        (here / "f").write_text("a")
        assert edit(here / "f", "a", "a").error == "no-change"
        assert edit(here / "g", "a", "b").error == "not-found"

    def test_large_file_is_refused(self, here):
        with (here / "f").open("wb") as file:
            file.truncate(17 * 1024 * 1024)
        assert edit(here / "f", "a", "b").error == "too-large"

    def test_long_rewrite_costs_little(self, here):
        (here / "f").write_text("".join(f"a{i}\n" for i in range(60_000)))
        started = time.monotonic()
        reply = run(WriteFileCall("f", "".join(f"b{i}\n" for i in range(60_000))), here / "f")
        assert time.monotonic() - started < 3
        assert reply.diff.count("\n") > 120_000


class TestDiff:
    """The diff of the approval prompt is what `patch` would apply."""

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("", "a\nb\n"),
            ("a\nb\n", ""),
            ("a\nb", "a\nb\n"),
            ("a\nb\n", "a\nb"),
            ("a\n\n\nb\n", "a\n\nb\n"),
            ("\n", ""),
            ("x\n" * 30 + "y\n" + "x\n" * 30, "x\n" * 29 + "z\n" + "x\n" * 20 + "w"),
            ("".join(f"{i}\n" for i in range(100)), "".join(f"{i}\n" for i in range(3, 104) if i % 17)),
        ],
    )
    def test_applied_to_the_old_file_it_gives_the_new_one(self, here, before, after):
        (here / "f").write_text(before)
        diff = send(preview_request(WriteFileCall("f", after), str(here / "f"))).diff
        assert patched(before, diff) == after

    @given(st.text("ab\n", max_size=60), st.text("ab\n", max_size=60))
    def test_any_diff_applies(self, before, after):
        assert patched(before, unified("f", before.encode(), after.encode())) == after

    def test_new_file_has_no_old_lines(self, here):
        diff = send(preview_request(WriteFileCall("f", "a\nb\n"), str(here / "f"))).diff
        assert diff.split("\n", 2)[2] == "@@ -0,0 +1,2 @@\n+a\n+b\n"


def patched(before: str, diff: str) -> str:
    """Apply a unified diff, strictly."""
    source, out, at = before.splitlines(keepends=True), "", 0
    lines = diff.replace("\n\\ No newline at end of file", "\0").splitlines()[2:]
    for line in lines:
        text = line[1:-1] if line.endswith("\0") else line[1:] + "\n"
        if line.startswith("@@"):
            start, count = (int(part) for part in line.split()[1][1:].split(","))
            begin = start - 1 if count else start
            out += "".join(source[at:begin])
            at = begin
        elif line[0] in " -":
            assert source[at] == text
            at += 1
        if line[0] in " +":
            out += text
    return out + "".join(source[at:])


class TestFind:
    def test_list(self, here):
        (here / "b").mkdir()
        (here / "b" / "c.py").write_text("12")
        (here / "a\nb").write_text("1")
        assert run(ListFilesCall(), here).text.splitlines() == ["a\\x0ab  1", "b/"]
        assert run(ListFilesCall(pattern="*.py", depth=3), here).text == "b/c.py  2"
        assert run(ListFilesCall(pattern="b/*.py", depth=3), here).text == "b/c.py  2"

    def test_list_is_bounded(self, here):
        for i in range(600):
            (here / f"{i:04}").touch()
        reply = run(ListFilesCall(), here)
        assert len(reply.text.splitlines()) == 500
        assert "first 500" in reply.notice

    def test_list_of_a_file_or_nothing(self, here):
        (here / "f").touch()
        assert run(ListFilesCall(), here / "f").text == "f  0"
        assert run(ListFilesCall(), here / "g").error == "not-found"

    def test_search_literal_and_regex(self, here):
        (here / "d").mkdir()
        (here / "d" / "a.py").write_text("x\nfoo(1)\nfoo(2)\n")
        (here / "b.txt").write_text("foo(1)")
        assert run(SearchTextCall("foo(1)"), here).text.splitlines() == ["b.txt:1: foo(1)", "d/a.py:2: foo(1)"]
        assert run(SearchTextCall("foo(1)", glob="*.py"), here).text == "d/a.py:2: foo(1)"
        assert run(SearchTextCall(r"foo\(\d\)$", regex=True), here / "d" / "a.py").text.count("a.py:") == 2
        assert run(SearchTextCall("("), here).notice == "3 matching lines"
        assert run(SearchTextCall("(", regex=True), here).error == "bad-pattern"

    def test_search_skips_binary_and_version_control(self, here):
        (here / ".git").mkdir()
        (here / ".git" / "f").write_text("needle")
        (here / "b").write_bytes(b"\0needle")
        assert run(SearchTextCall("needle"), here).text == ""

    @pytest.mark.parametrize("call", [SearchTextCall("needle"), ListFilesCall(depth=9)])
    def test_secrets_are_left_out_however_deep(self, here, call):
        for name in ("a/b/c/d/.env", "a/.ENV.local", "a/Id_rsa", ".env/inner", "a/.env.example", "a/seen"):
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).write_text(f"needle in {name}")
        reply = run(call, here)
        assert "a/.env.example" in reply.text
        assert "a/seen" in reply.text
        assert not any(name in reply.text for name in ("d/.env", ".ENV.local", "Id_rsa", "inner"))
        assert "; 4 left out" in reply.notice

    @pytest.mark.parametrize(
        ("pattern", "hidden"),
        [
            ("HERE/private", {"private/x", "private/deep/y"}),
            ("HERE/**/y", {"private/deep/y", "open/y"}),
            ("HERE/p*/*", {"private/x", "private/deep/y"}),
            ("HERE/open/?", {"open/y", "open/\u00e9"}),
            ("HERE/OPEN/E\u0301", {"open/\u00e9"}),
            ("/**", {"private/x", "private/deep/y", "open/y", "open/\u00e9"}),
            ("/elsewhere/**", set()),
        ],
    )
    def test_what_the_user_denies_is_left_out(self, here, pattern, hidden):
        names = {"private/x", "private/deep/y", "open/y", "open/\u00e9"}
        for name in names:
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).write_text("needle")
        rule = pattern.replace("HERE", str(here))
        reply = send(worker_request(SearchTextCall("needle"), str(here), skip=[rule]))
        assert {line.partition(":")[0] for line in reply.text.splitlines()} == names - hidden

    @given(st.text("ab*?/", max_size=8), st.text("ab/", min_size=1, max_size=8))
    def test_patterns_mean_what_they_mean_to_the_policy(self, pattern, path):
        pattern, path = (re.sub("/+", "/", "/" + text.strip("/")) for text in (pattern, path))
        assert bool(_path(fold(pattern)).fullmatch(fold(path))) == glob_path(pattern, path), (pattern, path)

    def test_search_is_bounded(self, here):
        (here / "f").write_text("x\n" * 100_000)
        reply = run(SearchTextCall("x"), here)
        assert len(reply.text.splitlines()) == 200
        assert "stopped at 200" in reply.notice

    def test_line_numbers_across_blocks(self, here):
        (here / "f").write_text("filler line\n" * 300_000 + "needle\n")
        assert run(SearchTextCall("needle"), here).text == "f:300001: needle"

    def test_pattern_that_backtracks_for_ever_ends(self, here, monkeypatch):
        (here / "f").write_text("a" * 60 + "!\n")
        script = (
            "import sys; sys.path.insert(0, sys.argv[1]); from confined import finding; finding.BUDGET_S = 0.3; "
            "print(finding.search({'path': sys.argv[2], 'pattern': '(a+)+$', 'glob': '', 'regex': True})['notice'])"
        )
        argv = (sys.executable, "-I", "-S", "-c", script, str(WORKER_ROOT), str(here / "f"))
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=20)
        assert "stopped after" in done.stdout


@pytest.mark.parametrize(
    "request_bytes", [b"{}", b'{"op":"format"}', b'{"op":"preview","of":{"op":"read"}}', b'{"op":"read","path":5}']
)
def test_request_of_another_format_is_an_answer(request_bytes):
    assert send(request_bytes).error == "bad-request"


@pytest.mark.parametrize("stdout", [b"", b"{", b"[]", b'{"text": 5}', b"[" * 100_000])
def test_reply_of_another_format_is_an_error(stdout):
    with pytest.raises(WorkerReplyError):
        worker_reply(stdout)
