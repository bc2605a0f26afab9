"""The shipped policies that a document may extend: rules as data, read as strictly as a user's own."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from functools import cache

from localgpt.crypto import sha256_hex
from localgpt.policy.errors import BuiltinBroken, DocumentError
from localgpt.policy.model import Code, Rule, Table, Verdict, strictness
from localgpt.policy.rules import Locator, read_rules
from localgpt.policy.shipped import broken, shipped


def tightened(table: Table, name: str) -> Table:
    """A built-in table with the verdicts that the shipped policy `name` makes stricter.

    Raises:
        BuiltinBroken: it is missing or damaged, names an unknown code, or would loosen one.
    """
    try:
        given = tomllib.loads(shipped(f"{name}.toml").decode("utf-8")).get("verdicts", {})
        stricter = {Code(code): Verdict(verdict) for code, verdict in given.items()}
    except ValueError as error:
        raise broken(f"{name}.toml: {error}") from error
    loose = [code for code, verdict in stricter.items() if strictness(verdict) < strictness(table.verdict(code))]
    if loose:
        raise broken(f"{name}.toml: [verdicts] may only make stricter: {', '.join(loose)}")
    verdicts = tuple((code, stricter.get(code, verdict)) for code, verdict in table.verdicts)
    return replace(table, verdicts=verdicts)


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
        tree.pop("verdicts", None)  # `tightened` reads them
        return read_rules(tree, Locator(text, 1)), sha256_hex(data)
    except (ValueError, DocumentError) as error:
        message = f"the shipped policy {name} is damaged: {error}"
        raise BuiltinBroken(message, cure="install the program again") from error
