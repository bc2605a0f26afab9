"""Encrypted details of entries. Only their digest is under the tree: they can be erased, and the log stays whole.

One file and one key a session. A record is four bytes of size (big-endian) and a nonce with ciphertext. Destroying the
key erases every copy of the details, wherever a backup has one.

Source: RFC 8439 (ChaCha20-Poly1305).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from localgpt import canon
from localgpt.audit.disk import FLAGS
from localgpt.audit.errors import EntryInvalid
from localgpt.audit.files import unopenable

_ADDITIONAL: Final = b"localgpt.audit.body/v2"
_NONCE_BYTES: Final = 12
_SIZE: Final = struct.Struct(">I")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
MAX_BODY_BYTES: Final = 256 * 1024


class Bodies:
    """The directory `bodies` of a log."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "bodies"

    def add(self, session: str, details: dict[str, canon.Json]) -> dict[str, object]:
        """Encrypt and append; returns the fields `body` and `body_bytes`. Synced with the session's last, not each.

        Raises:
            EntryInvalid: no session, or too large.
            OSError
        """
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415 -- 40 ms

        plain = canon.encode(details)
        if not _NAME.fullmatch(session) or len(plain) > MAX_BODY_BYTES:
            raise EntryInvalid("details need a session and at most 256 KiB")
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + ChaCha20Poly1305(self._key(session)).encrypt(nonce, plain, _ADDITIONAL)
        descriptor = os.open(self._path(session), os.O_WRONLY | os.O_APPEND | os.O_CREAT | FLAGS, 0o600)
        try:
            os.write(descriptor, _SIZE.pack(len(sealed)) + sealed)
        finally:
            os.close(descriptor)
        return {"body": hashlib.sha256(sealed).hexdigest(), "body_bytes": len(sealed)}

    def read(self, session: str) -> Iterator[tuple[str, dict[str, canon.Json]]]:
        """Digest and details of every record of a session whose key is still there."""
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415 -- 40 ms

        place = self._path(session).with_suffix(".key")
        if not place.exists():
            return
        cipher = ChaCha20Poly1305(place.read_bytes())
        for sealed in self._records(session):
            plain = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _ADDITIONAL)
            yield hashlib.sha256(sealed).hexdigest(), canon.decode_object(plain)

    def sessions(self, before_us: int | None = None) -> list[str]:
        """Those with details, or only those last written before a moment."""
        found = self._directory.glob("*.body") if self._directory.is_dir() else ()
        return sorted(p.stem for p in found if before_us is None or p.stat().st_mtime * 1e6 < before_us)

    def erase(self, session: str) -> tuple[int, int]:
        """Overwrite and remove the key, then the ciphertexts; how many details, and their bytes.

        Raises:
            EntryInvalid: no such session.
            LogUnopenable
        """
        path = self._path(session)
        if not _NAME.fullmatch(session) or not path.exists():
            raise EntryInvalid(f"there are no details of session {session!r}")
        sizes = [len(each) for each in self._records(session)]
        try:
            for each in (path.with_suffix(".key"), path):
                _overwrite(each)
                each.unlink(missing_ok=True)
        except OSError as error:
            raise unopenable(self._directory, error) from error
        return len(sizes), sum(sizes)

    def _path(self, session: str) -> Path:
        return self._directory / f"{session}.body"

    def _key(self, session: str) -> bytes:
        place = self._path(session).with_suffix(".key")
        try:
            return place.read_bytes()
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, exist_ok=True)
        key = secrets.token_bytes(32)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FLAGS, 0o600)
        try:
            os.write(descriptor, key)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return key

    def _records(self, session: str) -> Iterator[bytes]:
        with self._path(session).open("rb") as file:
            while len(head := file.read(_SIZE.size)) == _SIZE.size:
                (size,) = _SIZE.unpack(head)
                sealed = file.read(min(size, 2 * MAX_BODY_BYTES))
                if len(sealed) != size:
                    return  # cut off by a power loss; its entry's digest stays
                yield sealed


def load_cipher() -> None:
    """Import the library now."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: F401, PLC0415 -- 40 ms


def _overwrite(path: Path) -> None:
    if path.exists():
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
