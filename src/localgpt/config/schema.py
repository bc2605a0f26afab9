"""The configuration as typed values. A field is named like its key; durations are seconds and end in ``_s``.

Named tuples, not dataclasses: making these classes takes a fraction of the time, at every start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from localgpt.config.keys import TABLES
from localgpt.config.secret import Secret

_T = TypeVar("_T")


class AgentConfig(NamedTuple):
    """Table ``[agent]``. `default_model` is None when the user chose none."""

    default_model: str | None
    fallback_models: tuple[str, ...]
    context_window: int
    reserve_tokens: int
    max_tokens: int
    max_tool_repeats: int
    max_tool_errors: int
    max_rounds: int
    turn_timeout_s: int


class EmbeddedConfig(NamedTuple):
    """Table ``[embedded]``: the model server inside this program. None: chosen by the program."""

    model: str | None
    threads: int | None
    context_tokens: int


class SandboxConfig(NamedTuple):
    """Table ``[sandbox]``: how commands are confined, their limits, and folders beyond the project that they may reach.

    `level`: "full" is rung A or nothing; with every other, the strongest that can be proven.
    """

    level: str
    profile: str
    timeout_secs: int
    max_output_bytes: int
    max_file_size_bytes: int
    max_processes: int
    read: tuple[str, ...]
    write: tuple[str, ...]


class ToolsConfig(NamedTuple):
    """Table ``[tools]``."""

    require_approval: tuple[str, ...]
    tool_output_max_chars: int
    bash_timeout_ms: int


class ProviderConfig(NamedTuple):
    """One table ``[providers.NAME]``. `base_url` is also what ``endpoint`` sets."""

    name: str
    api_key: Secret | None
    base_url: str | None
    model: str | None
    extra_headers: tuple[tuple[str, Secret], ...]


class Config(NamedTuple):
    """A whole configuration.

    `values` holds every key that the file sets, parsed, by dotted name (array tables with their index), so that a
    room that is not modelled above can take its own keys; `given` holds the same keys as the user spelled them.
    Secrets are `Secret` in both.
    """

    agent: AgentConfig
    embedded: EmbeddedConfig
    sandbox: SandboxConfig
    tools: ToolsConfig
    providers: Mapping[str, ProviderConfig]
    workspace: str | None
    policy_public_key: str
    strict_policy: bool
    allowed_directories: tuple[str, ...]
    log_level: str
    values: Mapping[str, object]
    given: Mapping[str, object]


def defaults() -> dict[str, object]:
    """Give every default, by dotted name."""
    return {
        f"{name}.{key}": spec.default
        for name, table in TABLES.items()
        if not table.array and "*" not in name
        for key, spec in table.keys.items()
    }


def build(values: Mapping[str, object], given: Mapping[str, object]) -> Config:
    """Make the typed configuration of checked `values`; what they do not set is the default."""
    full: dict[str, Any] = {**defaults(), **values}
    return Config(
        agent=_table(AgentConfig, "agent", full),
        embedded=_table(EmbeddedConfig, "embedded", full),
        sandbox=_table(
            SandboxConfig,
            "sandbox",
            full,
            read=full["sandbox.allow_paths.read"],
            write=full["sandbox.allow_paths.write"],
        ),
        tools=_table(ToolsConfig, "tools", full),
        providers={name: _provider(name, values) for name in _provider_names(values)},
        workspace=full["memory.workspace"],
        policy_public_key=full["security.policy_public_key"] or "",
        strict_policy=full["security.strict_policy"],
        allowed_directories=full["security.allowed_directories"],
        log_level=full["logging.level"],
        values=dict(values),
        given=dict(given),
    )


def _table(kind: type[_T], name: str, full: Mapping[str, Any], **more: Any) -> _T:  # noqa: ANN401 -- checked by the reader
    arguments = dict(more)
    for field in kind.__annotations__:
        if field not in arguments:
            key = f"{name}.{field}"
            arguments[field] = full[key] if key in full else full[key.removesuffix("_s")]
    return kind(**arguments)


def _provider_names(values: Mapping[str, object]) -> list[str]:
    return sorted({key.split(".")[1] for key in values if key.startswith("providers.")})


def _provider(name: str, values: Mapping[str, Any]) -> ProviderConfig:
    prefix = f"providers.{name}."
    headers = f"{prefix}extra_headers."
    return ProviderConfig(
        name=name,
        api_key=values.get(f"{prefix}api_key", values.get(f"{prefix}service_account_key")),
        base_url=values.get(f"{prefix}base_url", values.get(f"{prefix}endpoint")),
        model=values.get(f"{prefix}model"),
        extra_headers=tuple((k[len(headers) :], v) for k, v in sorted(values.items()) if k.startswith(headers)),
    )
