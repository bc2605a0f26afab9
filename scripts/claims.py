"""Write the table of security claims into README.md from docs/claims.toml, so that no text claims more than the list.

python scripts/claims.py [--write]      without it: status 1 when the README is out of date
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
LIST = CHECKOUT / "docs/claims.toml"
README = CHECKOUT / "README.md"
BEGIN, END = "<!-- claims: begin (scripts/claims.py --write) -->", "<!-- claims: end -->"


class NoPlaceForClaims(Exception):  # noqa: N818  (named after the condition)
    """The README has no marked place for the table."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence that the project answers for.

    `assumption`: what must be true for it. `mechanism`: modules, as dotted names or paths. `tests`: ``file::name``.
    `rung`: the weakest confinement under which it holds ("A", "B"), or "any" when it does not depend on one.
    """

    id: str
    sentence: str
    assumption: str
    mechanism: tuple[str, ...]
    tests: tuple[str, ...]
    rung: str


def claims(text: str) -> tuple[Claim, ...]:
    """Parse the list; a missing or unknown field is a TypeError."""
    rows: list[dict[str, Any]] = tomllib.loads(text)["claim"]
    return tuple(Claim(**frozen(row)) for row in rows)


def frozen(row: dict[str, Any]) -> dict[str, Any]:
    """Return `row` with tuples for lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def table(rows: Sequence[Claim]) -> str:
    """Return the claims as a Markdown table."""
    lines = ["| claim | holds when | confinement |", "|---|---|---|"]
    lines += [f"| {each.sentence} | {each.assumption} | {each.rung} |" for each in rows]
    return "\n".join(lines)


def with_table(readme: str, rows: Sequence[Claim]) -> str:
    """Return `readme` with the table in its marked place.

    Raises:
        NoPlaceForClaims: the markers are missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoPlaceForClaims(f"README.md needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    """Write the table, or say whether it is right."""
    found = README.read_text("utf-8")
    right = with_table(found, claims(LIST.read_text("utf-8")))
    if "--write" in arguments:
        README.write_text(right, "utf-8")
    elif found != right:
        print(
            "README.md: its claims are not those of docs/claims.toml: python scripts/claims.py --write", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
