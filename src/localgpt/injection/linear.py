"""Linear-time patterns over bytes (google-re2), loaded at their first use: no pattern here can be made to backtrack."""

from __future__ import annotations

from typing import Any, Final

_MEMORY_BYTES: Final = 32 << 20  #: for the states of one pattern; beyond it re2 gets slower, never wrong


def linear(pattern: bytes) -> Any:  # noqa: ANN401 -- re2 has no types
    """Compile `pattern`, in which ``.`` is any byte; non-ASCII letters stand in it as their UTF-8 bytes."""
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    return re2.compile(pattern, options)
