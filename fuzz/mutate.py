"""Deterministic mutations of a corpus: the same seed gives the same inputs on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

TOKENS = (
    b"```toml policy\n", b"```\n", b"~~~", b"> ", b"[[deny]]\n", b"[[allow]]\n",
    b'argv = ["rm"]\n', b"extends = 'strict'\n",
    b"[flow]\n", b"[zone.own]\n", b"domains = ['a.org']\n", b"[limit.pay]\nper_call = 1\nper_day = 2\n",
    b"even_when_tainted = true\n", b'"', b"\\", b"'''", b"\x00", b"\r", b"\xff",
    b"\xe2\x80\xae", b"\xf3\xa0\x81\xa1", b"\xef\xbb\xbf",
    b"1e999", b"-0", b"9007199254740993", b"NaN", b"\\u0041", b"{", b"[" * 200, b"\n\n\xe2\x80\x94 a ", b"=", b"==\n",
)  # fmt: skip
MAX_BYTES = 70_000


def mutations(corpus: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Yield inputs without end; the corpus itself comes first."""
    yield from corpus
    rng = random.Random(seed)
    while True:
        data = bytearray(rng.choice(corpus))
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            _mutate(data, corpus, rng)
        yield bytes(data[:MAX_BYTES])


def _mutate(data: bytearray, corpus: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(7)
    if kind == 0 and data:
        data[at - 1] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[at:at] = rng.choice(TOKENS)
    elif kind == 2:
        del data[at : at + rng.choice((1, 2, 8, 64))]
    elif kind == 3:
        data[at:at] = data[at : at + rng.choice((1, 16, 256))]
    elif kind == 4:
        other = rng.choice(corpus)
        cut = rng.randrange(len(other) + 1)
        data[at:] = other[cut:]
    elif kind == 5 and data:
        data[at - 1] = rng.randrange(256)
    else:
        lines = bytes(data).split(b"\n")
        rng.shuffle(lines)
        data[:] = b"\n".join(lines)
