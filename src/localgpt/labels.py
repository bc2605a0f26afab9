"""The two axes of every label: how much a value may be trusted, and who may see it."""

from __future__ import annotations

from enum import StrEnum


class Integrity(StrEnum):
    """How much a value may be trusted, best first."""

    USER = "user"
    POLICY = "policy"
    DIRECTORY = "directory"
    ATTESTED = "attested"
    INTERNAL = "internal"
    UNTRUSTED = "untrusted"


class Confidentiality(StrEnum):
    """Who may see a value, most open first."""

    PUBLIC = "public"
    PRIVATE = "private"
    SECRET = "secret"  # noqa: S105 -- a level, not a password
