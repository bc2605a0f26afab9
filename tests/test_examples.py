"""`scripts/examples.py`: the README's examples are run, and a wrong one is found."""

import pytest
from scripts import examples

DOCUMENT = """
# Title

```console
$ echo one
one
$ printf 'a\\nb\\nc\\n'
a
...
c
$ exit 3
[exit status 3]
```

```sh
not an example
```
"""


def test_examples_are_found_with_their_lines():
    found = list(examples.examples(DOCUMENT))
    assert [(each.line, each.command, each.status) for each in found] == [
        (5, "echo one", 0),
        (7, "printf 'a\\nb\\nc\\n'", 0),
        (11, "exit 3", 3),
    ]


@pytest.mark.parametrize(
    ("expected", "found", "equal"),
    [
        ("a", "a", True),
        ("a", "a\nb", False),
        ("a ... c", "a b c", True),
        ("a\n...\nc", "a\nc", True),
        ("a\n...", "a\nb\nc", True),
        ("a.c", "abc", False),
        ("", "", True),
        ("", "something", False),
    ],
)
def test_matching(expected, found, equal):
    assert examples.matches(expected, found) is equal


def test_documents_are_run_and_judged(tmp_path, capsys):
    right, wrong = tmp_path / "right.md", tmp_path / "wrong.md"
    right.write_text(DOCUMENT)
    wrong.write_text(DOCUMENT.replace("one\n$", "two\n$"))
    assert examples.main([str(right)]) == 0
    assert examples.main([str(right), str(wrong)]) == 1
    assert f"{wrong}:5: $ echo one" in capsys.readouterr().out


def test_home_is_empty_and_shared_by_one_document(tmp_path):
    document = tmp_path / "home.md"
    document.write_text("```console\n$ ls -A ~; touch ~/kept\n```\n```console\n$ ls -A ~\nkept\n```\n")
    assert examples.main([str(document)]) == 0
