"""Reading configuration files: what loads, what is refused, and what the message says."""

from __future__ import annotations

import os
import re

import pytest

from localgpt.config.errors import BadValue, BrokenToml, ConfigMissing, ConfigUnreadable, UnknownKey, UnsafeSetting
from localgpt.config.keys import TABLES, is_guarded, known_names
from localgpt.config.read import MAX_CONFIG_BYTES, load, parse
from localgpt.config.schema import Config, build, defaults
from localgpt.errors import ExitStatus

RUST_README = """\
[agent]
default_model = "claude-cli/opus"

[providers.anthropic]
api_key = "${ANTHROPIC_API_KEY}"

[heartbeat]
enabled = true
interval = "30m"
active_hours = { start = "09:00", end = "22:00" }

[memory]
workspace = "~/.localgpt/workspace"

[telegram]
enabled = true
api_token = "${TELEGRAM_BOT_TOKEN}"
"""

#: Every key of the Rust LocalGPT's documentation, each with a value it documents.
RUST_EVERYTHING = """\
[agent]
default_model = "sonnet"
context_window = 128000
reserve_tokens = 8000
max_tokens = 4096
max_spawn_depth = 1
subagent_model = "claude-cli/sonnet"
fallback_models = ["openai/gpt-4o"]
max_tool_repeats = 3
max_tool_errors = 3
tool_retry_on_malformed = true
session_max_age = 2592000
session_max_count = 500
post_compaction_sections = ["Session Startup", "Red Lines"]
checkpoints_enabled = true
max_checkpoints = 5
[agent.active_memory]
enabled = false
query_mode = "recent"
max_recent_turns = 4
max_results = 3
max_chars = 500
min_score = 0.1
cache_ttl_ms = 15000
[heartbeat]
overdue_delay = "1m"
timeout = "15m"
timezone = "Europe/Vienna"
mcp_servers = []
[heartbeat.dreaming]
enabled = false
max_sessions_per_sweep = 10
max_messages_per_session = 100
min_session_age_secs = 3600
[memory]
backend = "sqlite"
embedding_provider = "local"
embedding_model = "all-MiniLM-L6-v2"
paths = [{ path = "knowledge", pattern = "**/*.md" }]
temporal_decay_lambda = 0.0
[server]
port = 31327
bind = "127.0.0.1"
auth_token = "$SERVER_TOKEN"
cors_origins = []
[server.rate_limit]
requests_per_minute = 60
[tools]
bash_timeout_ms = 30000
require_approval = ["bash"]
document_loaders = { pdf = "pdftotext" }
[tools.filters.bash]
deny_patterns = ["rm -rf"]
allow_patterns = []
deny_substrings = ["sudo"]
[tools.web_search]
provider = "searxng"
searxng = { base_url = "http://localhost:8888", categories = "general", language = "en", time_range = "year" }
[security]
strict_policy = true
allowed_directories = ["/srv"]
encryption = false
sandbox_backend = "disabled"
sandbox_image = "ubuntu:24.04"
[sandbox]
enabled = true
level = "auto"
timeout_secs = 120
max_output_bytes = 1048576
max_file_size_bytes = 52428800
max_processes = 64
allow_paths = { read = ["/opt"], write = [] }
network = { policy = "deny" }
[[cron.jobs]]
name = "daily"
schedule = "0 9 * * *"
prompt = "hello"
enabled = true
timeout = "10m"
[[hooks.hooks]]
name = "h"
event = "onToolCall"
command = "true"
filter = "tool:bash"
[[mcp.servers]]
name = "m"
transport = "stdio"
command = "npx"
args = ["-y"]
env = { TOKEN = "${MCP_TOKEN}" }
[logging]
level = "info"
retention_days = 0
[providers.ollama]
endpoint = "http://localhost:11434"
model = "llama3"
[providers.claude_cli]
command = "claude"
model = "opus"
effort = "max"
[providers.openai_compatible]
base_url = "http://127.0.0.1:8000/v1"
api_key = "none"
extra_headers = { X-Team = "a" }
[providers.vertex]
service_account_key = "${VERTEX}"
project_id = "p"
location = "us-central1"
"""


def read(text: str, **environ: str) -> tuple[Config, tuple[str, ...]]:
    return parse(text, environ, source="config.toml")


