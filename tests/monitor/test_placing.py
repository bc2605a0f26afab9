"""Writing one approved file beyond the plan, as in the home itself: that file, whole, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.monitor.events import Answer, Choice, Question
from localgpt.monitor.placing import OneFile, PlaceRefused
from localgpt.sandbox import Rung
from localgpt.wire import ToolOutcome
from tests.monitor.desk import Desk


@pytest.fixture(params=list(Rung))
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path, rung=request.param)
    yield opened
    opened.close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_note_in_the_home_is_written_after_one_question(desk: Desk):
    before = names(desk.home)
    assert desk.call("write_file", path="~/note.txt", content="x\n").outcome is ToolOutcome.DENIED
    assert names(desk.home) == before
    desk.user.answers = [Answer(Choice.ONCE)]
    result = desk.call("write_file", path="~/note.txt", content="first\n")
    assert result.outcome is ToolOutcome.DONE, result
    assert (desk.home / "note.txt").read_text() == "first\n"
    assert names(desk.home) == before | {"note.txt"}


def test_a_note_is_edited_and_keeps_its_mode(desk: Desk):
    note = desk.home / "note.txt"
    note.write_text("one\ntwo\n")
    note.chmod(0o640)
    desk.user.answers = [Answer(Choice.ONCE)]
    assert desk.call("edit_file", path=str(note), old_text="two", new_text="three").outcome is ToolOutcome.DONE
    assert note.read_text() == "one\nthree\n"
    assert note.stat().st_mode & 0o7777 == 0o640
    assert "-two" in desk.user.asked[0].diff


def test_missing_folders_are_made_only_for_what_is_written(desk: Desk):
    assert desk.call("write_file", path="~/a/b/c.txt", content="x").outcome is ToolOutcome.DENIED
    assert not (desk.home / "a").exists()
    desk.user.answers = [Answer(Choice.ONCE)]
    assert desk.call("write_file", path="~/a/b/c.txt", content="x").outcome is ToolOutcome.DONE
    assert (desk.home / "a/b/c.txt").read_text() == "x"


@pytest.mark.parametrize("name", [".bashrc", ".ssh/authorized_keys", ".config/localgpt/config.toml", ".local/bin/ls"])
def test_what_others_obey_is_written_by_nobody(desk: Desk, name: str):
    desk.user.answers = [Answer(Choice.ONCE)]
    before = names(desk.home)
    old = (desk.home / name).read_bytes() if (desk.home / name).exists() else None
    assert desk.call("write_file", path=f"~/{name}", content="evil").outcome is ToolOutcome.DENIED
    assert (desk.home / name).read_bytes() == old if old is not None else not (desk.home / name).exists()
    assert names(desk.home) == before


@pytest.mark.parametrize(
    "change", ["appears", "changes", "becomes a link", "folder becomes a link", "becomes a folder"]
)
def test_what_changes_while_the_user_is_asked_is_not_overwritten(desk: Desk, change: str):
    note, other = desk.home / "notes/note.txt", desk.home / "other.txt"
    note.parent.mkdir()
    other.write_text("other\n")
    if change != "appears":
        note.write_text("before\n")

    def ask(question: Question) -> Answer:
        if change == "folder becomes a link":
            note.parent.rename(desk.home / "moved")
            note.parent.symlink_to(desk.home)
            return Answer(Choice.ONCE)
        note.unlink(missing_ok=True)
        if change == "becomes a link":
            note.symlink_to(other)
        elif change == "becomes a folder":
            note.mkdir()
        else:
            note.write_text("meanwhile\n")
        return Answer(Choice.ONCE)

    desk.user.ask = ask  # type: ignore[method-assign]
    before = names(desk.home)
    assert desk.call("write_file", path=str(note), content="ours\n").outcome is not ToolOutcome.DONE
    assert other.read_text() == "other\n"
    assert not (desk.home / "note.txt").exists()
    if change in {"appears", "changes"}:
        assert note.read_text() == "meanwhile\n"
    assert names(desk.home) - {"moved"} == before


def test_a_write_in_the_home_opens_nothing_to_commands(desk: Desk):
    (desk.home / "private.txt").write_text("PRIVATE\n")
    desk.user.answers = [Answer(Choice.ONCE)]
    assert desk.call("write_file", path="~/note.txt", content="x").outcome is ToolOutcome.DONE
    assert "PRIVATE" not in desk.call("shell", command=f"cat {desk.home}/private.txt {desk.home}/note.txt").text


def test_a_file_that_is_not_kept_leaves_nothing(tmp_path: Path):
    with OneFile(str(tmp_path / "new/x")) as file:
        Path(file.temporary).write_text("half")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_in_the_last_moment_stays(tmp_path: Path):
    with OneFile(str(tmp_path / "x")) as file:
        (tmp_path / "x").write_text("theirs")
        with pytest.raises(PlaceRefused):
            file.keep()
    assert (tmp_path / "x").read_text() == "theirs"
    assert names(tmp_path) == {"x"}


def test_a_file_that_was_replaced_in_the_last_moment_stays(tmp_path: Path):
    (tmp_path / "x").write_text("old")
    with OneFile(str(tmp_path / "x")) as file:
        (tmp_path / "new").write_text("theirs")
        (tmp_path / "new").rename(tmp_path / "x")
        with pytest.raises(PlaceRefused):
            file.keep()
    assert (tmp_path / "x").read_text() == "theirs"
    assert names(tmp_path) == {"x"}


@pytest.mark.parametrize("where", ["link/x", "file/x", "link"])
def test_links_and_files_on_the_way_are_refused(tmp_path: Path, where: str):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "file").write_text("x")
    with pytest.raises(PlaceRefused) as caught, OneFile(str(tmp_path / where)):
        pass
    assert caught.value.cure
    assert list((tmp_path / "target").iterdir()) == []


def test_a_folder_that_nobody_may_write_is_a_named_refusal(tmp_path: Path):
    if os.geteuid() == 0:
        target = "/proc/1/x"
    else:
        tmp_path.chmod(0o500)
        target = str(tmp_path / "x")
    with pytest.raises(PlaceRefused), OneFile(target):
        pass


def test_the_agents_own_files_are_written_after_a_question_each(desk: Desk):
    soul = desk.paths.workspace / "SOUL.md"
    desk.user.answers = [Answer(Choice.ONCE)] * 3
    for path in (soul, desk.paths.workspace / "memory/today.md"):
        assert desk.call("write_file", path=str(path), content="first\n").outcome is ToolOutcome.DONE
        assert path.read_text() == "first\n"
    assert desk.call("edit_file", path=str(soul), old_text="first", new_text="second").outcome is ToolOutcome.DONE
    assert soul.read_text() == "second\n"
    assert [question.code for question in desk.user.asked] == ["write.persona", "write.workspace", "write.persona"]
    assert desk.call("shell", command=f"echo evil > {soul}").outcome is ToolOutcome.FAILED


@pytest.mark.parametrize(
    "place", ["policy_document", "device_key", "config_file", "models_dir/x", "audit_dir/x", "state_dir/x"]
)
def test_what_the_runtime_believes_is_written_by_nobody(desk: Desk, place: str):
    name, _, below = place.partition("/")
    desk.user.answers = [Answer(Choice.ONCE)]
    path = getattr(desk.paths, name) / below
    assert desk.call("write_file", path=str(path), content="evil").outcome is ToolOutcome.DENIED
    assert desk.user.asked == []
