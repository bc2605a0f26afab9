"""Changing a configuration file."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import Any

import pytest

from localgpt.config.edit import edited, set_value
from localgpt.config.errors import (
    BadValue,
    BrokenToml,
    DirectoryUnusable,
    SecretInArguments,
    UnknownKey,
    UnsafeSetting,
)
from localgpt.config.read import load
from localgpt.config.sample import SAMPLE

ENVIRON = {"ANTHROPIC_API_KEY": "sk-canary"}

BEFORE = """\
# my notes
[agent]   # the agent
default_model = "opus"  # the good one
max_tokens = 100

# keys
[providers.anthropic]
api_key = "${ANTHROPIC_API_KEY}"
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(BEFORE)
    return file


def test_comments_order_and_references_stay(path):
    set_value(path, "agent.default_model", "ollama/qwen3", ENVIRON)
    assert path.read_text() == BEFORE.replace('"opus"', '"ollama/qwen3"')
    set_value(path, "sandbox.allow_paths.read", "/opt, /srv", ENVIRON)
    text = path.read_text()
    assert "sk-canary" not in text
    assert text.startswith("# my notes\n[agent]   # the agent\n")
    assert load(path, ENVIRON).config.sandbox.read == ("/opt", "/srv")


def test_the_file_is_private_and_no_temporary_file_is_left(path):
    path.chmod(0o644)
    set_value(path, "agent.max_tokens", "200", ENVIRON)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [f.name for f in path.parent.iterdir()] == ["config.toml"]


def test_a_missing_file_and_its_directories_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "config.toml"
    set_value(path, "heartbeat.interval", "1h30m", {})
    assert load(path, {}).config.values["heartbeat.interval"] == 5400


def test_a_link_stays_a_link(path, tmp_path):
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    set_value(link, "agent.max_tokens", "7", ENVIRON)
    assert link.is_symlink()
    assert "max_tokens = 7" in path.read_text()


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("agent.defalt_model", "x", UnknownKey),
        ("sandbox.levels", "x", UnknownKey),
        ("nonsense", "x", UnknownKey),
        ("agent", "x", UnknownKey),
        ("agent.max_tokens", "many", BadValue),
        ("agent.max_tokens", "1.5", BadValue),
        ("heartbeat.interval", "30", BadValue),
        ("heartbeat.enabled", "perhaps", BadValue),
        ("sandbox.level", "none", UnsafeSetting),
        ("sandbox.enabled", "off", UnsafeSetting),
        ("security.disable_policy", "true", UnsafeSetting),
        ("providers.anthropic.api_key", "sk-live-123", SecretInArguments),
    ],
)
def test_a_refused_change_leaves_the_file_as_it_was(path, key, value, error):
    with pytest.raises(error) as caught:
        set_value(path, key, value, ENVIRON)
    assert path.read_text() == BEFORE
    assert "sk-live" not in str(caught.value)


def test_a_broken_file_is_not_overwritten(path):
    path.write_text("[agent\n")
    with pytest.raises(BrokenToml):
        set_value(path, "agent.max_tokens", "7", {})
    assert path.read_text() == "[agent\n"


def test_values_cannot_smuggle_other_keys_in():
    text = edited("", "agent.default_model", 'x"\n[sandbox]\nlevel = "none')
    assert load_text(text)["agent"]["default_model"] == 'x"\n[sandbox]\nlevel = "none'
    assert "sandbox" not in load_text(text)


def load_text(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


def test_the_sample_is_all_comments_and_good_when_uncommented(tmp_path):
    assert load_text(SAMPLE) == {}
    path = tmp_path / "config.toml"
    lines = [
        line[2:] if line.startswith(("# [", "# ")) and ("=" in line or "[" in line) else ""
        for line in SAMPLE.split("\n")
    ]
    code = [line for line in lines if line.startswith("[") or (" = " in line and line.split(" ")[1] == "=")]
    path.write_text("\n".join(code))
    path.chmod(0o600)
    loaded = load(path, {})
    assert loaded.warnings == ()
    assert loaded.config.agent.turn_timeout_s == 600


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_loses_nothing(tmp_path):
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k,mode=700", "none", str(tmp_path)], check=False, capture_output=True
    ).returncode:
        pytest.skip("this environment does not allow mounts")
    try:
        path = tmp_path / "config.toml"
        path.write_text(BEFORE)
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "fill").write_bytes(b"x" * (1 << 20))
        with pytest.raises(DirectoryUnusable, match="no space left on device; it is as it was"):
            set_value(path, "agent.default_model", "x" * 5000, ENVIRON)
        assert path.read_text() == BEFORE
        assert sorted(f.name for f in tmp_path.iterdir()) == ["config.toml", "fill"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
