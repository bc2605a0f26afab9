"""Which model is used, and on whose word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from localgpt.config import Config, load
from localgpt.monitor.events import ModelOffer
from localgpt.monitor.listeners import Listener, loopback_listeners
from localgpt.monitor.models import (
    Found,
    ModelNotConfirmed,
    ProviderUnusable,
    Selection,
    choose,
    embedded,
    hosted_or_local,
    is_loopback,
)
from localgpt.policy import Reach
from localgpt.wire import FoundServer, ToolMode

OLLAMA = Found(FoundServer(11434, "ollama", ("llama3",)), Listener(11434, 1000))


class Confirmer:
    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.offers: list[ModelOffer] = []

    def confirm_model(self, offer: ModelOffer) -> bool:
        self.offers.append(offer)
        return self.answer


def config(tmp_path: Path, text: str = "", environ: dict[str, str] | None = None) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load(file, environ or {}).config


def pick(
    tmp_path: Path,
    text: str = "",
    *,
    environ: dict[str, str] | None = None,
    requested: str | None = None,
    confirmer: Confirmer | None = None,
    found: Sequence[Found] = (),
) -> Selection:
    environ = environ or {}
    return choose(
        config(tmp_path, text, environ),
        environ,
        requested,
        remembered=tmp_path / "confirmed.json",
        confirmer=confirmer,
        discover=lambda: found,
    )


def test_nothing_configured_is_the_embedded_model(tmp_path: Path):
    assert pick(tmp_path).embedded


def test_without_a_terminal_only_what_is_configured_or_embedded(tmp_path: Path):
    assert pick(tmp_path, environ={"ANTHROPIC_API_KEY": "k"}, found=[OLLAMA]).embedded


def test_a_found_server_is_used_after_one_confirmation(tmp_path: Path):
    user = Confirmer(True)
    for _ in range(2):
        selection = pick(tmp_path, confirmer=user, found=[OLLAMA])
        assert (selection.ref.provider, selection.ref.name, selection.reach) == ("ollama", "llama3", Reach.LOOPBACK)
    assert len(user.offers) == 1
    assert "1000" in user.offers[0].origin
    assert user.offers[0].host == "127.0.0.1:11434"


@pytest.mark.parametrize(
    "other",
    [
        Found(OLLAMA.server, Listener(11434, 1001)),
        Found(FoundServer(11434, "ollama", ("evil",)), OLLAMA.listener),
        Found(FoundServer(1234, "ollama", ("llama3",)), Listener(1234, 1000)),
    ],
)
def test_another_owner_model_or_port_is_asked_again(tmp_path: Path, other: Found):
    user = Confirmer(True)
    pick(tmp_path, confirmer=user, found=[OLLAMA])
    pick(tmp_path, confirmer=user, found=[other])
    assert len(user.offers) == 2


def test_a_found_server_gets_neither_the_key_nor_the_headers_of_a_configured_one(tmp_path: Path):
    text = (
        '[providers.openai_compatible]\nbase_url = "https://vllm.example/v1"\napi_key = "sk-corp"\n'
        'extra_headers = { X-Team = "hdr" }\n'
    )
    found = Found(FoundServer(8080, "openai-compatible", ("m",)), Listener(8080, 1000))
    selection = pick(tmp_path, text, confirmer=Confirmer(True), found=[found])
    chosen = hosted_or_local(config(tmp_path, text), {}, selection)
    assert chosen.endpoint.base_url == "http://127.0.0.1:8080/v1"
    assert chosen.keys == ()
    assert chosen.endpoint.headers == ()


def test_a_hosted_model_of_the_command_line_needs_consent_when_nobody_can_be_asked(tmp_path: Path):
    with pytest.raises(ModelNotConfirmed):
        pick(tmp_path, environ=KEY, requested="anthropic/claude-x")
    pick(tmp_path, environ=KEY, requested="anthropic/claude-x", confirmer=Confirmer(True))
    assert pick(tmp_path, environ=KEY, requested="anthropic/claude-x").reach is Reach.HOSTED


def test_a_key_in_the_environment_is_offered_after_loopback(tmp_path: Path):
    user = Confirmer(True)
    selection = pick(tmp_path, environ={"ANTHROPIC_API_KEY": "k"}, confirmer=user)
    assert selection.ref.provider == "anthropic"
    assert user.offers[0].host == "api.anthropic.com"
    assert "k" not in (user.offers[0].sends, user.offers[0].origin)


def test_refusing_every_offer_leads_to_the_embedded_model(tmp_path: Path):
    user = Confirmer(False)
    assert pick(tmp_path, environ={"ANTHROPIC_API_KEY": "k"}, confirmer=user, found=[OLLAMA]).embedded
    assert len(user.offers) == 2


HOSTED = '[agent]\ndefault_model = "anthropic/claude-x"\n[providers.anthropic]\napi_key = "${ANTHROPIC_API_KEY}"\n'
KEY = {"ANTHROPIC_API_KEY": "sk-test"}


def test_a_configured_hosted_model_needs_no_terminal(tmp_path: Path):
    selection = pick(tmp_path, HOSTED, environ=KEY)
    chosen = hosted_or_local(config(tmp_path, HOSTED, KEY), KEY, selection)
    assert chosen.endpoint.model == "claude-x"
    assert chosen.keys[0].secret == "sk-test"
    assert "sk-test" not in repr(chosen)


def test_a_configured_hosted_model_is_confirmed_once_at_a_terminal(tmp_path: Path):
    user = Confirmer(True)
    pick(tmp_path, HOSTED, environ=KEY, confirmer=user)
    pick(tmp_path, HOSTED, environ=KEY, confirmer=user)
    assert len(user.offers) == 1


def test_a_refused_configured_model_is_not_used(tmp_path: Path):
    with pytest.raises(ModelNotConfirmed):
        pick(tmp_path, HOSTED, environ=KEY, confirmer=Confirmer(False))


def test_a_configured_command_line_back_end_is_passed_over_with_a_word(tmp_path: Path):
    selection = pick(tmp_path, '[agent]\ndefault_model = "claude-cli/opus"\n')
    assert selection.embedded
    assert "claude-cli" in selection.notices[0]


def test_a_model_named_on_the_command_line_works_or_fails(tmp_path: Path):
    with pytest.raises(ProviderUnusable):
        pick(tmp_path, requested="claude-cli/opus")
    with pytest.raises(ProviderUnusable, match="key"):
        pick(tmp_path, requested="anthropic/x")
    assert pick(tmp_path, requested="embedded").embedded


def test_a_name_that_only_looks_like_loopback_is_hosted():
    for url in ("http://127.evil.com/v1", "http://localhost.evil.com", "http://127.0.0.1.nip.io", "http://10.0.0.1"):
        assert not is_loopback(url)
    for url in ("http://127.0.0.1:11434/v1", "http://localhost:1/v1", "http://[::1]:8080/v1", "http://127.1.2.3"):
        assert is_loopback(url)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[[", b'[{"provider":"x"}]'])
def test_a_damaged_file_loses_consent_and_never_gives_it(tmp_path: Path, damage: bytes):
    (tmp_path / "confirmed.json").write_bytes(damage)
    user = Confirmer(False)
    pick(tmp_path, confirmer=user, found=[OLLAMA])
    assert len(user.offers) == 1


def test_the_embedded_model_starts_without_tools_on_a_private_socket(tmp_path: Path):
    selection = pick(tmp_path)
    chosen = embedded(config(tmp_path), selection, tmp_path / "m.gguf", tmp_path)
    assert chosen.traits.demo_tier
    assert chosen.traits.tool_mode is ToolMode.OFF
    assert chosen.tool_mode is ToolMode.SCHEMA
    assert chosen.embedded is not None
    assert chosen.embedded.socket_path == chosen.endpoint.socket_path
    assert chosen.keys[0].secret == chosen.embedded.api_key


def test_a_runtime_directory_with_a_long_name_is_not_used_for_the_socket(tmp_path: Path):
    long = tmp_path / ("d" * 120)
    chosen = embedded(config(tmp_path), pick(tmp_path), tmp_path / "m.gguf", long)
    assert chosen.endpoint.socket_path is not None
    assert len(chosen.endpoint.socket_path) <= 107
    assert Path(chosen.private_dir).stat().st_mode & 0o777 == 0o700
    Path(chosen.private_dir).rmdir()


def test_listeners_are_read_with_their_owner(tmp_path: Path):
    table = tmp_path / "tcp"
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   0: {}:2CAA 00000000:0000 {} 00000000:00000000 00:00000000 00000000  {}        0 1 1 0 100 0 0 10 0\n"
    table.write_text(head + row.format("0100007F", "0A", 1000))
    assert loopback_listeners([11434, 1234], tables=[table]) == (Listener(11434, 1000),)
    table.write_text(head + row.format("0100007F", "01", 1000) + row.format("0A00000A", "0A", 1000))
    assert loopback_listeners([11434], tables=[table]) == ()
    table.write_text(head + row.format("0100007F", "0A", 1000) + row.format("00000000", "0A", 0))
    assert loopback_listeners([11434], tables=[table]) == ()


def test_a_real_listener_is_found():
    import os
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert loopback_listeners([port]) == (Listener(port, os.getuid()),)
