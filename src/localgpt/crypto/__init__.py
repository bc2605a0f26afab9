"""Keys and MACs: the device key, labelled subkeys, constant-time comparison. Pure but for the key file."""

from localgpt.crypto.keys import (
    DeviceKey,
    DeviceKeyError,
    KeyExists,
    KeyMissing,
    KeyPermissions,
    KeyUnreadable,
    KeyUnwritable,
    KeyWrongLength,
    create_device_key,
    load_device_key,
)
from localgpt.crypto.mac import hkdf_sha256, hmac_sha256, same, sha256_hex, tagged_mac

__all__ = [
    "DeviceKey",
    "DeviceKeyError",
    "KeyExists",
    "KeyMissing",
    "KeyPermissions",
    "KeyUnreadable",
    "KeyUnwritable",
    "KeyWrongLength",
    "create_device_key",
    "hkdf_sha256",
    "hmac_sha256",
    "load_device_key",
    "same",
    "sha256_hex",
    "tagged_mac",
]
