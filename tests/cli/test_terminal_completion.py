"""What Tab offers."""

import os
from pathlib import Path

import pytest

from localgpt.cli.terminal.completion import Offers


@pytest.fixture
def offers(tmp_path: Path) -> Offers:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").touch()
    (tmp_path / "setup.cfg").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "evil\x1b[2K").touch()
    (tmp_path / "evil\u202e").touch()
    (tmp_path / os.fsdecode(b"evil\xff")).touch()
    return Offers(
        tmp_path, (("help", "this list"), ("model", "switch"), ("models", "list")), lambda: ("big", "bad\x1b")
    )


def texts(offers: Offers, before: str, *, asked: bool = True) -> list[str]:
    return [offer.text for offer in offers.find(before, asked=asked)]


def test_commands_while_typing(offers: Offers) -> None:
    assert texts(offers, "/mo", asked=False) == ["/model", "/models"]
    assert texts(offers, "/help me", asked=True) == []


def test_models(offers: Offers) -> None:
    assert texts(offers, "/model b", asked=False) == ["big"]


def test_files_only_when_asked(offers: Offers) -> None:
    assert texts(offers, "look at s", asked=False) == []
    assert texts(offers, "look at s") == ["setup.cfg", "src/"]
    assert texts(offers, "!cat src/") == ["main.py"]
    assert texts(offers, "!src/m") == ["main.py"]
    assert texts(offers, "see .h") == [".hidden"]


def test_names_that_would_not_print_as_they_are_are_not_offered(offers: Offers) -> None:
    assert texts(offers, "evil") == []


def test_a_folder_that_cannot_be_read_offers_nothing(offers: Offers) -> None:
    assert texts(offers, "x missing/") == []
    assert texts(offers, "x ~nosuchuser/") == []