def test_the_sample_of_the_rust_readme_loads_without_a_warning():
    config, warnings = read(RUST_README, ANTHROPIC_API_KEY="sk-1")
    assert warnings == ()
    assert config.agent.default_model == "claude-cli/opus"
    key = config.providers["anthropic"].api_key
    assert key is not None
    assert key.reveal() == "sk-1"
    assert config.workspace == "~/.localgpt/workspace"
    assert config.values["heartbeat.interval"] == 1800
    assert config.values["heartbeat.active_hours.end"] == 22 * 60


def test_every_documented_key_loads_and_what_protects_nothing_here_is_named():
    config, warnings = read(RUST_EVERYTHING)
    inert = {warning.split(": ")[1].removesuffix(" has no effect here") for warning in warnings}
    assert inert == {
        "security.strict_policy",
        "agent.fallback_models",
        "security.allowed_directories",
        "tools.require_approval",
        "tools.filters.bash.deny_patterns",
        "tools.filters.bash.deny_substrings",
    }
    assert config.sandbox.read == ("/opt",)
    assert config.tools.require_approval == ("bash",)
    assert config.values["cron.jobs.0.timeout"] == 600
    assert config.values["tools.filters.bash.deny_substrings"] == ("sudo",)
    assert config.providers["openai_compatible"].extra_headers[0][0] == "X-Team"
    assert config.providers["ollama"].base_url == "http://localhost:11434"


def test_no_file_gives_the_defaults(tmp_path):
    loaded = load(tmp_path / "config.toml", {})
    assert not loaded.exists
    assert loaded.warnings == ()
    assert loaded.config == build({}, {})
    assert loaded.config.sandbox.timeout_secs == 120
    assert loaded.config.sandbox.max_output_bytes == 1 << 20
    assert loaded.config.agent.default_model is None


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(ConfigMissing) as caught:
        load(tmp_path / "nope.toml", {}, required=True)
    assert caught.value.exit_status is ExitStatus.USAGE


@pytest.mark.parametrize(
    ("text", "line", "near"),
    [
        ("[security]\nstrict_polcy = true", 2, "strict_policy"),
        ("[sandbox]\n# comment\nlevl = 'full'", 3, "level"),
        ("[sandbox]\nallow_paths = { reed = [] }", 2, "read"),
        ("[sandbox.network]\npolicy = 'deny'\nhost = 'x'", 3, None),
        ("[tools.filters.bash]\ndeny_pattern = []", 2, "deny_patterns"),
        ("[policy]\nallow = ['*']", 2, None),
        ("\n[sandbx]\nlevel = 'full'", 2, "sandbox"),
        ("[securty]\nstrict_policy = true", 1, "security"),
        ("[tools]\nrequire_aproval = ['bash']", 2, "require_approval"),
        ("[server]\nauth_tokn = 'x'", 2, "auth_token"),
    ],
)
def test_an_unknown_key_that_would_weaken_a_defence_is_an_error(text, line, near):
    with pytest.raises(UnknownKey) as caught:
        read(text)
    assert f"config.toml:{line}:" in caught.value.message
    assert near is None or f"did you mean {near}?" == caught.value.cure
    assert caught.value.exit_status is ExitStatus.USAGE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[agent]\ndefalt_model = 'x'", "config.toml:2: unknown key agent.defalt_model: did you mean default_model?"),
        ("[nonsense]\na = 1", "config.toml:1: unknown key nonsense"),
        ("[heartbeat]\n\n\nzzz = 1", "config.toml:4: unknown key heartbeat.zzz"),
        ("[[cron.jobs]]\nname = 'a'\n[[cron.jobs]]\nshedule = 'x'", "config.toml:4: unknown key cron.jobs.1.shedule"),
    ],
)
def test_an_unknown_key_elsewhere_is_a_warning_with_file_line_and_near_match(text, expected):
    _, warnings = read(text)
    assert len(warnings) == 1
    assert warnings[0].startswith(expected)


