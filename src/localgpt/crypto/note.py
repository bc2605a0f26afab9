"""Signed notes: a text under one or more Ed25519 signatures, in the one spelling that other programs read too.

Whoever verifies holds public keys only, each a single line of text that may lie in a repository. Parsing is strict: a
note has one spelling for its text and signature lines, so that no two readers see two texts. Lines of keys that the
reader does not know are kept and ignored; a known key whose signature does not verify condemns the whole note.

Source: c2sp.org/signed-note; golang.org/x/mod/sumdb/note for the spelling of keys; RFC 8032.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from localgpt.errors import ExitStatus, LocalGptError

MAX_NOTE_BYTES: Final = 1024 * 1024
MAX_SIGNATURES: Final = 100
ED25519: Final = b"\x01"  #: signature type of this format
_SEED_BYTES: Final = 32
_PREFIX: Final = "PRIVATE+KEY+"
_CONTROLS: Final = re.compile("[\x00-\x09\x0b-\x1f]")
_NAME: Final = re.compile(r"[^\s+]+")
_LINE: Final = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


class NoteError(LocalGptError):
    """A note or one of its keys cannot be used."""

    code = "note"
    exit_status = ExitStatus.REFUSED


class NoteMalformed(NoteError):  # noqa: N818 -- named after the condition
    """Bytes that are no note in its one spelling."""

    code = "note.malformed"


class NoteNotSigned(NoteError):  # noqa: N818 -- named after the attack
    """No signature of a key that the reader trusts."""

    code = "note.not-signed"


class NoteForged(NoteError):  # noqa: N818 -- named after the attack
    """A signature line of a trusted key that this key did not make for this text."""

    code = "note.forged"


class NoteKeyMalformed(NoteError):  # noqa: N818 -- named after the condition
    """A public or private key that is not spelled as one."""

    code = "note.bad-key"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line as it stands: `key_id` are 4 bytes, `blob` is what the key made (64 bytes for Ed25519)."""

    name: str
    key_id: bytes
    blob: bytes

    def line(self) -> str:
        """The line, without its line feed."""
        return f"\u2014 {self.name} {base64.b64encode(self.key_id + self.blob).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Note:
    """A well-formed note. Nothing in it is authentic but what `open_note` verified.

    `text` ends in a line feed and is exactly what is signed.
    """

    text: bytes
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        lines = "".join(f"{signature.line()}\n" for signature in self.signatures)
        return self.text + b"\n" + lines.encode("utf-8")


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key with its name. `public`: 32 bytes."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that stand in signature lines."""
        return note_key_id(self.name, ED25519, self.public)

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Read ``NAME+HEX(KEY ID)+BASE64(TYPE + PUBLIC KEY)``, surrounding white space apart.

        Raises:
            NoteKeyMalformed
        """
        name, public, key_id = _split_key(text.strip())
        key = cls(name, public)
        if key_id != key.key_id:
            raise NoteKeyMalformed("the key id does not belong to this public key", cure="copy the whole line again")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.public).decode('ascii')}"

    def made(self, signature: Signature) -> bool:
        """Whether the line claims to be of this key."""
        return (signature.name, signature.key_id) == (self.name, self.key_id)

    def verifies(self, message: bytes, blob: bytes) -> bool:
        """Whether `blob` is this key's Ed25519 signature of `message`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(blob, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True, eq=False)
