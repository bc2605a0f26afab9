"""Proofs: every entry's, checked by ourselves and by Go's `golang.org/x/mod/sumdb` where Debian has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from localgpt.audit import verify_log
from localgpt.audit.errors import EntryInvalid, ProofRejected
from localgpt.audit.proof import check_proof, prove
from localgpt.crypto import DeviceKey
from localgpt.crypto.note import NoteKey
from tests.vectors.audit.test_verifier import KEY, log

__all__ = ["log"]

GOPATH = Path("/usr/share/gocode")


def test_every_sealed_entry_can_be_proven(log):
    report = verify_log(log, KEY)
    identity = NoteKey.parse(report.identity)
    for seq in range(report.sealed):
        proven = check_proof(prove(log, seq), identity)
        assert proven.entry.seq == seq
        assert proven.checkpoint.size - 7 <= seq < proven.checkpoint.size
    with pytest.raises(EntryInvalid, match="no checkpoint covers"):
        prove(log, report.sealed)
    stranger = NoteKey(identity.name, DeviceKey(b"x" * 32).subkey("x"))
    with pytest.raises(ProofRejected):
        check_proof(prove(log, 0), stranger)


def test_every_flipped_byte_of_a_proof_is_refused(log):
    identity = NoteKey.parse(verify_log(log, KEY).identity)
    proof = prove(log, 9)
    unknown = proof.rstrip(b"\n").rpartition(b"\n")[0]  # the epoch's own signature is not one that the reader knows
    for at in range(len(unknown)):
        with pytest.raises(ProofRejected):
            check_proof(proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :], identity)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("go") is None or not (GOPATH / "src/golang.org/x/mod").is_dir(),
    reason="needs Debian's golang-go and golang-golang-x-mod-dev",
)
def test_go_agrees(log, tmp_path):
    report = verify_log(log, KEY)
    environ = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(tmp_path), "GOFLAGS": ""}
    program = tmp_path / "check"
    source = Path(__file__).parent / "go" / "main.go"
    subprocess.run(["go", "build", "-o", str(program), str(source)], env=environ, check=True, timeout=300)
    for seq in range(0, report.sealed, 3):
        proof = prove(log, seq)
        done = subprocess.run([program, report.identity], input=proof, capture_output=True, check=True, timeout=20)
        origin, index, size, signatures = done.stdout.decode().split()[1:]
        assert (origin, int(index), int(signatures)) == (report.origin, seq, 1)
        assert int(size) > seq
        for at in (40, proof.index(b"index ") + 6, len(proof) - 250):
            bad = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
            assert subprocess.run([program, report.identity], input=bad, capture_output=True, check=False).returncode
