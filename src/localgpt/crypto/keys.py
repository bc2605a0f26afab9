"""The device key: 32 random bytes in one file of the user's, from which every other key is derived.

The file is created with mode 0600 before its first byte exists and never replaces another. Loading refuses a key that
someone else could have read or planted. Subkeys are derived with HKDF-SHA256 and a label, so that a MAC made for one
purpose is worthless for any other.

Source: RFC 5869; open(2) on O_EXCL and O_NOFOLLOW. The raw 32-byte format is that of the Rust LocalGPT.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from localgpt.crypto.mac import hkdf_sha256, hmac_sha256
from localgpt.errors import PolicyError

KEY_BYTES: Final = 32
_SALT: Final = b"localgpt device key v1"
_NEW_KEY: Final = "move the file away, then run `localgpt init` for a new key and `localgpt sign` with it"


class DeviceKeyError(PolicyError):
    """The device key cannot be used."""

    code = "key"


class KeyMissing(DeviceKeyError):  # noqa: N818 -- named after the condition
    """There is no key file yet."""

    code = "key.missing"


class KeyExists(DeviceKeyError):  # noqa: N818 -- named after the condition
    """A key would have been replaced."""

    code = "key.exists"


class KeyUnreadable(DeviceKeyError):  # noqa: N818 -- named after the condition
    """The file cannot be read, is no regular file or is a symbolic link."""

    code = "key.unreadable"


class KeyUnwritable(DeviceKeyError):  # noqa: N818 -- named after the condition
    """The file or its directory cannot be created."""

    code = "key.unwritable"


class KeyWrongLength(DeviceKeyError):  # noqa: N818 -- named after the condition
    """The file does not hold exactly 32 bytes."""

    code = "key.wrong-length"


class KeyPermissions(DeviceKeyError):  # noqa: N818 -- named after the condition
    """Someone else owns the file, can read it or can replace it."""

    code = "key.permissions"


@dataclass(frozen=True, slots=True, eq=False)
class DeviceKey:
    """The secret itself. Only the monitor and the signing commands hold one; it is never sent, logged or printed."""

    _secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self._secret) != KEY_BYTES:
            raise KeyWrongLength(f"a device key has {KEY_BYTES} bytes, not {len(self._secret)}")

    def subkey(self, label: str) -> bytes:
        """Derive the 32-byte key for one purpose. Two labels give unrelated keys."""
        return hkdf_sha256(self._secret, salt=_SALT, info=label.encode("utf-8"), length=32)

    @property
    def key_id(self) -> str:
        """16 hex digits that name the key without telling anything of it."""
        return self.subkey("localgpt key id v1")[:8].hex()

    def legacy_mac(self, message: bytes) -> bytes:
        """HMAC under the raw key: only to *verify* version-1 manifests of the Rust LocalGPT, never to sign."""
        return hmac_sha256(self._secret, message)

    def reveal_for_backup(self) -> bytes:
        """The secret itself: for a sealed backup, and for the key's own file."""
        return self._secret

    def __reduce__(self) -> str:
        raise TypeError("a device key is never serialised")


def create_device_key(path: Path) -> DeviceKey:
    """Create `path` with 32 random bytes, mode 0600 from the first byte, and its directory with mode 0700.

    Raises:
        KeyExists: there is a file already; it is left as it is.
        KeyUnwritable: the directory or the file cannot be created (read-only home, full disk).
    """
    key = secrets.token_bytes(KEY_BYTES)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError as error:
        raise KeyExists(
            f"there is a file already: {path}", cure="`localgpt doctor` tells whether it is usable"
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        _write_durably(descriptor, key)
        _sync_directory(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _unwritable(path, error) from error
    finally:
        os.close(descriptor)
    return DeviceKey(key)


def retired_path(path: Path, key_id: str) -> Path:
    """Where a key that signs no more is kept, so that what it wrote can still be read."""
    return path.with_name(f"{path.name}.{key_id}")


def replace_device_key(path: Path, new: DeviceKey) -> Path | None:
    """Put `new` in the place of the key at `path`; the old one stays beside it. Gives its place, None without one.

    A crash leaves the old key or the new one at `path`, and never neither.

    Raises:
        KeyUnwritable, KeyUnreadable, KeyPermissions, KeyWrongLength
    """
    retired: Path | None = None
    try:
        old = load_device_key(path)
    except KeyMissing:
        pass
    else:
        retired = retired_path(path, old.key_id)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _write_durably(descriptor, new.reveal_for_backup())
        finally:
            os.close(descriptor)
        if retired is not None and not retired.exists():
            os.link(path, retired)
            _sync_directory(path.parent)
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from error
    return retired


def new_device_key() -> DeviceKey:
    """A key of 32 random bytes that lies nowhere yet."""
    return DeviceKey(secrets.token_bytes(KEY_BYTES))


def load_device_key(path: Path) -> DeviceKey:
    """Read the key, refusing one that others could have read, replaced or planted.

    Raises:
        KeyMissing, KeyUnreadable, KeyPermissions, KeyWrongLength
    """
    try:
        # O_NONBLOCK: a planted FIFO must not hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise KeyMissing(f"no device key: {path}", cure="run `localgpt init`") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        _check_file(path, os.fstat(descriptor))
        _check_directory(path.parent, path.parent.stat())
        data = os.read(descriptor, KEY_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)
    if len(data) != KEY_BYTES:
        size = "more than 32" if len(data) > KEY_BYTES else str(len(data))
        raise KeyWrongLength(f"the device key must have {KEY_BYTES} bytes, this file has {size}: {path}", cure=_NEW_KEY)
    return DeviceKey(data)


def _check_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyUnreadable(f"the device key is no regular file: {path}", cure=_NEW_KEY)
    if status.st_uid != os.geteuid():
        owner = f"uid {status.st_uid}, not you (uid {os.geteuid()})"
        raise KeyPermissions(f"the device key belongs to {owner}: {path}", cure=f"chown {os.geteuid()} {path}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise KeyPermissions(f"others may read the device key (mode {mode}): {path}", cure=f"chmod 600 {path}")


def _check_directory(path: Path, status: os.stat_result) -> None:
    """Whoever may write the directory may plant a key; whoever may only list it may not."""
    foreign = status.st_uid not in {os.geteuid(), 0}
    if foreign or stat.S_IMODE(status.st_mode) & 0o022:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise KeyPermissions(
            f"others may replace the device key (its directory has mode {mode}, owner uid {status.st_uid}): {path}",
            cure=f"chmod 700 {path}",
        )


def _write_durably(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unreadable(path: Path, error: OSError) -> KeyUnreadable:
    what = "is a symbolic link" if error.errno == errno.ELOOP else f"cannot be read ({error.strerror})"
    return KeyUnreadable(f"the device key {what}: {path}", cure=f"make it a file of yours: chmod 600 {path}")


def _unwritable(path: Path, error: OSError) -> KeyUnwritable:
    return KeyUnwritable(
        f"the device key cannot be created ({error.strerror}): {path}",
        cure="make the directory writable or name another with LOCALGPT_DATA_DIR",
    )
