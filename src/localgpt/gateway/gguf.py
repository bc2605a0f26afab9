"""The beginning of a GGUF file: just enough to learn a model's context length. Only confined processes call this.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Final

_SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING: Final = 8
_ARRAY: Final = 9
_MAX_KEYS: Final = 512
_MAX_TEXT: Final = 1024 * 1024
_MAX_LIST: Final = 4096


def context_length(path: str | Path) -> int | None:
    """Give the context length that the model was trained with, None when the header does not say.

    Reads key by key until it is found; a long array (the vocabulary) ends the search, for it comes after.
    """
    with Path(path).open("rb") as file:
        try:
            return _find(file)
        except (struct.error, KeyError, ValueError):
            return None


def _find(file: BinaryIO) -> int | None:
    magic, version, _tensors, keys = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF" or version not in {2, 3}:
        return None
    for _ in range(min(keys, _MAX_KEYS)):
        key = _text(file)
        value = _value(file, _number(file, "<I"))
        if key.endswith(".context_length") and isinstance(value, int):
            return value
    return None


def _value(file: BinaryIO, kind: int) -> int | float | None:
    """Read a number, or read over a text or a short list."""
    if kind == _STRING:
        _text(file)
        return None
    if kind == _ARRAY:
        inner, count = _number(file, "<I"), _number(file, "<Q")
        if count > _MAX_LIST or inner == _ARRAY:
            raise ValueError("a list of that size does not come before the context length")
        for _ in range(count):
            _value(file, inner)
        return None
    form = _SCALARS[kind]
    value: int | float = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return value


def _text(file: BinaryIO) -> str:
    size = _number(file, "<Q")
    if size > _MAX_TEXT:
        raise ValueError("a text of that size does not belong to a header")
    return file.read(size).decode("utf-8", "replace")


def _number(file: BinaryIO, form: str) -> int:
    return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])