@pytest.mark.parametrize(
    "text", ['[sandbox]\nlevel = "none"', "[sandbox]\nenabled = false", "[security]\ndisable_policy = true"]
)
def test_no_setting_switches_a_defence_off(text):
    with pytest.raises(UnsafeSetting) as caught:
        read(text)
    assert "config.toml:2" in caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[agent]\nmax_tokens = '4096'", "expected a whole number, found a string"),
        ("[agent]\nmax_tokens = true", "expected a whole number, found a boolean"),
        ("[agent]\nmax_tokens = 0", "0 is less than 1"),
        ("[agent]\nfallback_models = 'gpt'", "expected a list of strings, found a string"),
        ("[agent]\nfallback_models = [1]", "expected a list of strings"),
        ("[heartbeat]\ninterval = 30", "expected a duration"),
        ("[heartbeat]\ninterval = '30'", "a duration is written like"),
        ("[heartbeat]\nactive_hours = { start = '9:00' }", "a time of day is written"),
        ("[sandbox]\nlevel = 'ful'", "did you mean full?"),
        ("[sandbox]\ntimeout_secs = -1", "-1 is less than 1"),
        ("agent = 3", "agent must be a table, not a number"),
        ("[memory]\npaths = [3]", "memory.paths.0 must be a table, not a number"),
        ("[providers.openai]\napi_key = 5", "expected a string"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_line(text, expected):
    with pytest.raises(BadValue) as caught:
        read(text)
    assert expected in caught.value.message
    assert re.match(r"config\.toml:\d+: ", caught.value.message)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("[agent\nx = 1", 1, 7),
        ("a = 1\nb = = 2", 2, 5),
        ('a = "unclosed', 1, 14),
        ("a = 1\na = 2", 2, 6),
        ("a = [1,\n", 2, 1),
    ],
)
def test_broken_toml_names_line_and_column_and_shows_the_line(text, line, column):
    with pytest.raises(BrokenToml) as caught:
        read(text)
    head, excerpt, caret = caught.value.message.split("\n")
    assert head.startswith(f"config.toml:{line}:{column}: ")
    assert excerpt.strip() == text.split("\n")[line - 1].strip()
    assert caret.index("^") == 4 + column - 1


def test_a_literal_variable_outside_secrets_stays_literal_and_is_named():
    config, warnings = read('[agent]\ndefault_model = "${MODEL}"', MODEL="x")
    assert config.agent.default_model == "${MODEL}"
    assert "secrets only" in warnings[0]


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "config.toml"
    path.mkdir()
    with pytest.raises(ConfigUnreadable, match="cannot be read"):
        load(path, {})
    path.rmdir()
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigUnreadable, match=r"config\.toml:2: byte 0xff is not UTF-8"):
        load(path, {})
    path.write_bytes(b"#" * (MAX_CONFIG_BYTES + 1))
    with pytest.raises(ConfigUnreadable, match="larger than"):
        load(path, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_named(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("")
    path.chmod(0)
    with pytest.raises(ConfigUnreadable, match="Permission denied"):
        load(path, {})


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[agent]\r\nmax_tokens = 7\r\n")
    path.chmod(0o600)
    loaded = load(path, {})
    assert loaded.config.agent.max_tokens == 7
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [
        (0o644, '[providers.openai]\napi_key = "sk-literal"', "other users can read it"),
        (0o644, '[providers.openai]\napi_key = "${KEY}"', None),
        (0o600, '[providers.openai]\napi_key = "sk-literal"', None),
        (0o666, "", "other users can change this file"),
    ],
)
def test_permissions_that_endanger_are_warned_of(tmp_path, mode, text, expected):
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(mode)
    warnings = load(path, {}).warnings
    assert [w for w in warnings if expected in w] if expected else not warnings, warnings
    assert "sk-literal" not in "".join(warnings)


def test_every_default_is_of_its_own_kind():
    from localgpt.config.keys import Kind, key_at
    from localgpt.config.read import convert

    for name, value in defaults().items():
        spec = key_at(name)
        assert spec is not None
        if value is not None and spec.kind is not Kind.DURATION:
            convert(spec, list(value) if isinstance(value, tuple) else value)


def test_the_security_tables_are_all_strict():
    strict = {name for name, table in TABLES.items() if table.strict}
    assert {"security", "sandbox", "sandbox.allow_paths", "sandbox.network", "policy", "tools.filters"} <= strict
    assert all(is_guarded(name) for name in strict if "*" not in name)
    assert "sandbox" in known_names("")
