"""Every key that a configuration file may hold: its kind, its default, and whether a typo in it would be dangerous.

The tables are those of the Rust LocalGPT's documentation, so that its files load unchanged, and a few of our own
(marked). Keys of rooms that do not exist yet are checked and kept.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """What a value may be, in the words of an error message."""

    TEXT = "a string"
    SECRET = 'a string, best "${VARIABLE}"'  # noqa: S105 -- words for a message
    INTEGER = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    DURATION = 'a duration like "30s", "5m" or "1h30m"'
    TIME = 'a time of day like "09:00"'
    TEXTS = "a list of strings"
    TABLES = "a list of tables"
    ANY = "anything"


class Key(NamedTuple):
    """One key. `choices`: the only strings allowed. `guarded`: a misspelling of it is an error, not a warning."""

    kind: Kind
    default: object = None
    choices: tuple[str, ...] = ()
    guarded: bool = False
    least: int | None = None


class Table(NamedTuple):
    """One table. `strict`: an unknown key is an error. `other`: what every key not in `keys` is (None: unknown).
    `array`: written ``[[name]]``."""

    keys: dict[str, Key]
    strict: bool = False
    other: Key | None = None
    array: bool = False


def _text(default: str | None = None, *choices: str, guarded: bool = False) -> Key:
    return Key(Kind.TEXT, default, choices, guarded)


def _int(default: int | None = None, least: int = 0) -> Key:
    return Key(Kind.INTEGER, default, least=least)


def _bool(default: bool | None = None) -> Key:
    return Key(Kind.BOOLEAN, default)


def _texts(*default: str, guarded: bool = False) -> Key:
    return Key(Kind.TEXTS, default, guarded=guarded)


_SECRET: Final = Key(Kind.SECRET)
_NUMBER: Final = Key(Kind.NUMBER)
_ANY: Final = Key(Kind.ANY)
_EFFORT: Final = {"effort": _text(), "mcp_config_override": _ANY, "builtin_tools": _ANY}


def _provider(**keys: Key) -> Table:
    return Table({"api_key": _SECRET, "base_url": _text(), "model": _text(), **keys})


TABLES: Final[dict[str, Table]] = {
    "": Table({}),
    "agent": Table(
        {
            "default_model": _text(),
            "context_window": _int(128_000, 1),
            "reserve_tokens": _int(8_000),
            "max_tokens": _int(4_096, 1),
            "max_spawn_depth": _int(1),
            "subagent_model": _text(),
            "fallback_models": _texts(),
            "max_tool_repeats": _int(3, 1),
            "max_tool_errors": _int(3, 1),
            "tool_retry_on_malformed": _bool(True),
            "session_max_age": _int(2_592_000),
            "session_max_count": _int(500, 1),
            "post_compaction_sections": _texts("Session Startup", "Red Lines"),
            "checkpoints_enabled": _bool(True),
            "max_checkpoints": _int(5),
            "permission_level": _text(None, "safe", "elevated", "admin", guarded=True),
            "max_rounds": _int(25, 1),  # ours
            "turn_timeout": Key(Kind.DURATION, 600),  # ours
        }
    ),
    "agent.active_memory": Table(
        {
            "enabled": _bool(False),
            "query_mode": _text(None, "message", "recent"),
            "max_recent_turns": _int(4),
            "max_results": _int(3),
            "max_chars": _int(500),
            "min_score": _NUMBER,
            "cache_ttl_ms": _int(15_000),
        }
    ),
    "embedded": Table({"model": _text(), "threads": _int(None, 1), "context_tokens": _int(8_192, 512)}),  # ours
    "heartbeat": Table(
        {
            "enabled": _bool(True),
            "interval": Key(Kind.DURATION, 1_800),
            "overdue_delay": Key(Kind.DURATION, 60),
            "timeout": Key(Kind.DURATION),
            "timezone": _text(),
            "mcp_servers": _texts(),
        }
    ),
    "heartbeat.active_hours": Table({"start": Key(Kind.TIME), "end": Key(Kind.TIME)}),
    "heartbeat.dreaming": Table(
        {
            "enabled": _bool(False),
            "max_sessions_per_sweep": _int(10),
            "max_messages_per_session": _int(100),
            "min_session_age_secs": _int(3_600),
        }
    ),
    "memory": Table(
        {
            "backend": _text(None, "sqlite", "markdown", "none"),
            "workspace": _text(),
            "embedding_provider": _text("local", "local", "openai", "gemini", "gguf", "none"),
            "embedding_model": _text("all-MiniLM-L6-v2"),
            "embedding_cache_dir": _text(),
            "gemini_api_key": _SECRET,
            "index_sessions": _bool(False),
            "multimodal_embeddings": _bool(False),
            "chunk_size": _int(400, 1),
            "chunk_overlap": _int(80),
            "session_max_messages": _int(15),
            "session_max_chars": _int(0),
            "temporal_decay_lambda": _NUMBER,
            "llm_query_expansion": _bool(False),
            "wiki_enabled": _bool(),
            "wiki_fresh_days": _int(),
            "wiki_stale_days": _int(),
        }
    ),
    "memory.paths": Table({"path": _text(), "pattern": _text("**/*.md")}, array=True),
    "server": Table(
        {
            "enabled": _bool(True),
            "port": _int(31_327, 1),
            "bind": _text("127.0.0.1", guarded=True),
            "auth_token": Key(Kind.SECRET, guarded=True),
            "cors_origins": _texts(guarded=True),
            "max_request_body": _int(10_485_760, 1),
            "webhook_secret": Key(Kind.SECRET, guarded=True),
            "tls_enabled": _bool(),
            "tls_cert_dir": _text(),
            "tls_renew_threshold_days": _int(),
        }
    ),
    "server.rate_limit": Table({"enabled": _bool(True), "requests_per_minute": _int(60, 1), "burst": _int(10, 1)}),
    "tools": Table(
        {
            "bash_timeout_ms": _int(30_000, 1),
            "web_fetch_max_bytes": _int(10_000, 1),
            "require_approval": _texts(guarded=True),
            "tool_output_max_chars": _int(50_000, 1),
            "log_injection_warnings": _bool(True),
            "use_content_delimiters": Key(Kind.BOOLEAN, default=True, guarded=True),
            "document_max_bytes": _int(10_485_760, 1),
            "image_max_dimension": _int(1_568, 1),
            "media_cache_enabled": _bool(True),
            "media_cache_max_mb": _int(100),
            "browser_enabled": _bool(False),
            "browser_port": _int(9_222, 1),
        }
    ),
    "tools.document_loaders": Table({}, other=_text()),
    "tools.stt": Table({}, other=_ANY),
    "tools.filters": Table({}, strict=True),
    "tools.filters.*": Table(
        {"deny_patterns": _texts(), "allow_patterns": _texts(), "deny_substrings": _texts()}, strict=True
    ),
    "tools.web_search": Table(
        {
            "provider": _text(None, "searxng", "brave", "tavily", "perplexity", "none"),
            "cache_enabled": _bool(True),
            "cache_ttl": _int(900),
            "max_results": _int(5, 1),
            "prefer_native": _bool(True),
        }
    ),
    "tools.web_search.searxng": Table(
        {"base_url": _text(), "categories": _ANY, "language": _text(), "time_range": _text()}
    ),
    "tools.web_search.brave": Table({"api_key": _SECRET, "country": _text(), "freshness": _text()}),
    "tools.web_search.tavily": Table(
        {"api_key": _SECRET, "search_depth": _text("basic"), "include_answer": _bool(True)}
    ),
    "tools.web_search.perplexity": Table({"api_key": _SECRET, "model": _text("sonar")}),
    "security": Table(
        {
            "policy_public_key": _text(),  # ours
            "strict_policy": _bool(False),
            "disable_policy": _bool(False),
            "disable_suffix": _bool(False),
            "allowed_directories": _texts(),
            "encryption": _bool(False),
            "encryption_key_path": _text(),
            "sandbox_backend": _text("disabled", "disabled", "auto", "docker", "podman"),
            "sandbox_image": _text("ubuntu:24.04"),
            "sandbox_memory": _ANY,
        },
        strict=True,
    ),
    "sandbox": Table(
        {
            "enabled": _bool(True),
            "level": _text("auto", "auto", "full", "standard", "minimal", "none"),
            "profile": _text("workspace-write", "workspace-write", "build", "network"),
            "timeout_secs": _int(120, 1),
            "max_output_bytes": _int(1_048_576, 1),
            "max_file_size_bytes": _int(52_428_800, 1),
            "max_processes": _int(64, 1),
        },
        strict=True,
    ),
    "sandbox.allow_paths": Table({"read": _texts(), "write": _texts()}, strict=True),
    "sandbox.network": Table({"policy": _text("deny", "deny", "proxy")}, strict=True),
    "policy": Table({}, strict=True),  # rules are written in LocalGPT.md, where they are signed
    "telegram": Table({"enabled": _bool(False), "api_token": _SECRET, "heartbeat_topic_id": _int()}),
    "cron": Table({}),
    "cron.jobs": Table(
        {
            "name": _text(),
            "schedule": _text(),
            "prompt": _text(),
            "channel": _text(),
            "enabled": _bool(True),
            "timeout": Key(Kind.DURATION, 600),
            "mcp_servers": _texts(),
        },
        array=True,
    ),
    "hooks": Table({}),
    "hooks.hooks": Table(
        {
            "name": _text(),
            "event": _text(
                None, "onMessage", "onToolCall", "onSessionStart", "onSessionEnd", "beforeToolCall", "afterToolCall"
            ),
            "command": _text(),
            "filter": _text(),
            "enabled": _bool(True),
        },
        array=True,
    ),
    "mcp": Table({}),
    "mcp.servers": Table(
        {
            "name": _text(),
            "transport": _text(None, "stdio", "sse"),
            "command": _text(),
            "args": _texts(),
            "url": _text(),
            "enabled": _bool(True),
        },
        array=True,
    ),
    "mcp.servers.env": Table({}, other=_SECRET),
    "logging": Table({"level": _text("info"), "file": _text(), "path": _text(), "retention_days": _int(0)}),
    "providers": Table({}),
    "providers.openai": _provider(),
    "providers.xai": _provider(),
    "providers.anthropic": _provider(),
    "providers.ollama": Table({"endpoint": _text(), "model": _text("llama3")}),
    "providers.claude_cli": Table({"command": _text("claude"), "model": _text("opus"), **_EFFORT}),
    "providers.gemini_cli": Table({"command": _text("gemini"), "model": _text("gemini-3.1-pro-preview"), **_EFFORT}),
    "providers.codex_cli": Table({"command": _text("codex"), "model": _text("o4-mini"), **_EFFORT}),
    "providers.glm": _provider(),
    "providers.gemini": _provider(),
    "providers.openai_compatible": _provider(),
    "providers.openai_compatible.extra_headers": Table({}, other=_SECRET),
    "providers.vertex": Table(
        {
            "service_account_key": _SECRET,
            "project_id": _text(),
            "location": _text("us-central1"),
            "model": _text(),
        }
    ),
    "providers.openrouter": _provider(),
}


def table_at(name: str) -> Table | None:
    """Find the table called `name` (dotted), wildcards included."""
    found = TABLES.get(name)
    if found is None and name.startswith("tools.filters.") and name.count(".") == 2:
        found = TABLES["tools.filters.*"]
    return found


def key_at(name: str) -> Key | None:
    """Find the key called `name` (dotted, without array indices)."""
    table_name, _, key = name.rpartition(".")
    table = table_at(table_name)
    if table is None or not key:
        return None
    return table.keys.get(key) or table.other


def children(name: str) -> tuple[str, ...]:
    """Names of the tables directly inside table `name`."""
    prefix = f"{name}." if name else ""
    inside = (t[len(prefix) :] for t in TABLES if t and t.startswith(prefix))
    return tuple(t for t in inside if t and "." not in t and t != "*")


def known_names(name: str) -> tuple[str, ...]:
    """Every key and table that may stand directly inside table `name`."""
    table = table_at(name)
    return (*(table.keys if table else ()), *children(name))


def is_guarded(name: str) -> bool:
    """Whether ignoring a misspelling of this key or table would weaken a defence."""
    table = TABLES.get(name)
    if table is not None:
        return table.strict
    key = key_at(name)
    return key is not None and key.guarded
