"""Names of models, and what is known of their providers."""

from __future__ import annotations

import pytest

from localgpt.config import PROVIDERS, base_url, default_model, parse_model, provider_key
from localgpt.config.errors import UnknownModel
from localgpt.config.models import ALIASES
from localgpt.config.read import parse
from localgpt.wire import Protocol


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("opus", "anthropic/claude-opus-4-6"),
        ("sonnet", "anthropic/claude-sonnet-4-6"),
        ("anthropic/opus", "anthropic/claude-opus-4-6"),
        ("gpt", "openai/gpt-4o"),
        ("grok", "xai/grok-3-mini"),
        ("codex", "codex-cli/o4-mini"),
        ("claude-cli/opus", "claude-cli/opus"),
        ("gpt-5.2", "openai/gpt-5.2"),
        ("o1-pro", "openai/o1-pro"),
        ("claude-next-9", "anthropic/claude-next-9"),
        ("gemini-3.1-pro", "gemini/gemini-3.1-pro"),
        ("ollama/qwen3:8b", "ollama/qwen3:8b"),
        ("ollama/hf.co/org/model", "ollama/hf.co/org/model"),
        ("openrouter/meta/llama-4", "openrouter/meta/llama-4"),
        ("openai_compat/x", "openai-compat/x"),
        ("openai-compatible/x", "openai-compat/x"),
        ("lmstudio/x", "lm-studio/x"),
        ("embedded/smollm2-135m-instruct", "embedded/smollm2-135m-instruct"),
    ],
)
def test_names(text, expected):
    assert str(parse_model(text)) == expected
    assert parse_model(text).known.name == expected.partition("/")[0]


@pytest.mark.parametrize("text", ["", "/", "ollama/", "openai/ ", "antropic/opus", "something", "https://x/y"])
def test_names_without_a_known_provider_are_refused(text):
    with pytest.raises(UnknownModel) as caught:
        parse_model(text)
    assert caught.value.cure


def test_a_misspelt_provider_is_guessed_in_the_cure_only():
    with pytest.raises(UnknownModel) as caught:
        parse_model("antropic/opus")
    assert caught.value.cure == "did you mean anthropic?"


def test_an_unknown_model_of_a_known_provider_is_never_replaced():
    assert parse_model("anthropic/claude-opus-4-7-mistyped").name == "claude-opus-4-7-mistyped"


def test_bare_names_go_to_ollama_only_when_it_is_configured():
    assert str(parse_model("llama3", ollama_configured=True)) == "ollama/llama3"
    config, _ = parse('[agent]\ndefault_model = "llama3"\n[providers.ollama]\nmodel = "llama3"', {}, source="c")
    assert str(default_model(config)) == "ollama/llama3"


def test_every_alias_names_a_known_provider():
    assert all(parse_model(alias).known for alias in ALIASES)


def test_protocols_are_those_of_the_wire():
    assert {p.protocol for p in PROVIDERS.values()} - {""} == {p.value for p in Protocol}
    assert all(p.why_not for p in PROVIDERS.values() if not p.protocol)


def test_only_loopback_addresses_count_as_loopback():
    for provider in PROVIDERS.values():
        if provider.loopback and provider.base_url:
            assert provider.base_url.startswith("http://127.0.0.1:")
        elif provider.base_url:
            assert provider.base_url.startswith("https://")


def test_base_url_and_key_prefer_the_configuration():
    config, _ = parse(
        '[providers.ollama]\nendpoint = "http://gpu:11434/"\n[providers.openai]\napi_key = "${MINE}"',
        {"MINE": "m"},
        source="c",
    )
    environ = {"OPENAI_API_KEY": "usual", "ANTHROPIC_API_KEY": "a", "XAI_API_KEY": ""}
    assert base_url(config, PROVIDERS["ollama"]) == "http://gpu:11434/v1"
    assert base_url(config, PROVIDERS["openai"]) == "https://api.openai.com/v1"
    keys = {name: provider_key(config, PROVIDERS[name], environ) for name in ("openai", "anthropic", "xai", "ollama")}
    assert {name: key and key.reveal() for name, key in keys.items()} == {
        "openai": "m",
        "anthropic": "a",
        "xai": None,
        "ollama": None,
    }
