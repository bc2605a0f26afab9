"""Proofs that one entry is in the log, for somebody who has neither the log nor the device key.

Source: C2SP tlog-proof; RFC 6962 section 2.1.1 and RFC 9162 section 2.1.3.2.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localgpt.audit.checkpoints import Checkpoint, Sealed, read_checkpoints
from localgpt.audit.entry import Entry, decode_entry
from localgpt.audit.errors import EntryInvalid, ProofRejected
from localgpt.audit.files import CHECKPOINTS_NAME
from localgpt.audit.scan import LogReader
from localgpt.crypto.merkle import HASH_BYTES, ProofInvalid, check_inclusion, inclusion_proof, leaf_hash, root_of
from localgpt.crypto.note import NoteError, NoteKey, open_note

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,15})", re.ASCII)
_MOST_HASHES: Final = 63
_MOST_BYTES: Final = 256 * 1024


def prove(directory: Path, seq: int) -> bytes:
    """A proof that entry `seq` is in the log, ending in the first checkpoint that covers it.

    Raises:
        EntryInvalid: there is no such entry, or no checkpoint covers it yet.
        EntryCorrupted, LogUnopenable
    """
    sealed = _covering(directory, seq)
    size = sealed.checkpoint.size
    leaves: list[bytes] = []
    line = b""
    for step in LogReader(directory).steps():
        leaves.append(step.link.leaf)
        line = step.line if step.link.seq == seq else line
        if len(leaves) == size:
            break
    path = inclusion_proof(seq, size, lambda begin, end: root_of(leaves[begin:end]))
    lines = [_HEADER, f"extra {_b64(line)}", f"index {seq}", *map(_b64, path), "", sealed.note.encode().decode()]
    return "\n".join(lines).encode()


def _covering(directory: Path, seq: int) -> Sealed:
    for sealed in read_checkpoints(directory / CHECKPOINTS_NAME):
        if sealed.checkpoint.size > seq >= 0:
            return sealed
    message = f"no checkpoint covers entry {seq} yet"
    raise EntryInvalid(message, cure="an epoch is closed after 1,024 entries or 60 s; try again later")


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof shows: this entry is at its number in the log of `origin`, which had `size` entries then."""

    entry: Entry
    checkpoint: Checkpoint


def check_proof(data: bytes, identity: NoteKey) -> Proven:
    """Check a proof against the log's verifier key, which must come from elsewhere than the proof.

    Raises:
        ProofRejected
    """
    line, index, path, note = _parse(data)
    try:
        opened, _ = open_note(note, [identity])
        checkpoint = Checkpoint.parse(opened.text)
        check_inclusion(index, checkpoint.size, leaf_hash(line), path, checkpoint.root)
    except (NoteError, ProofInvalid) as error:
        raise ProofRejected(f"the proof does not hold: {error}") from error
    if checkpoint.origin != identity.name:
        raise ProofRejected(f"the checkpoint is that of {checkpoint.origin}")
    entry = decode_entry(line)
    if entry.seq != index:
        raise ProofRejected(f"entry {entry.seq} is proven at place {index}")
    return Proven(entry, checkpoint)


def _parse(data: bytes) -> tuple[bytes, int, list[bytes], bytes]:
    """Line, index, path and note; what is parsed has exactly one spelling.

    Raises:
        ProofRejected
    """
    if len(data) > _MOST_BYTES:
        raise ProofRejected("the proof is too long")
    head, blank, note = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise ProofRejected("the proof is not ASCII") from error
    if not blank or len(lines) < 3 or lines[0] != _HEADER or not lines[1].startswith("extra "):
        raise ProofRejected(f"not a proof: it begins with {_HEADER}, extra, and index")
    index = _INDEX.fullmatch(lines[2])
    if index is None or len(lines) > 3 + _MOST_HASHES:
        raise ProofRejected("the index is no number, or there are too many hashes")
    path = [_unb64(each) for each in lines[3:]]
    if any(len(each) != HASH_BYTES for each in path):
        raise ProofRejected("a hash has not 32 bytes")
    return _unb64(lines[1].removeprefix("extra ")), int(index[1]), path, note


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ProofRejected("not base64") from error
    if _b64(data) != text:
        raise ProofRejected("not the one spelling of base64")
    return data
