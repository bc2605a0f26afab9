"""`localgpt config`."""

from __future__ import annotations

import tomllib

import pytest

from localgpt.config.sample import SAMPLE
from tests.cli.command import home
from tests.config.test_read import RUST_README

__all__ = ["home"]

CANARY = "sk-canary-4711"


def test_init_writes_the_sample_once(home):
    assert home.ok("config", "init").out == f"wrote {home.config_file}\n"
    assert home.config_file.read_text() == SAMPLE
    home.config_file.write_text("# mine\n")
    assert "nothing was changed" in home.ok("config", "init").out
    assert home.config_file.read_text() == "# mine\n"


def test_path(home):
    assert home.ok("config", "path").out == f"{home.config_file}\n"
    assert home.ok("config", "path", "--json").json == {"path": str(home.config_file), "exists": False}
    home.extra["LOCALGPT_CONFIG"] = "/elsewhere.toml"
    assert home.ok("config", "path").out == "/elsewhere.toml\n"


def test_show_is_toml_that_loads_again(home):
    home.write_config(RUST_README)
    shown = home.ok("config", "show").out
    tree = tomllib.loads(shown)
    assert tree["agent"]["default_model"] == "claude-cli/opus"
    assert tree["heartbeat"]["interval"] == "30m"
    assert tree["sandbox"]["timeout_secs"] == 120
    assert "timeout_secs = 120  # default" in shown
    assert 'interval = "30m"\n' in shown
    assert home.ok("config", "show", "--json").json == home.ok("config", "show", "--format", "json").json == tree
    only_set = tomllib.loads(home.ok("config", "show", "--set").out)
    assert only_set == tomllib.loads(RUST_README)


def test_secrets_are_never_printed(home):
    home.write_config(RUST_README + f'\n[providers.openai]\napi_key = "{CANARY}"\n')
    home.extra.update({"ANTHROPIC_API_KEY": CANARY, "TELEGRAM_BOT_TOKEN": CANARY})
    outputs = [
        home.ok("config", "show"),
        home.ok("config", "show", "--json"),
        home.ok("config", "get", "providers.openai.api_key"),
        home.ok("config", "get", "telegram.api_token", "--json"),
        home.run("--debug", "config", "get", "nope"),
        home.ok("models", "list"),
        home.run("doctor"),
    ]
    assert CANARY not in "".join(result.out + result.err for result in outputs)
    assert outputs[2].out == "(hidden)\n"
    assert outputs[3].json == "${TELEGRAM_BOT_TOKEN}"


def test_get(home):
    assert home.ok("config", "get", "sandbox.max_processes").out == "64\n"
    assert home.ok("config", "get", "agent.turn_timeout").out == "10m\n"
    assert home.ok("config", "get", "agent.fallback_models").out == "[]\n"
    assert home.run("config", "get", "agent.default_model").status == 1
    unknown = home.run("config", "get", "agent.max_token")
    assert (unknown.status, unknown.err) == (
        2,
        "error: unknown key agent.max_token\ncure: did you mean agent.max_tokens?\n",
    )


def test_set_keeps_comments_and_writes_no_expanded_secret(home):
    home.write_config("# mine\n" + RUST_README)
    home.extra["ANTHROPIC_API_KEY"] = CANARY
    assert home.ok("config", "set", "heartbeat.interval", "1h").out == 'heartbeat.interval = "1h"\n'
    text = home.config_file.read_text()
    assert text == "# mine\n" + RUST_README.replace('"30m"', '"1h"')


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["sandbox.level", "none"], "cannot"),
        (["providers.openai.api_key", CANARY], "shell's history"),
        (["agent.max_tokens", "lots"], "expected a whole number"),
    ],
)
def test_set_refuses(home, argv, expected):
    result = home.run("config", "set", *argv)
    assert result.status == 2
    assert expected in result.err
    assert CANARY not in result.err
    assert not home.config_file.exists()


@pytest.mark.parametrize(
    ("text", "status", "expected"),
    [
        ("[agent\n", 2, ":1:7: not TOML"),
        ("[sandbox]\nlevel = 'none'\n", 2, "would switch a defence off"),
        ("[sandbox]\nlevl = 'full'\n", 2, "cure: did you mean level?"),
        ("[agent]\nmax_tokens = 'x'\n", 2, "expected a whole number"),
        ("[agent]\nmax_tokns = 3\n", 0, "warning: {file}:2: unknown key agent.max_tokns: did you mean max_tokens?"),
    ],
)
def test_bad_files(home, text, status, expected):
    file = home.write_config(text)
    result = home.run("config", "show")
    assert result.status == status
    assert expected.format(file=file) in result.err
    assert str(file) in result.err


def test_another_file_can_be_named(home, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text("[agent]\nmax_tokens = 99\n")
    other.chmod(0o600)
    assert home.ok("--config", str(other), "config", "get", "agent.max_tokens").out == "99\n"


def test_the_cure_of_a_broken_file_works(home):
    """What an error tells the user to run must not fail for the same error."""
    home.write_config("[agent]\nmax_tokens = -1\n")
    result = home.run("config", "show")
    assert result.status == 2
    assert "localgpt config show --defaults" in result.err
    shown = home.ok("config", "show", "--defaults").out
    assert "max_tokens = " in shown
    assert home.ok("config", "show", "--defaults", "--json").json == tomllib.loads(shown)
    assert home.run("config", "show", "--defaults", "--set").status == 2
