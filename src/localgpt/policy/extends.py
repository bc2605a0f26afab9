"""The shipped policies that a document may extend: rules as data, read as strictly as a user's own."""

from __future__ import annotations

import tomllib
from functools import cache

from localgpt.crypto import sha256_hex
from localgpt.policy.builtin import shipped
from localgpt.policy.errors import BuiltinBroken, DocumentError
from localgpt.policy.model import Rule
from localgpt.policy.rules import Locator, read_rules


@cache
def shipped_rules(name: str) -> tuple[tuple[Rule, ...], str]:
    """The rules of the shipped policy `name`, and the hex SHA-256 of its file.

    Raises:
        BuiltinBroken: it is missing or damaged.
    """
    data = shipped(f"{name}.toml")
    try:
        text = data.decode("utf-8")
        tree = tomllib.loads(text)
        if tree.pop("version", None) != 1 or not isinstance(tree.pop("summary", None), str):
            raise ValueError("its version or its summary is missing")  # noqa: TRY301 -- one way out for all damage
        return read_rules(tree, Locator(text, 1)), sha256_hex(data)
    except (ValueError, DocumentError) as error:
        message = f"the shipped policy {name} is damaged: {error}"
        raise BuiltinBroken(message, cure="install the program again") from error
