"""Attempts on files inside the project that other programs act on: hooks, editor tasks, start-up files, our own policy.

They run in a project where those of the world's "protected" list exist and are protected, and those of its "absent"
list do not exist yet.
"""

import os
import shutil
from pathlib import Path

from _attempt import attempt, main


def _append(path):
    with Path(path).open("a") as file:
        file.write("\n")
    return f"{path} changed"


@attempt(23)
def write_git_configuration(_):
    return _append(".git/config")


@attempt(23)
def make_git_hook(_):
    path = Path(".git/hooks/pre-commit")
    path.write_text("#!/bin/sh\n")
    path.unlink()
    return "made"


@attempt(23)
def replace_git_hooks(_):
    """The folder is moved away and made anew."""
    hooks = Path(".git/hooks")
    hooks.rename(".git/hooks-away")
    hooks.mkdir()
    hooks.rmdir()
    Path(".git/hooks-away").rename(hooks)
    return "replaced"


@attempt(23)
def replace_git_folder(_):
    Path(".git").rename("git-away")
    Path(".git/hooks").mkdir(parents=True)
    shutil.rmtree(".git")
    Path("git-away").rename(".git")
    return "replaced"


@attempt(23)
def exchange_git_folder(_):
    from _attempt import syscall

    Path("git-fake/hooks").mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        syscall("renameat2", -100, b"git-fake", -100, b".git", 2)
    return "exchanged"


@attempt(23)
def unlink_git_configuration(_):
    path = Path(".git/config")
    text = path.read_text()
    path.unlink()
    path.write_text(text)
    return "unlinked"


@attempt(23)
def rename_over_git_configuration(_):
    path = Path("fake-config")
    path.write_text(Path(".git/config").read_text())
    try:
        path.rename(".git/config")
    finally:
        path.unlink(missing_ok=True)
    return "renamed"


@attempt(23)
def write_git_configuration_through_a_hard_link(_):
    """A second name of the same file lies where writing is allowed."""
    path = Path("second-name")
    path.unlink(missing_ok=True)
    path.hardlink_to(".git/config")
    try:
        return _append(path)
    finally:
        path.unlink()


@attempt(23)
def change_mode_of_git_configuration(_):
    Path(".git/config").chmod(0o644)
    return "changed"


@attempt(23)
def write_environment_file(_):
    return _append(".envrc")


@attempt(23)
def write_editor_tasks(_):
    return _append(".vscode/tasks.json")


@attempt(23)
def add_editor_settings(_):
    path = Path(".idea/workspace.xml")
    path.write_text("x")
    path.unlink()
    return "made"


@attempt(23)
def write_tool_servers(_):
    return _append(".mcp.json")


@attempt(23)
def write_policy_of_the_project(_):
    return _append("LocalGPT.md")


@attempt(103)
def make_an_absent_name(world):
    made = []
    for name in world["absent"]:
        path = Path(name)
        try:
            path.write_text("x")
        except OSError:
            continue
        path.unlink()
        made.append(name)
    return made


@attempt(103)
def make_an_absent_name_by_renaming(world):
    made = []
    for name in world["absent"]:
        Path("fake").write_text("x")
        try:
            Path("fake").rename(name)
        except OSError:
            Path("fake").unlink()
            continue
        Path(name).unlink()
        made.append(name)
    return made


@attempt(103)
def make_an_absent_folder(world):
    made = []
    for name in world["absent"]:
        try:
            os.mkdir(name)  # noqa: PTH102
        except OSError:
            continue
        Path(name).rmdir()
        made.append(name)
    return made


if __name__ == "__main__":
    main()
