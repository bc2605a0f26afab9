"""A secret gives itself away only when asked by name."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import pytest

from localgpt.config.errors import SecretUnset
from localgpt.config.read import parse
from localgpt.config.secret import Secret, variable_name

CANARY = "sk-canary-0123456789"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("${A_B1}", "A_B1"),
        ("$A", "A"),
        ("x${A}", None),
        ("${A}x", None),
        ("${A}\n", None),
        ("${1A}", None),
        ("${}", None),
        ("$", None),
        ("${A} ${B}", None),
    ],
)
def test_only_a_whole_value_is_a_variable(text, name):
    assert variable_name(text) == name


@pytest.mark.parametrize("secret", [Secret(CANARY, variable=None, where="k"), Secret(CANARY, variable="V", where="k")])
def test_nothing_prints_it(secret, caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger("t").info("%s %r", secret, secret)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>40}", f"{secret!r}", "%s" % (secret,), secret.shown]  # noqa: UP031 -- one more way to print
    assert CANARY not in "".join(shown) + caplog.text
    for leak in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            leak(secret)
    assert secret.reveal() == CANARY


def test_a_whole_configuration_does_not_print_its_secrets():
    config, warnings = parse(
        f'[providers.openai]\napi_key = "{CANARY}"\n[providers.openai_compatible]\nextra_headers = {{ A = "{CANARY}" }}'
        f'\n[[mcp.servers]]\nenv = {{ T = "{CANARY}" }}\n[telegram]\napi_token = "${{V}}"',
        {"V": CANARY},
        source="config.toml",
    )
    assert CANARY not in repr(config) + str(config) + repr(dict(config.values)) + repr(config.given) + str(warnings)


def test_an_unset_variable_is_reported_when_used_and_not_before():
    config, warnings = parse('[providers.openai]\napi_key = "${NOT_SET_HERE}"', {}, source="config.toml")
    assert warnings == ()
    secret = config.providers["openai"].api_key
    assert secret is not None
    assert not secret.is_set
    with pytest.raises(SecretUnset, match=r"providers\.openai\.api_key .* NOT_SET_HERE"):
        secret.reveal()


def test_an_empty_variable_is_unset():
    assert not Secret.parse("${V}", {"V": ""}, where="k").is_set


def test_secrets_compare_by_value():
    assert Secret("a", variable=None, where="x") == Secret("a", variable=None, where="y")
    assert Secret("a", variable=None, where="x") != Secret("b", variable=None, where="x")
    assert len({Secret("a", variable=None, where="x"), Secret("a", variable=None, where="x")}) == 1
