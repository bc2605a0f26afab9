"""Backups of the device key: open with the passphrase alone, and only as they were made."""

import pytest

from localgpt.crypto import DeviceKey, KeyPermissions, create_device_key, load_device_key
from localgpt.crypto.backup import (
    BackupMalformed,
    BackupNotOpened,
    PassphraseTooShort,
    backup_key_id,
    open_key,
    seal_key,
)
from localgpt.crypto.keys import new_device_key, replace_device_key, retired_path

KEY = DeviceKey(bytes(range(32)))
PHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def backup():
    return seal_key(KEY, PHRASE)


def test_it_comes_back(backup):
    assert open_key(backup, PHRASE).key_id == KEY.key_id == backup_key_id(backup)
    assert seal_key(KEY, PHRASE) != backup
    assert KEY.reveal_for_backup().hex() not in backup.decode()


def test_another_passphrase_opens_nothing(backup):
    with pytest.raises(BackupNotOpened):
        open_key(backup, PHRASE + " ")
    with pytest.raises(PassphraseTooShort):
        seal_key(KEY, "seven77")


def test_every_changed_byte_is_noticed(backup):
    for at in range(0, len(backup), 7):
        changed = bytearray(backup)
        changed[at] ^= 1
        with pytest.raises((BackupMalformed, BackupNotOpened)):
            open_key(bytes(changed), PHRASE)


@pytest.mark.parametrize(
    "malleate",
    [
        lambda text: "",
        lambda text: text + "\n",
        lambda text: text.replace("v1", "v2"),
        lambda text: text.replace("scrypt 16", "scrypt 99"),
        lambda text: text.replace("scrypt 16", "scrypt 10"),
        lambda text: text.replace("==", ""),
        lambda text: text * 20,
        lambda text: "\xff" + text,
    ],
)
def test_what_is_no_backup(backup, malleate):
    with pytest.raises(BackupMalformed):
        open_key(malleate(backup.decode()).encode("latin-1"), PHRASE)


def test_a_replaced_key_stays_beside_the_new_one(tmp_path):
    path = tmp_path / "data" / "localgpt.device.key"
    assert replace_device_key(path, KEY) is None
    new = new_device_key()
    retired = replace_device_key(path, new)
    assert retired == retired_path(path, KEY.key_id)
    assert load_device_key(path).key_id == new.key_id
    assert load_device_key(retired).key_id == KEY.key_id
    assert [each.stat().st_mode & 0o777 for each in (path, retired)] == [0o600, 0o600]
    assert replace_device_key(path, KEY) is not None
    assert replace_device_key(path, new) == retired
    assert len(list(path.parent.iterdir())) == 3


def test_a_key_that_others_could_read_is_not_replaced(tmp_path):
    path = tmp_path / "key"
    create_device_key(path)
    path.chmod(0o644)
    with pytest.raises(KeyPermissions):
        replace_device_key(path, KEY)
