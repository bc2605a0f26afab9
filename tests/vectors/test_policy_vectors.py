"""Every vector has its state and code, and every error code of the room has a vector or a test that provokes it."""

import json
from pathlib import Path

import pytest
from scripts.bootstrap import CHECKOUT

import localgpt.crypto.backup
import localgpt.crypto.signing
import localgpt.monitor.keychange
from localgpt.crypto import DeviceKey, DeviceKeyError
from localgpt.crypto.note import NoteError, NoteKey
from localgpt.errors import PolicyError
from localgpt.policy import errors
from localgpt.policy.check import check_document
from localgpt.policy.state import Pin

VECTORS = sorted((Path(__file__).parent / "policy").glob("*.json"))
REJECTED = CHECKOUT / "policies" / "rejected"

#: Conditions of files and of people, which no bytes alone can show, with the test that provokes each.
# fmt: off
ELSEWHERE = {
    "policy.state-corrupted": "tests/policy/test_store.py::test_a_lost_snapshot_locks_everything_but_reading",
    "policy.unreadable": "tests/policy/test_store.py::test_what_cannot_become_a_policy_is_not_signed",
    "policy.nothing-to-sign": "tests/policy/test_store.py::test_what_cannot_become_a_policy_is_not_signed",
    "policy.changed-while-reading":
        "tests/cli/test_policy.py::test_edit_does_not_overwrite_what_somebody_else_wrote_meanwhile",
    "policy.signing-failed": "tests/policy/test_store.py::test_without_the_key_only_reading",
    "policy.builtin-broken": "tests/policy/test_noted.py::test_a_damaged_installation_is_named",
    "policy.bad-declaration": "tests/policy/test_shipped.py::test_what_is_no_declaration",
    "policy.grant-refused": "tests/policy/test_emit.py::test_what_cannot_be_granted_exactly_is_refused",
    "policy.cases-malformed": "tests/policy/review/test_cases.py::test_what_is_no_table",
    "policy.bad-public-key": "tests/policy/test_noted.py::test_a_public_key_that_is_none",
    "key.file-unusable": "tests/policy/test_noted.py::test_a_private_key_file_that_others_can_read",
    "key.not-changed": "tests/cli/test_key.py::test_losing_the_key_loses_signing_never_reading",
    "note.malformed": "tests/crypto/test_note.py::test_what_is_no_note",
    "note.not-signed":
        "tests/crypto/test_note.py::test_lines_of_unknown_keys_are_ignored_even_when_name_or_id_is_known",
    "note.forged": "tests/crypto/test_note.py::test_one_bad_line_of_a_trusted_key_condemns_the_note",
    "note.bad-key": "tests/crypto/test_note.py::test_a_key_that_is_not_spelled_as_one",
    "key.missing": "tests/crypto/test_keys.py::test_no_key_yet",
    "key.exists": "tests/crypto/test_keys.py::test_an_existing_key_is_never_replaced",
    "key.unreadable": "tests/crypto/test_keys.py::test_a_symlink_a_directory_and_a_fifo_are_no_keys",
    "key.unwritable": "tests/crypto/test_keys.py::test_a_file_where_the_directory_should_be",
    "key.wrong-length": "tests/crypto/test_keys.py::test_wrong_length",
    "key.permissions": "tests/crypto/test_backup.py::test_a_key_that_others_could_read_is_not_replaced",
    "key.backup-malformed": "tests/crypto/test_backup.py::test_what_is_no_backup",
    "key.backup-not-opened": "tests/crypto/test_backup.py::test_another_passphrase_opens_nothing",
    "key.passphrase-too-short": "tests/crypto/test_backup.py::test_another_passphrase_opens_nothing",
}
# fmt: on


MORE = {localgpt.crypto.signing.KeyFileUnusable.code, localgpt.monitor.keychange.KeyNotChanged.code}


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_vector_has_its_state_and_code(path):
    vector = json.loads(path.read_text("utf-8"))
    pin = vector.get("pin")
    status = check_document(
        None if vector["document"] is None else vector["document"].encode(),
        None if vector["manifest"] is None else vector["manifest"].encode(),
        None if vector["device_key"] is None else DeviceKey(bytes.fromhex(vector["device_key"])),
        path=vector["path"],
        pin=None if pin is None else Pin("/home/u/ws", pin["sequence"], pin["manifest_sha256"], pin["signer"]),
        public=NoteKey.parse(vector["public_key"]) if "public_key" in vector else None,
    )
    assert status.state.value == vector["state"]
    assert (None if status.problem is None else status.problem.code) == vector["code"]
    assert (status.policy is not None) is (vector["state"] == "valid")
    assert path.stem.split("--")[0] in {vector["state"], vector["code"]}


def leaves(kind: type[Exception]) -> set[str]:
    children = kind.__subclasses__()
    return {code for child in children for code in leaves(child)} if children else {kind.code}  # type: ignore[attr-defined]


def test_every_error_code_has_a_vector_or_a_test():
    own = {
        leaf.code
        for leaf in vars(errors).values()
        if isinstance(leaf, type) and issubclass(leaf, PolicyError) and not leaf.__subclasses__()
    }
    known = {path.stem.split("--")[0] for path in (*VECTORS, *REJECTED.glob("*.md"))}
    assert (own | leaves(NoteError) | leaves(DeviceKeyError) | MORE) - known - ELSEWHERE.keys() == set()
    assert ELSEWHERE.keys() & known == set()


def test_the_tests_that_provoke_the_others_exist():
    for named in ELSEWHERE.values():
        file, _, name = named.partition("::")
        assert f"def {name}(" in (CHECKOUT / file).read_text("utf-8"), named
