"""The tree against the recursive definition of RFC 6962, and its published vectors."""

import base64
import hashlib

import pytest

from localgpt.crypto.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofInvalid,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
)

LEAVES = [leaf_hash(bytes([number])) for number in range(40)]


def reference(leaves: list[bytes]) -> bytes:
    """MTH(D[n]), as section 2.1 writes it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(reference(leaves[:split]), reference(leaves[split:]))


def subtree(begin: int, end: int) -> bytes:
    return reference(LEAVES[begin:end])


def test_vectors_of_certificate_transparency():
    """The reference tree of seven inputs in the certificate-transparency test data."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [leaf_hash(bytes.fromhex(each)) for each in inputs]
    roots = {
        0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    assert {size: root_of(leaves[:size]).hex() for size in roots} == roots


@pytest.mark.parametrize("size", range(len(LEAVES)))
def test_every_size(size):
    expected = reference(LEAVES[:size])
    one_by_one, in_blocks = Frontier(), Frontier()
    for leaf in LEAVES[:size]:
        one_by_one.add(leaf)
    in_blocks.extend(LEAVES[: size // 3])
    in_blocks.extend(LEAVES[size // 3 : size])
    assert one_by_one.root() == in_blocks.root() == expected
    assert Frontier(size, one_by_one.hashes).root() == expected
    assert (size == 0) == (expected == EMPTY_ROOT)
    for index in range(size):
        proof = inclusion_proof(index, size, subtree)
        check_inclusion(index, size, LEAVES[index], proof, expected)
        for wrong in ([*proof, proof[0] if proof else expected], proof[:-1] if proof else [expected]):
            with pytest.raises(ProofInvalid):
                check_inclusion(index, size, LEAVES[index], wrong, expected)
        with pytest.raises(ProofInvalid):
            check_inclusion(index, size, LEAVES[index - 1] if size > 1 else b"x" * 32, proof, expected)
    for old in range(1, size + 1):
        proof = consistency_proof(old, size, subtree)
        check_consistency(old, size, reference(LEAVES[:old]), expected, proof)
        with pytest.raises(ProofInvalid):
            check_consistency(old, size, reference(LEAVES[1 : old + 1]), expected, proof)
        with pytest.raises(ProofInvalid):
            check_consistency(old, size, reference(LEAVES[:old]), expected, [*proof, expected])


def test_a_compact_range_of_another_size_is_refused():
    with pytest.raises(ValueError, match="compact range"):
        Frontier(3, [LEAVES[0]])
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(3, 3, subtree)
    with pytest.raises(ValueError, match="no consistency"):
        consistency_proof(0, 3, subtree)
    with pytest.raises(ProofInvalid):
        check_consistency(3, 2, LEAVES[0], LEAVES[0], [])
    with pytest.raises(ProofInvalid):
        check_inclusion(3, 3, LEAVES[0], [], LEAVES[0])
    assert base64.b64encode(EMPTY_ROOT).startswith(b"47DEQpj8")
