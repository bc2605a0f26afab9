"""The history file: private, bounded, and never somebody else's file."""

import os
import stat
from pathlib import Path

from localgpt.cli.terminal.history import MAX_BYTES, prepare_history


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_private_from_the_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "history"
    before = os.umask(0)
    try:
        assert prepare_history(path) == path
    finally:
        os.umask(before)
    assert mode(path) == 0o600


def test_a_wider_mode_is_narrowed(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("\n# 2026\n+hello\n")
    path.chmod(0o644)
    assert prepare_history(path) == path
    assert mode(path) == 0o600
    assert path.read_text() == "\n# 2026\n+hello\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "history").symlink_to(target)
    assert prepare_history(tmp_path / "history") is None
    assert target.read_text() == "precious"


def test_what_is_no_file_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert prepare_history(tmp_path / "directory") is None
    assert prepare_history(tmp_path / "pipe") is None
    assert prepare_history(tmp_path / "missing" / "history") is None


def test_a_long_one_keeps_its_newest_half(tmp_path: Path) -> None:
    path = tmp_path / "history"
    entries = "".join(f"\n# 2026-01-01 00:00:00\n+entry {n}\n" for n in range(30_000))
    path.write_text(entries)
    assert prepare_history(path) == path
    kept = path.read_text()
    assert len(kept) <= MAX_BYTES // 2
    assert kept.startswith("\n# ")
    assert kept.endswith("+entry 29999\n")
    assert mode(path) == 0o600
