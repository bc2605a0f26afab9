"""`localgpt models`."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.cli.command import Home, home
from tests.gateway.model_fixture import model_file

__all__ = ["home", "model_file"]


def names(home: Home) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in home.ok("models", "list", "--json").json}


def gguf(path: Path) -> Path:
    path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(64))
    return path


def test_the_embedded_model_is_always_listed(home):
    assert "embedded/smollm2-135m-instruct" in names(home)
    assert "embedded/smollm2-135m-instruct" in home.ok("models", "list").out


def test_a_provider_is_ready_with_its_key(home):
    assert names(home)["anthropic/NAME"]["ready"] is False
    home.extra["ANTHROPIC_API_KEY"] = "sk-canary"
    result = home.ok("models", "list", "--json")
    assert {row["name"]: row["ready"] for row in result.json}["anthropic/NAME"] is True
    assert "sk-canary" not in result.out


def test_the_default_comes_first(home):
    home.write_config(
        '[agent]\ndefault_model = "openai-compat/x"\n[providers.openai_compatible]\nbase_url = "http://127.0.0.1:1/v1"\n'
    )
    first = home.ok("models", "list", "--json").json[0]
    assert (first["name"], first["default"], first["ready"]) == ("openai-compat/x", True, True)


def test_a_listening_server_is_seen_without_being_contacted(home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        home.write_config(f'[providers.ollama]\nendpoint = "http://localhost:{port}"\n')
        assert names(home)["ollama/NAME"]["note"] == f"port {port}, run by user id {os.getuid()}"
        with pytest.raises(BlockingIOError):
            server.accept()


def test_adding_a_file(home, tmp_path):
    file = gguf(tmp_path / "Mine.gguf")
    out = home.ok("models", "add", str(file)).out
    assert out.startswith("added embedded/mine: ")
    assert names(home)["embedded/mine"]["note"] == str(file)
    assert home.ok("models", "add", str(file), "--name", "other", "--json").json["name"] == "embedded/other"
    file.unlink()
    assert names(home)["embedded/mine"]["ready"] is False


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"GGUF\x09\x00\x00\x00"])
def test_what_is_no_model_is_refused(home, tmp_path, content):
    file = tmp_path / "x.gguf"
    if content is not None:
        file.write_bytes(content)
    result = home.run("models", "add", str(file))
    assert result.status == 2
    assert "\ncure: " in result.err


def test_testing_an_unknown_model(home):
    result = home.run("models", "test", "antropic/opus")
    assert (result.status, "did you mean anthropic?" in result.err) == (2, True)
    result = home.run("models", "test", "anthropic/opus")
    assert result.status == 4
    assert "ANTHROPIC_API_KEY" in result.err


def test_testing_a_server_that_is_not_there(home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    home.write_config(f'[providers.openai_compatible]\nbase_url = "http://127.0.0.1:{port}/v1"\n')
    result = home.run("models", "test", "openai-compat/x", "--json")
    assert result.status == 4
    report = json.loads(result.out)
    assert (report["ok"], bool(report["problem"])) == (False, True)


@pytest.mark.model
def test_the_embedded_model_answers(home, model_file):
    """With a copy of the verified file there is nothing to fetch; the copy is verified again."""
    models = home.data / "models"
    models.mkdir(parents=True, mode=0o700)
    home.data.chmod(0o700)
    shutil.copy(model_file, models)
    result = home.run("models", "test", "--json", timeout_s=180)
    assert result.status == 0, result
    assert result.json["output_tokens"] > 0
    assert result.json["answer"]
    home.ok("audit", "verify")
    assert home.ok("session", "list").out == "no sessions yet\n"
