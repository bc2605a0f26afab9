"""The device key file: created closed, loaded only when nobody else could have touched it."""

import copy
import errno
import os
import pickle
import stat

import pytest

from localgpt.crypto import (
    DeviceKey,
    KeyExists,
    KeyMissing,
    KeyPermissions,
    KeyUnreadable,
    KeyUnwritable,
    KeyWrongLength,
    create_device_key,
    load_device_key,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "localgpt.device.key"


def test_a_created_key_loads_as_the_same_key(path):
    created = create_device_key(path)
    assert load_device_key(path).subkey("x") == created.subkey("x")
    assert len(path.read_bytes()) == 32


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o177])
def test_file_and_directory_are_closed_whatever_the_umask(path, umask):
    previous = os.umask(umask & 0o077)
    try:
        create_device_key(path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_file_is_closed_before_its_first_byte(path, monkeypatch):
    seen = []
    real = os.write

    def spy(descriptor, data):
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", spy)
    create_device_key(path)
    assert seen == [0o600]


def test_an_existing_key_is_never_replaced(path):
    create_device_key(path)
    before = path.read_bytes()
    with pytest.raises(KeyExists):
        create_device_key(path)
    assert path.read_bytes() == before


def test_a_planted_symlink_is_not_followed_when_creating(path, tmp_path):
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyExists):
        create_device_key(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_leaves_no_half_key(path, monkeypatch):
    def full(_descriptor, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(KeyUnwritable, match="No space left"):
        create_device_key(path)
    assert not path.exists()


def test_a_short_write_leaves_no_half_key(path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    with pytest.raises(KeyUnwritable):
        create_device_key(path)
    assert not path.exists()


def test_a_file_where_the_directory_should_be(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(KeyUnwritable):
        create_device_key(tmp_path / "data" / "sub" / "key")


def test_no_key_yet(path):
    with pytest.raises(KeyMissing) as caught:
        load_device_key(path)
    assert caught.value.cure == "run `localgpt init`"


@pytest.mark.parametrize("size", [0, 1, 31, 33, 4096])
def test_wrong_length(path, size):
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(b"k" * size)
    with pytest.raises(KeyWrongLength):
        load_device_key(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660, 0o644])
def test_open_modes_are_refused_with_the_cure(path, mode):
    create_device_key(path)
    path.chmod(mode)
    with pytest.raises(KeyPermissions) as caught:
        load_device_key(path)
    assert caught.value.cure == f"chmod 600 {path}"


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_may_write_is_refused(path, mode):
    create_device_key(path)
    path.parent.chmod(mode)
    with pytest.raises(KeyPermissions, match="may replace"):
        load_device_key(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_a_key_of_another_owner_is_refused(path):
    create_device_key(path)
    os.chown(path, 12345, -1)
    with pytest.raises(KeyPermissions, match="uid 12345"):
        load_device_key(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_key(path):
    create_device_key(path)
    path.chmod(0o000)
    with pytest.raises(KeyUnreadable):
        load_device_key(path)


def test_a_symlink_a_directory_and_a_fifo_are_no_keys(path):
    real = path.with_name("real")
    create_device_key(real)
    path.symlink_to(real)
    with pytest.raises(KeyUnreadable, match="symbolic link"):
        load_device_key(path)
    path.unlink()
    path.mkdir(mode=0o700)
    with pytest.raises(KeyUnreadable, match="no regular file"):
        load_device_key(path)
    path.rmdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyUnreadable, match="no regular file"):
        load_device_key(path)


def test_subkeys_differ_by_label_and_by_key():
    one, two = DeviceKey(b"1" * 32), DeviceKey(b"2" * 32)
    keys = {one.subkey("a"), one.subkey("b"), two.subkey("a"), two.subkey("b")}
    assert len(keys) == 4
    assert one.subkey("a") == DeviceKey(b"1" * 32).subkey("a")
    assert one.key_id != two.key_id
    assert len(one.key_id) == 16


def test_the_secret_shows_in_no_text_and_in_no_pickle():
    key = DeviceKey(b"SECRETSECRETSECRETSECRETSECRET!!")
    assert "SECRET" not in repr(key)
    assert "SECRET" not in str(key)
    for escape in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never serialised"):
            escape(key)


def test_a_key_of_wrong_length_cannot_be_made():
    with pytest.raises(KeyWrongLength):
        DeviceKey(b"short")
