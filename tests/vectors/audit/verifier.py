"""A verifier of its own: written from docs/spec/audit-log.md, with nothing of `localgpt` but that page.

    python verifier.py DIRECTORY [VERIFIER-KEY]

Prints `VERDICT ENTRIES FIRST-BAD CODE`: without the device key, so that the head says nothing, and the best verdict is
`chained`.
"""

import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SPEC = Path(__file__).parents[3] / "docs" / "spec" / "audit-log.md"
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
ID = re.compile(r"[A-Za-z0-9._:-]{0,64}\Z")
COMMON = {"seq": "count", "prev": "hash", "kind": "id", "session": "id", "ts": "count", "mono_us": "count"}
COMMON |= {"boot": "id", "mac": "mac"}
MOST = 9 * 10**15


class Bad(Exception):
    def __init__(self, code: str, seq: int | None = None) -> None:
        super().__init__(code)
        self.code, self.seq = code, seq


def is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and not HIDDEN.search(value)


def is_token(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[!-~]{1,128}", value) is not None


TYPES: dict[str, Callable[[Any], Any]] = {
    "token": is_token,
    "name": lambda v: is_text(v, 256),
    "path": lambda v: is_text(v, 4096),
    "hex": lambda v: isinstance(v, str) and re.fullmatch("[0-9a-f]{16,64}", v),
    "hash": lambda v: isinstance(v, str) and re.fullmatch("[0-9a-f]{64}", v),
    "mac": lambda v: isinstance(v, str) and re.fullmatch("[0-9a-f]{32}", v),
    "id": lambda v: isinstance(v, str) and ID.match(v),
    "count": lambda v: type(v) is int and 0 <= v < MOST,
    "integer": lambda v: type(v) is int and -MOST < v < MOST,
    "flag": lambda v: isinstance(v, bool),
    "tokens": lambda v: isinstance(v, list) and len(v) <= 64 and all(map(is_token, v)),
}


def kinds() -> dict[str, list[tuple[str, str, str]]]:
    rows = re.findall(r"^\| `([a-z.]+)` \| (`.*) \|$", SPEC.read_text("utf-8").split("## 3.")[1], re.MULTILINE)
    return {kind: re.findall(r"`(\w+)` (\w+)(\??)", row) for kind, row in rows}


KINDS = kinds()


def parse_entry(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line.decode("utf-8"))
        again = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Bad("audit.entry-corrupted") from error
    if again != line or not isinstance(entry, dict) or entry.get("kind") not in KINDS:
        raise Bad("audit.entry-corrupted")
    fields = {name: (kind, mark) for name, kind, mark in KINDS[entry["kind"]]}
    known = {**fields, **{name: (kind, "") for name, kind in COMMON.items()}}
    required = {name for name, (_, mark) in known.items() if not mark}
    if not required <= entry.keys() <= known.keys() or not all(TYPES[known[n][0]](v) for n, v in entry.items()):
        raise Bad("audit.entry-corrupted")
    return entry


def root(hashes: list[bytes]) -> bytes:
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256(b"").digest()
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + root(hashes[:split]) + root(hashes[split:])).digest()


def unbase64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("another spelling")
    return data


def check_note(note: bytes, origin: str, size: int, tree: bytes, signers: list[tuple[str, bytes]]) -> None:
    """A checkpoint: exactly this text, exactly these signatures, in this order."""
    text = f"{origin}\n{size}\n{base64.b64encode(tree).decode()}\n"
    lines = note.decode("utf-8").removeprefix(text + "\n").split("\n")
    if note.decode("utf-8") != text + "\n" + "\n".join(lines) or len(lines) != 3 or lines[2]:
        raise ValueError("another text")
    for line, (name, public) in zip(lines, signers, strict=False):
        dash, found, blob = line.split(" ")
        key_id = hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
        if (dash, found) != ("\u2014", name) or unbase64(blob)[:4] != key_id:
            raise ValueError("another signer")
        Ed25519PublicKey.from_public_bytes(public).verify(unbase64(blob)[4:], text.encode())


