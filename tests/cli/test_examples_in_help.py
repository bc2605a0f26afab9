"""Every command's help shows how it is used."""

from __future__ import annotations

import pytest

from tests.cli.command import Home, home

__all__ = ["home"]

COMMANDS = [
    "chat", "ask", "init", "sign", "verify", "config show", "config get", "config set", "config init", "config path",
    "models list", "models add", "models test", "audit show", "audit verify", "session list", "session show",
    "sandbox status", "sandbox test", "sandbox run", "scan", "doctor", "paths", "completion", "recover",
    "policy check", "policy test", "policy diff", "policy explain", "policy show", "policy edit", "policy grant",
    "key status", "key new", "key rotate", "key backup", "key restore", "audit replay", "audit head", "audit prove",
    "audit check-proof", "audit tail", "audit stats", "audit export", "audit prune", "audit install-service", "today",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(home: Home, command: str):
    result = home.run(*command.split(), "--help")
    assert result.status == 0
    examples = result.out.partition("Example")[2]
    assert f"localgpt {command}" in examples or f"localgpt {command.split(maxsplit=1)[0]}" in examples
