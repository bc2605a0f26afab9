"""A device key on paper or a stick: sealed with a passphrase, in five lines of text.

The passphrase goes through scrypt, the key through ChaCha20-Poly1305; every line before the last is authenticated with
it. A wrong passphrase and a changed file look the same, because nothing can tell them apart.

Source: RFC 7914 (scrypt), RFC 8439 (ChaCha20-Poly1305).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from typing import Final

from localgpt.crypto.keys import KEY_BYTES, DeviceKey, DeviceKeyError

MIN_PASSPHRASE: Final = 8  #: characters
MAX_BACKUP_BYTES: Final = 4096
_LOG2_N: Final = 16  # 64 MiB and some tenths of a second
_MAX_LOG2_N: Final = 20
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_TEXT: Final = re.compile(
    r"(localgpt device key backup v1\nkey-id ([0-9a-f]{16})\nscrypt ([0-9]{2}) ([A-Za-z0-9+/=]+)\n"
    r"chacha20-poly1305 ([A-Za-z0-9+/=]+)\n)([A-Za-z0-9+/=]+)\n",
    re.ASCII,
)


class BackupMalformed(DeviceKeyError):  # noqa: N818 -- named after the condition
    """The file is no backup of a known version."""

    code = "key.backup-malformed"


class BackupNotOpened(DeviceKeyError):  # noqa: N818 -- named after the condition
    """Another passphrase, or a backup that was changed."""

    code = "key.backup-not-opened"


class PassphraseTooShort(DeviceKeyError):  # noqa: N818 -- named after the condition
    """A passphrase that could be guessed."""

    code = "key.passphrase-too-short"


def seal_key(key: DeviceKey, passphrase: str) -> bytes:
    """The text of a backup.

    Raises:
        PassphraseTooShort
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise PassphraseTooShort(f"a passphrase has at least {MIN_PASSPHRASE} characters", cure="take five words")
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    head = (
        f"localgpt device key backup v1\nkey-id {key.key_id}\nscrypt {_LOG2_N} {_b64(salt)}\n"
        f"chacha20-poly1305 {_b64(nonce)}\n"
    )
    sealed = _cipher(passphrase, salt, _LOG2_N).encrypt(nonce, key.reveal_for_backup(), head.encode("ascii"))
    return f"{head}{_b64(sealed)}\n".encode("ascii")


def open_key(data: bytes, passphrase: str) -> DeviceKey:
    """The key in a backup.

    Raises:
        BackupMalformed, BackupNotOpened
    """
    head, key_id, log2_n, salt, nonce, sealed = _parse(data)
    from cryptography.exceptions import InvalidTag

    try:
        secret = _cipher(passphrase, salt, log2_n).decrypt(nonce, sealed, head)
    except InvalidTag as error:
        raise BackupNotOpened(
            "another passphrase, or the backup was changed", cure="try the passphrase again"
        ) from error
    key = DeviceKey(secret)
    if key.key_id != key_id:
        raise BackupMalformed("the backup names another key than it holds")
    return key


def backup_key_id(data: bytes) -> str:
    """The id that a backup claims, for asking the right question; `open_key` checks it.

    Raises:
        BackupMalformed
    """
    return _parse(data)[1]


def _parse(data: bytes) -> tuple[bytes, str, int, bytes, bytes, bytes]:
    found = _TEXT.fullmatch(data.decode("ascii", "replace")) if len(data) <= MAX_BACKUP_BYTES else None
    if found is None:
        raise BackupMalformed("this is no backup of a device key", cure="name the file that `localgpt key backup` made")
    head, key_id, log2_n = found[1].encode("ascii"), found[2], int(found[3])
    salt, nonce, sealed = map(_unb64, found.group(4, 5, 6))
    sizes = (len(salt), len(nonce), len(sealed))
    if sizes != (_SALT_BYTES, _NONCE_BYTES, KEY_BYTES + 16) or not _LOG2_N <= log2_n <= _MAX_LOG2_N:
        raise BackupMalformed("a field of the backup has the wrong size", cure="take another copy of the backup")
    return head, key_id, log2_n, salt, nonce, sealed


def _cipher(passphrase: str, salt: bytes, log2_n: int):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- imported late
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    n = 1 << log2_n
    key = hashlib.scrypt(passphrase.encode("utf-8"), salt=salt, n=n, r=8, p=1, maxmem=256 * n * 8, dklen=32)
    return ChaCha20Poly1305(key)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    """Decode the one spelling; anything else has no size that fits."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if _b64(data) == text else b""