def read_notes(path: Path) -> list[bytes]:
    lines: list[bytes] = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    notes: list[bytes] = []
    note = b""
    for number, line in enumerate(lines):
        note += line
        mark = "\u2014 ".encode()
        if line.startswith(mark) and lines[number - 1].startswith(mark) and line.endswith(b"\n"):
            notes.append(note)
            note = b""
    return notes


def verify(place: str | Path, expected: str | None = None) -> tuple[str, int, int | None, str]:
    """Returns (verdict, good entries, first bad entry or None, code)."""
    directory = Path(place)
    notes = read_notes(directory / "checkpoints")
    leaves: list[bytes] = []
    key, origin, identity, epoch = b"", "", b"", 0
    sealed, prev = 0, hashlib.sha256(b"localgpt.audit/v2").hexdigest()
    try:
        segments = sorted(path for path in directory.glob("*.log") if re.fullmatch("[0-9]{20}", path.stem))
        for path in segments:
            if int(path.stem) != len(leaves):
                raise Bad("audit.entry-corrupted", len(leaves))
            lines = path.read_bytes().split(b"\n")
            for number, line in enumerate(lines[:-1]):
                seq = len(leaves)
                entry = parse_entry(line)
                first = "log.create" if seq == 0 else "log.segment" if number == 0 else ""
                if (entry["seq"], entry["prev"]) != (seq, prev):
                    raise Bad("audit.entry-corrupted", seq)
                if (entry["kind"] in {"log.create", "log.segment"} or first) and entry["kind"] != first:
                    raise Bad("audit.entry-corrupted", seq)
                if first and entry["format"] != "localgpt.audit/v2":
                    raise Bad("audit.entry-corrupted", seq)
                if first == "log.create":
                    origin, (name, _, data) = entry["origin"], entry["identity"].split("+", 2)
                    try:
                        identity, key = unbase64(data)[1:], bytes.fromhex(entry["epoch_key"])
                    except ValueError as error:
                        raise Bad("audit.entry-corrupted", 0) from error
                    named = hashlib.sha256(b"localgpt.audit origin v2\x00" + key).hexdigest()[:32]
                    if origin != f"localgpt.audit/{named}":
                        raise Bad("audit.entry-corrupted", 0)
                    if name != origin or (expected and expected != entry["identity"]):
                        raise Bad("audit.identity-foreign", 0)
                elif first and entry["origin"] != origin:
                    raise Bad("audit.entry-corrupted", seq)
                leaf = hashlib.sha256(b"\x00" + line).digest()
                leaves.append(leaf)
                prev = leaf.hex()
                if entry["kind"] == "epoch.next":
                    last = path == segments[-1] and number == len(lines) - 2
                    if epoch >= len(notes) and not last:
                        raise Bad("audit.checkpoint-missing", sealed)
                    if epoch < len(notes):
                        signers = [(origin, identity), (f"{origin}/epoch/{epoch}", key)]
                        try:
                            check_note(notes[epoch], origin, len(leaves), root(leaves), signers)
                        except (ValueError, InvalidSignature) as error:
                            raise Bad("audit.checkpoint-forged", sealed) from error
                        sealed = len(leaves)
                    if entry["epoch"] != epoch + 1:
                        raise Bad("audit.entry-corrupted", seq)
                    epoch, key = epoch + 1, bytes.fromhex(entry["key"])
        if len(notes) > epoch:
            raise Bad("audit.truncated", len(leaves))
    except Bad as bad:
        return "tampered", len(leaves), len(leaves) if bad.seq is None else bad.seq, bad.code
    return ("chained" if leaves else "empty"), len(leaves), None, ""


if __name__ == "__main__":
    print(*verify(*sys.argv[1:3]))
