"""HMAC-SHA256, HKDF-SHA256 and the constant-time comparison. Standard library only.

Source: RFC 2104, RFC 5869.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

_HASH_BYTES: Final = 32


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """32 bytes of HMAC-SHA256."""
    return hmac.digest(key, message, "sha256")


def tagged_mac(key: bytes, domain: str, message: bytes) -> bytes:
    """HMAC over a domain string, a zero byte and `message`: what is authentic in one domain is nothing in another.

    `domain` is printable ASCII, so the zero byte ends it without ambiguity.
    """
    return hmac_sha256(key, domain.encode("ascii") + b"\x00" + message)


def same(left: bytes, right: bytes) -> bool:
    """Compare two secrets or MACs in time that does not depend on where they differ."""
    return hmac.compare_digest(left, right)


def sha256_hex(data: bytes) -> str:
    """Lower-case hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def hkdf_sha256(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """Extract-and-expand key derivation.

    Raises:
        ValueError: `length` beyond 255 blocks of 32 bytes.
    """
    if not 0 < length <= 255 * _HASH_BYTES:
        raise ValueError(f"HKDF-SHA256 gives 1 to {255 * _HASH_BYTES} bytes, not {length}")
    extracted = hmac_sha256(salt or bytes(_HASH_BYTES), secret)
    block, output = b"", b""
    for counter in range(1, -(-length // _HASH_BYTES) + 1):
        block = hmac_sha256(extracted, block + info + bytes([counter]))
        output += block
    return output[:length]
