"""Attempts on files inside the project that other programs act on: hooks, editor tasks, start-up files, our own policy.

They run in a project where those of the world's "protected" list exist and are protected, and those of its "absent"
list do not exist yet. Nothing is undone: whether it is as it was when the launcher is done is looked at from outside.
"""

import shutil
from pathlib import Path

from _attempt import attempt, main, syscall


def _append(path):
    with Path(path).open("a") as file:
        file.write("changed\n")
    return f"{path} changed"


@attempt(23)
def write_git_configuration(_):
    return _append(".git/config")


@attempt(23)
def make_git_hook(_):
    return Path(".git/hooks/pre-commit").write_text("#!/bin/sh\n")


@attempt(23)
def replace_git_hooks(_):
    """The folder is moved away and made anew."""
    Path(".git/hooks").rename(".git/hooks-away")
    Path(".git/hooks").mkdir()
    return Path(".git/hooks/pre-commit").write_text("#!/bin/sh\n")


@attempt(23)
def replace_git_folder(_):
    Path(".git").rename("git-away")
    Path(".git/hooks").mkdir(parents=True)
    return Path(".git/hooks/pre-commit").write_text("#!/bin/sh\n")


@attempt(23)
def exchange_git_folder(_):
    Path("git-fake/hooks").mkdir(parents=True)
    Path("git-fake/config").write_text("[core]\nfsmonitor = evil\n")
    return syscall("renameat2", -100, b"git-fake", -100, b".git", 2)


@attempt(23)
def unlink_git_configuration(_):
    path = Path(".git/config")
    path.unlink()
    return path.write_text("[core]\nfsmonitor = evil\n")


@attempt(23)
def rename_over_git_configuration(_):
    path = Path("fake-config")
    path.write_text("[core]\nfsmonitor = evil\n")
    path.rename(".git/config")
    return "renamed"


@attempt(23)
def write_git_configuration_through_a_hard_link(_):
    """A second name of the same file lies where writing is allowed."""
    path = Path("second-name")
    path.hardlink_to(".git/config")
    return _append(path)


@attempt(23)
def write_git_configuration_through_a_mapping(_):
    import mmap

    with Path(".git/config").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:4] = b"evil"
    return "written"


@attempt(23)
def turn_the_project_into_a_link(_):
    """The hooks are looked up through a link of ours."""
    shutil.rmtree(".git", ignore_errors=True)
    Path(".git").symlink_to("git-elsewhere")
    return "linked"


@attempt(23)
def write_environment_file(_):
    return _append(".envrc")


@attempt(23)
def write_editor_tasks(_):
    return _append(".vscode/tasks.json")


@attempt(23)
def add_editor_settings(_):
    return Path(".idea/workspace.xml").write_text("x")


@attempt(23)
def write_tool_servers(_):
    return _append(".mcp.json")


@attempt(23)
def write_policy_of_the_project(_):
    return _append("LocalGPT.md")


@attempt(103)
def make_an_absent_name(world):
    return _make_each(world, lambda path: path.write_text("x"))


@attempt(103)
def make_an_absent_name_by_renaming(world):
    def rename(path):
        Path("fake").write_text("x")
        Path("fake").rename(path)

    return _make_each(world, rename)


@attempt(103)
def make_an_absent_name_by_linking(world):
    Path("fake").write_text("x")
    return _make_each(world, lambda path: path.symlink_to("fake"))


@attempt(103)
def make_an_absent_folder(world):
    def fill(path):
        path.mkdir()
        (path / "x").write_text("x")

    return _make_each(world, fill)


@attempt(103)
def make_an_absent_name_in_other_case(world):
    """On a file system that does not tell them apart it is the same name."""
    return _make_each(world, lambda path: path.with_name(path.name.upper()).write_text("x"))


def _make_each(world, make):
    made = []
    for name in world["absent"]:
        try:
            make(Path(name))
        except OSError:
            continue
        made.append(name)
    return made


if __name__ == "__main__":
    main()
