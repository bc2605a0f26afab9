"""Finding commands in shell text: by example, and against a real shell that logs what it runs."""

import os
import random
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgpt.policy.commands import Commands, Match, match, match_any, simple_commands

PUSH = ("git", "push")


def sh(text: str) -> Commands | None:
    return simple_commands(("/bin/sh", "-c", text))


YES = [
    "git push",
    "git push --force origin main",
    "git -C /x push",
    "/usr/bin/git push",
    "g\\it pu'sh'",
    '"git" "push"',
    "git \\\n push",
    "cd x && git push",
    "cd x; git push",
    "true || git push",
    "git push & wait",
    "yes | git push",
    "(git push)",
    "{ git push; }",
    "! git push",
    "if true; then git push; fi",
    "while git push; do :; done",
    "for i in 1 2; do git push; done",
    "f() { git push; }; f",
    "echo $(git push)",
    'echo "$(git push)"',
    "echo `git push`",
    "cat <(git push)",
    "X=$(git push) true",
    "X=1 Y='a b' git push",
    "> out git push 2>&1 < /dev/null",
    "git 2>err push",
    "sh -c 'git push'",
    "bash -lc 'true; git push'",
    "sh -c \"sh -c 'git push'\"",
    "eval git push",
    "eval 'git push'",
    "sudo -u me git push",
    "env A=1 git push",
    "nohup timeout 5 git push",
    "xargs git push < list",
    "find . -exec git push \\;",
    "cat <<E\nx\nE\ngit push",
    "echo a#b; git push",
    "# comment\ngit push",
    "echo x >file;git push",
]
NO = [
    "git status",
    "git pull",
    "echo git push",
    "echo 'git push'",
    'echo "git push"',
    "# git push",
    "ls # git push",
    "gitpush",
    "cat <<'E'\ngit push\nE",
    "cat <<E\ngit push\nE",
    "grep -r 'git push' .",
    "make push",
    "for i in git push; do echo x; done",
    "[ -f x ] && make",
    "[[ -f x ]] || make",
    "wc -l $FILES *.py",
    "X=git; echo push",
    "echo $HOME; git status -s",
]
MAYBE = [
    "$GIT push",
    "git $VERB",
    "git push* ",
    "git $(cat verb)",
    "${GIT} push",
    "sudo $X",
    "eval $X",
    'sh -c "$X"',
    'sh -c "git $X"',
    "{git,push}",
    "case x in x) git push;; esac",
    "echo 'unclosed",
    'echo "unclosed',
    "echo $(unclosed",
    "cat <<E\nunclosed",
    "cat <<E\n$(git push)\nE",
    "$'git' push",
    "x" * 70_000,
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(t, Match.YES) for t in YES] + [(t, Match.NO) for t in NO] + [(t, Match.MAYBE) for t in MAYBE],
    ids=lambda value: str(value)[:40],
)
def test_is_git_push_in_it(text, expected):
    assert match_any(PUSH, sh(text)) is expected


@pytest.mark.parametrize(
    ("words", "command", "expected"),
    [
        (("rm", "-rf"), ("rm", "-rf", "x"), Match.YES),
        (("rm", "-rf"), ("rm", "-fr", "x"), Match.YES),
        (("rm", "-rf"), ("rm", "-r", "-f", "x"), Match.YES),
        (("rm", "-rf"), ("rm", "x", "-f", "-vr"), Match.YES),
        (("rm", "-rf"), ("rm", "-r", "x"), Match.NO),
        (("rm",), ("rm", "x"), Match.YES),
        (("git", "push", "--force"), ("git", "push", "--force=x"), Match.YES),
        (("git", "push", "--force"), ("git", "push", "--force-with-lease"), Match.NO),
        (("git", "push"), ("git", "stash", "push"), Match.YES),
        (("a", "b", "c"), ("a", "c", "b"), Match.NO),
        (("git", "push"), ("git", None), Match.MAYBE),
        (("git", "push"), (None,), Match.MAYBE),
        (("git", "push"), ("ls", None), Match.NO),
        (("/opt/x", "y"), ("/opt/x", "y"), Match.YES),
        (("git",), (), Match.NO),
    ],
)
def test_one_command(words, command, expected):
    assert match(words, command) is expected


