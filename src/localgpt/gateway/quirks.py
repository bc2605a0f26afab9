"""What one endpoint turned out not to understand."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Quirks:
    """Learned from refusals, kept as long as the process lives.

    `without`: names of request fields to leave out. `schema_form`: index into the protocol's ladder of ways to demand
    JSON of a schema, firmest first.
    """

    without: set[str] = field(default_factory=set)
    schema_form: int = 0
