"""Canonical JSON: the one encoding of everything that is hashed, signed or sent between processes.

The subset of RFC 8785 on which the standard library, orjson and JCS agree byte for byte: objects with ASCII keys,
strings of valid Unicode, integers with ``|n| < 2**53``, booleans, null, arrays. No floats. ``decode`` re-encodes what
it read and compares, so a document has exactly one accepted spelling: duplicate keys, spaces, needless escapes and
``NaN`` are all refused.

Source: RFC 8785; RFC 8259.
"""

from __future__ import annotations

import json
from typing import Final, TypeAlias, cast

from localgpt.errors import LocalGptError

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

MAX_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 64


class CanonError(LocalGptError):
    """Bytes or a value outside the canonical subset."""

    code = "canon"


class NotCanonical(CanonError):  # noqa: N818 -- named after the condition
    """The bytes are JSON, but not the canonical spelling of their value."""

    code = "canon.not-canonical"


class NotEncodable(CanonError):  # noqa: N818 -- named after the condition
    """The value has no canonical encoding."""

    code = "canon.not-encodable"


_encoder = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)


def encode(value: Json) -> bytes:
    """Encode `value` as canonical JSON, UTF-8, without a trailing newline.

    Raises:
        NotEncodable: for floats, integers beyond 2**53 - 1, keys that are not ASCII strings, lone surrogates, other
            types, or nesting deeper than `MAX_DEPTH`.
    """
    _check(value, 0)
    try:
        return _encoder.encode(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotEncodable(f"a string holds a lone surrogate at position {error.start}") from error


def decode(data: bytes) -> Json:
    """Decode canonical JSON.

    Raises:
        NotCanonical: when the bytes are not valid UTF-8 JSON in exactly the spelling that `encode` gives.
    """
    try:
        value = cast("Json", json.loads(data.decode("utf-8")))
        again = encode(value)
    except (UnicodeDecodeError, ValueError, RecursionError, NotEncodable) as error:
        raise NotCanonical(f"not canonical JSON: {error}") from error
    if again != data:
        raise NotCanonical(
            "not canonical JSON: the same value has another spelling (spaces, escapes, key order or duplicate keys)"
        )
    return value


def decode_object(data: bytes) -> dict[str, Json]:
    """Decode canonical JSON whose outermost value must be an object."""
    value = decode(data)
    if not isinstance(value, dict):
        raise NotCanonical("not canonical JSON: the outermost value is not an object")
    return value


def _check(value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotEncodable(f"nested deeper than {MAX_DEPTH}")
    if value is None or isinstance(value, (bool, str)):
        return
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise NotEncodable(f"integer beyond 2**53 - 1: {value}")
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise NotEncodable(f"object key is not an ASCII string: {key!r}")
            if type(item) is not str or depth == MAX_DEPTH:  # a string has nothing beneath it to look at
                _check(item, depth + 1)
    else:
        raise NotEncodable(f"no canonical encoding for {type(value).__name__}")