def test_an_argv_without_a_shell_is_one_command():
    assert simple_commands(("git", "commit", "-m", "$(git push)")) == (("git", "commit", "-m", "$(git push)"),)
    assert match_any(PUSH, simple_commands(("git", "commit", "-m", "$(x)"))) is Match.NO


def test_nesting_and_size_are_bounded():
    assert sh("$(" * 50 + "git push" + ")" * 50) is None
    assert sh("echo x;" * 5000) is None
    text = "git push"
    for _ in range(12):
        text = "sh -c " + repr(text)
    assert match_any(PUSH, sh(text)) is Match.MAYBE


@given(st.text(max_size=200))
@settings(max_examples=400)
def test_any_text_is_read_or_not_understood(text):
    found = sh(text)
    assert found is None or all(isinstance(command, tuple) for command in found)


@given(
    st.lists(st.sampled_from([*"$(){}`'\"\\<>|&;#!=*?[]~ \n\tagit0", "<<", "$(", "${", "git ", "push"]), max_size=40)
)
@settings(max_examples=400)
def test_any_syntax_soup_is_read_or_not_understood(pieces):
    sh("".join(pieces))


# --- against a real shell ---------------------------------------------------------------------------------------

# No token calls `g`: a random function that calls itself would be a fork bomb.
# Without `&` and `<(...)`: what runs in the background is logged too late to be told apart.
_TOKENS = [
    "git", "push", "git push", "'git'", '"push"', "g\\it", "pu''sh", "$V", '"$V"', "$G", "ls", "-x", "A=1", "env",
    "eval", "sh -c 'git push'", 'sh -c "git $V"', "command", ";", "&&", "||", "|", "!", "{", ";}", "(", ")", "$(",
    "`", "'", '"', "if true; then", "; fi", "for i in push; do", "; done", "while false; do", "> f", "2>&1",
    "< /dev/null", ">&2", "<<E\n", "\nE\n", "<<'E'\n", "#", "\n", "\\", "$i", "*", "{git,push}", "g() {",
    "[ a ]", "true", "false", "x=git",
]  # fmt: skip


@pytest.mark.skipif(shutil.which("bash") is None, reason="compares with bash")
def test_whatever_bash_runs_was_found_or_asked_about(tmp_path):
    """800 random scripts: when bash really ran `git push`, the answer was never NO."""
    stubs = tmp_path / "bin"
    stubs.mkdir()
    log = tmp_path / "log"
    bash = shutil.which("bash") or ""
    for name in ("git", "ls"):
        (stubs / name).write_text(f'#!{bash}\nprintf "%s " {name} "$@" >> {log}\nprintf "\\n" >> {log}\n')
        (stubs / name).chmod(0o755)
    (stubs / "sh").symlink_to(bash)
    (stubs / "env").symlink_to(shutil.which("env") or "/usr/bin/env")
    dice = random.Random(20261121)
    scripts = [" ".join(dice.choices(_TOKENS, k=dice.randrange(2, 9))) for _ in range(800)]
    runner = tmp_path / "runner"
    separator = "=== "
    lines = []
    for number, script in enumerate(scripts):
        (tmp_path / f"{number}.sh").write_text(script)
        lines.append(
            f'echo "{separator}{number}" >> {log}; "{bash}" -c "$(cat {tmp_path}/{number}.sh)" &>/dev/null </dev/null'
        )
    runner.write_text("\n".join(lines))
    environment = {"PATH": f"{stubs}:{os.defpath}", "V": "push", "G": "git"}
    (tmp_path / "work").mkdir()
    subprocess.run([bash, str(runner)], cwd=tmp_path / "work", env=environment, check=False, timeout=120)
    ran = 0
    for section in log.read_text(errors="replace").split(separator)[1:]:
        number, *commands = section.split("\n")
        if not any(command.split()[:2] == ["git", "push"] for command in commands):
            continue
        ran += 1
        script = scripts[int(number)]
        assert match_any(PUSH, simple_commands(("bash", "-c", script))) is not Match.NO, script
    assert ran > 15
