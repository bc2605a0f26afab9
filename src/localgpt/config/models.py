"""Names of models: ``provider/name``, aliases, and what is known of each provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from localgpt.config.errors import UnknownModel
from localgpt.config.schema import Config
from localgpt.config.secret import Secret


class Provider(NamedTuple):
    """What is known of a provider.

    `protocol`: "openai-chat", "anthropic-messages", or "" when this program cannot talk to it. `base_url`: "" when the
    user must name one. `key_env`: the variable that usually holds its key. `table`: its table under ``[providers]``.
    `loopback`: it runs on this machine, so nothing leaves it. `why_not`: for providers without a protocol.
    """

    name: str
    protocol: str
    base_url: str
    key_env: str = ""
    table: str = ""
    loopback: bool = False
    why_not: str = ""


class ModelRef(NamedTuple):
    """One model: a provider's name as in `PROVIDERS`, and the name that provider knows it by."""

    provider: str
    name: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"

    @property
    def known(self) -> Provider:
        return PROVIDERS[self.provider]


_CLI: Final = "it is another agent with its own tools, which no policy here could bound"

PROVIDERS: Final[dict[str, Provider]] = {
    p.name: p
    for p in (
        Provider("embedded", "openai-chat", "", loopback=True),
        Provider("anthropic", "anthropic-messages", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "anthropic"),
        Provider("openai", "openai-chat", "https://api.openai.com/v1", "OPENAI_API_KEY", "openai"),
        Provider("openrouter", "openai-chat", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "openrouter"),
        Provider("xai", "openai-chat", "https://api.x.ai/v1", "XAI_API_KEY", "xai"),
        Provider("glm", "openai-chat", "https://api.z.ai/api/coding/paas/v4", "GLM_API_KEY", "glm"),
        Provider(
            "gemini",
            "openai-chat",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "GEMINI_API_KEY",
            "gemini",
        ),
        Provider("ollama", "openai-chat", "http://127.0.0.1:11434/v1", table="ollama", loopback=True),
        Provider("lm-studio", "openai-chat", "http://127.0.0.1:1234/v1", loopback=True),
        Provider("llama-server", "openai-chat", "http://127.0.0.1:8080/v1", loopback=True),
        Provider("openai-compat", "openai-chat", "", table="openai_compatible"),
        Provider("vertex", "", "", table="vertex", why_not="its sign-in is not built yet"),
        Provider("claude-cli", "", "", table="claude_cli", why_not=_CLI),
        Provider("gemini-cli", "", "", table="gemini_cli", why_not=_CLI),
        Provider("codex-cli", "", "", table="codex_cli", why_not=_CLI),
    )
}

ALIASES: Final = {
    "opus": "anthropic/claude-opus-4-6",
    "sonnet": "anthropic/claude-sonnet-4-6",
    "gpt": "openai/gpt-4o",
    "gpt-mini": "openai/gpt-4o-mini",
    "glm": "glm/glm-4.7",
    "grok": "xai/grok-3-mini",
    "codex": "codex-cli/o4-mini",
    "smollm2": "embedded/smollm2-135m-instruct",
    "embedded": "embedded/smollm2-135m-instruct",
}
_SPELLINGS: Final = {"openai_compat": "openai-compat", "openai-compatible": "openai-compat", "lmstudio": "lm-studio"}
_BARE: Final = {
    "gpt-": "openai",
    "o1": "openai",
    "claude-": "anthropic",
    "glm-": "glm",
    "grok-": "xai",
    "gemini-": "gemini",
}


def parse_model(text: str, *, ollama_configured: bool = False) -> ModelRef:
    """Read ``provider/name``, an alias, or a bare name whose beginning tells the provider.

    A name that a provider may not know is passed on as it is: it is never replaced by another model.

    Raises:
        UnknownModel: the provider cannot be told.
    """
    text = ALIASES.get(text, text)
    prefix, slash, name = text.partition("/")
    provider = _SPELLINGS.get(prefix, prefix)
    if slash and provider in PROVIDERS:
        if not name.strip():
            raise UnknownModel(f"{text!r} names a provider but no model", cure=f"write {provider}/NAME")
        owner, _, full = ALIASES.get(name, "").partition("/")
        return ModelRef(provider, full if owner == provider else name)
    if not slash:
        for beginning, owner in _BARE.items():
            if text.startswith(beginning):
                return ModelRef(owner, text)
        if ollama_configured and text:
            return ModelRef("ollama", text)
    raise _unknown(text, prefix)


def _unknown(text: str, prefix: str) -> UnknownModel:
    from difflib import get_close_matches  # noqa: PLC0415 -- only a wrong name pays for it

    near = get_close_matches(prefix, [*PROVIDERS, *ALIASES], n=1)
    providers = ", ".join(PROVIDERS)
    return UnknownModel(
        f"the provider of the model {text!r} is not known",
        cure=f"did you mean {near[0]}?" if near else f"write PROVIDER/NAME with one of: {providers}",
    )


def default_model(config: Config) -> ModelRef | None:
    """Give the model that the configuration chose, None when it chose none. Raises `UnknownModel`."""
    if config.agent.default_model is None:
        return None
    return parse_model(config.agent.default_model, ollama_configured="ollama" in config.providers)


def base_url(config: Config, provider: Provider) -> str:
    """Give the provider's base URL: the configured one, else the usual one, "" when there is none.

    Ollama's ``endpoint`` is written without the ``/v1`` of its OpenAI-compatible side, which is added.
    """
    table = config.providers.get(provider.table)
    if table is None or table.base_url is None:
        return provider.base_url
    url = table.base_url.rstrip("/")
    return f"{url}/v1" if provider.name == "ollama" and not url.endswith("/v1") else url


def provider_key(config: Config, provider: Provider, environ: Mapping[str, str]) -> Secret | None:
    """Give the provider's key: the configured one, else the usual variable's, else None."""
    table = config.providers.get(provider.table)
    if table is not None and table.api_key is not None:
        return table.api_key
    value = environ.get(provider.key_env) if provider.key_env else None
    return Secret(value, variable=provider.key_env, where=provider.key_env) if value else None