class NoteSecret:
    """A private key with its name. Only what signs ever holds one."""

    name: str
    _seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self._seed) != _SEED_BYTES:
            raise NoteKeyMalformed(f"a private key has {_SEED_BYTES} bytes, not {len(self._seed)}")
        if not _NAME.fullmatch(self.name):
            raise NoteKeyMalformed("a key's name has no spaces and no plus signs, and is not empty")

    @classmethod
    def generate(cls, name: str) -> NoteSecret:
        """Make a new one from the system's random numbers."""
        return cls(name, secrets.token_bytes(_SEED_BYTES))

    @classmethod
    def parse(cls, text: str) -> NoteSecret:
        """Read ``PRIVATE+KEY+NAME+HEX(KEY ID)+BASE64(TYPE + SEED)``. No error repeats any of it.

        Raises:
            NoteKeyMalformed
        """
        text = text.strip()
        if not text.startswith(_PREFIX):
            raise NoteKeyMalformed(f"a private key begins with {_PREFIX}", cure="name the file that holds the key")
        name, seed, key_id = _split_key(text.removeprefix(_PREFIX))
        key = cls(name, seed)
        if key_id != key.public_key().key_id:
            raise NoteKeyMalformed("the key id does not belong to this private key", cure="restore it from its backup")
        return key

    def spell(self) -> str:
        """The line that `parse` reads: for the key's own file, and nowhere else."""
        key_id = self.public_key().key_id.hex()
        return f"{_PREFIX}{self.name}+{key_id}+{base64.b64encode(ED25519 + self._seed).decode('ascii')}"

    def public_key(self) -> NoteKey:
        """The public half."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return NoteKey(self.name, Ed25519PrivateKey.from_private_bytes(self._seed).public_key().public_bytes_raw())

    def sign(self, text: bytes) -> Signature:
        """Sign the text of a note."""
        return Signature(self.name, self.public_key().key_id, self.sign_raw(text))

    def sign_raw(self, message: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature over exactly `message`."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._seed).sign(message)

    def __reduce__(self) -> str:
        raise TypeError("a private key is never serialised")


def note_key_id(name: str, kind: bytes, public: bytes) -> bytes:
    """The 4 bytes that name a key: of its name, its signature type (one byte) and its public half."""
    return hashlib.sha256(name.encode("utf-8") + b"\n" + kind + public).digest()[:4]


def sign_note(text: bytes, *signers: NoteSecret) -> bytes:
    """The note of `text`, which ends in a line feed, with one signature a signer.

    Raises:
        NoteMalformed: a text that no note may have.
    """
    note = Note(text, tuple(signer.sign(text) for signer in signers)).encode()
    if parse_note(note).text != text:
        raise NoteMalformed("the text ends in what would be read as a signature")
    return note


def parse_note(data: bytes) -> Note:
    """Parse a note's bytes without believing them.

    Raises:
        NoteMalformed
    """
    if len(data) > MAX_NOTE_BYTES:
        raise NoteMalformed(f"more than {MAX_NOTE_BYTES} bytes")
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteMalformed(f"byte {error.start} is not UTF-8") from error
    if found := _CONTROLS.search(content):
        raise NoteMalformed(f"U+{ord(found[0]):04X} is not allowed in a note")
    text, blank, lines = content.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or not text.strip("\n"):
        raise NoteMalformed("not a text, an empty line and signature lines")
    signatures = tuple(map(_read_line, lines.removesuffix("\n").split("\n")))
    if len(signatures) > MAX_SIGNATURES:
        raise NoteMalformed(f"more than {MAX_SIGNATURES} signatures")
    return Note((text + "\n").encode("utf-8"), signatures)


def open_note(data: bytes, trusted: Iterable[NoteKey]) -> tuple[Note, tuple[NoteKey, ...]]:
    """Parse a note, verify every line that claims to be of a trusted key, and give the keys that signed.

    Raises:
        NoteMalformed, NoteForged, NoteNotSigned
    """
    note = parse_note(data)
    signed = []
    for key in trusted:
        claimed = [signature for signature in note.signatures if key.made(signature)]
        if not all(key.verifies(note.text, signature.blob) for signature in claimed):
            raise NoteForged(
                f"the signature of {key.name} is not for this text", cure="get the note from its source again"
            )
        if claimed:
            signed.append(key)
    if not signed:
        raise NoteNotSigned("no trusted key signed this note", cure="name the public key of its signer")
    return note, tuple(signed)


def _read_line(line: str) -> Signature:
    found = _LINE.fullmatch(line)
    blob = b"" if found is None else _base64(found[2])
    if found is None or len(blob) <= 4:
        raise NoteMalformed("a signature line is not '\u2014 NAME BASE64'")
    return Signature(found[1], blob[:4], blob[4:])


def _base64(text: str) -> bytes:
    """Decode the one spelling: padded, and without bits that are thrown away."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode("ascii") == text else b""


def _split_key(text: str) -> tuple[str, bytes, bytes]:
    """Name, 32 key bytes and key id."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    blob = _base64(encoded)
    if not _NAME.fullmatch(name) or not re.fullmatch(r"[0-9a-f]{8}", key_id):
        raise NoteKeyMalformed("a key is NAME+KEYID+BASE64, and this is not", cure="copy the whole line again")
    if len(blob) != 1 + _SEED_BYTES or blob[:1] != ED25519:
        raise NoteKeyMalformed("not an Ed25519 key", cure="copy the whole line again")
    return name, blob[1:], bytes.fromhex(key_id)
