"""RFC vectors and the properties that labels and domains promise."""

import hashlib
import hmac

import pytest

from localgpt.crypto import hkdf_sha256, same, sha256_hex, tagged_mac

# RFC 5869 appendix A, cases 1 to 3: (secret, salt, info, length, output).
RFC_5869 = [
    (
        "0b" * 22,
        bytes(range(13)).hex(),
        bytes(range(0xF0, 0xFA)).hex(),
        42,
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        82,
        (
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
            "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
        ),
    ),
    (
        "0b" * 22,
        "",
        "",
        42,
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("secret", "salt", "info", "length", "output"), RFC_5869)
def test_hkdf_gives_the_rfc_vectors(secret, salt, info, length, output):
    derived = hkdf_sha256(bytes.fromhex(secret), salt=bytes.fromhex(salt), info=bytes.fromhex(info), length=length)
    assert derived.hex() == output


@pytest.mark.parametrize("length", [0, -1, 255 * 32 + 1])
def test_hkdf_refuses_lengths_outside_the_rfc(length):
    with pytest.raises(ValueError, match="HKDF-SHA256 gives"):
        hkdf_sha256(b"k", salt=b"", info=b"", length=length)


def test_a_domain_cannot_be_shifted_into_the_message():
    assert tagged_mac(b"k", "a", b"bc") != tagged_mac(b"k", "ab", b"c")
    assert tagged_mac(b"k", "a", b"m") == hmac.new(b"k", b"a\x00m", hashlib.sha256).digest()


def test_same_compares_values():
    assert same(b"abc", b"abc")
    assert not same(b"abc", b"abd")
    assert not same(b"abc", b"abcd")


def test_sha256_hex_of_nothing():
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
