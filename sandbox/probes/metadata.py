"""Attempts to change what is not content: modes, owners, times, attributes, flags, mounts; and to make set-id files."""

# Each attempt is the plain call, as an attacker would write it.
# ruff: noqa: PTH101

import ctypes
import fcntl
import os
import struct
from pathlib import Path

from _attempt import attempt, considered, fresh, main, syscall

AT_FDCWD = -100


@attempt(22)
def change_mode_outside(world):
    os.chmod(world["victim_file"], 0o600)
    return "changed"


@attempt(22)
def change_mode_by_descriptor_outside(world):
    os.fchmod(os.open(world["home"], os.O_RDONLY), 0o755)
    return "changed"


@attempt(22)
def change_owner_outside(world):
    os.chown(world["victim_file"], os.geteuid(), os.getegid())
    return "changed"


@attempt(22)
def change_times_outside(world):
    os.utime(world["victim_file"], (1, 1))
    return "changed"


@attempt(22, because="user attributes in the file system")
def change_attribute_outside(world):
    os.setxattr(world["victim_file"], "user.probe", b"x")
    return "changed"


@attempt(22, because="user attributes in the file system")
def remove_attribute_outside(world):
    os.removexattr(world["victim_file"], "user.planted")
    return "removed"


@attempt(22, because="Linux 6.13 and user attributes")
def change_attribute_by_new_call(world):
    value = b"x"
    buffer = ctypes.create_string_buffer(value)
    arguments = struct.pack("QII", ctypes.addressof(buffer), len(value), 0)
    return syscall("setxattrat", AT_FDCWD, os.fsencode(world["victim_file"]), 0, b"user.probe2", arguments, 16)


@attempt(22, because="inode flags in the file system")
def change_flags_outside(world):
    fd = os.open(world["victim_file"], os.O_RDONLY)
    flags = bytearray(8)
    fcntl.ioctl(fd, 0x80086601, flags)
    fcntl.ioctl(fd, 0x40086602, bytes(flags))
    return "changed"


@attempt(22, because="inode flags in the file system")
def change_flags_of_what_may_be_read(world):
    """A file in a read root can be opened; its flags are not its content."""
    fd = os.open(world["readable"], os.O_RDONLY)
    flags = bytearray(8)
    fcntl.ioctl(fd, 0x80086601, flags)
    fcntl.ioctl(fd, 0x40086602, bytes(flags))
    return "changed"


@attempt(22, because="project quotas in the file system")
def change_extended_flags_of_what_may_be_read(world):
    fd = os.open(world["readable"], os.O_RDONLY)
    flags = bytearray(28)
    fcntl.ioctl(fd, 0x801C581F, flags)
    fcntl.ioctl(fd, 0x401C5820, bytes(flags))
    return "changed"


@attempt(22)
def change_mode_of_what_may_be_read(world):
    os.chmod(world["readable"], 0o644)
    return "changed"


@attempt(22, because="a user's own device, or root")
def change_mode_of_system(_):
    os.chmod("/dev/null", 0o666)
    return "changed"


@attempt(26, bare="root")
def mount_something(_):
    return syscall("mount", b"none", b".", b"tmpfs", 0, None) and syscall("umount2", b".", 2)


@attempt(26, bare="root")
def bind_outside_into_the_project(world):
    folder = Path("bound")
    folder.mkdir(exist_ok=True)
    syscall("mount", os.fsencode(world["home"]), b"bound", None, 0x1000, None)
    try:
        return sorted(map(str, Path("bound").iterdir()))
    finally:
        syscall("umount2", b"bound", 2)


@attempt(26, bare="root")
def remount_writable(_):
    return considered("mount", b"none", b"/no/such/place", None, 0x20, None)


@attempt(26, bare="root")
def unmount_a_cover(_):
    return considered("umount2", b"/no/such/place", 2)


@attempt(26, bare="root")
def clone_a_mount(_):
    return syscall("open_tree", AT_FDCWD, b"/", 1)


@attempt(26, bare="root", because="Linux 6.15")
def clone_a_mount_with_attributes(_):
    return syscall("open_tree_attr", AT_FDCWD, b"/", 1, None, 0)


@attempt(26, bare="root")
def open_a_file_system(_):
    return syscall("fsopen", b"tmpfs", 0)


@attempt(26, bare="root")
def configure_a_file_system(_):
    return considered("fsconfig", -1, 6, None, None, 0)


@attempt(26, bare="root")
def mount_a_file_system(_):
    return considered("fsmount", -1, 0, 0)


@attempt(26, bare="root")
def pick_a_mount(_):
    return considered("fspick", AT_FDCWD, b"/no/such/place", 0)


@attempt(26, bare="root")
def move_a_mount(_):
    return considered("move_mount", -1, b"", -1, b"", 0x44)


@attempt(26, bare="root")
def change_mount_attributes(_):
    return considered("mount_setattr", -1, b"", 0x1000, struct.pack("QQQQ", 0, 1, 0, 0), 32)


@attempt(26, bare="root")
def pivot_the_root(_):
    return considered("pivot_root", b"/no/such/place", b"/no/such/place")


@attempt(26, bare="root")
def change_root(_):
    os.chroot(".")
    return "changed"


@attempt(26, because="Linux 6.8")
def list_the_mounts_of_the_host(_):
    return syscall(
        "listmount", struct.pack("IIQQ", 24, 0, 0xFFFFFFFFFFFFFFFF, 0), ctypes.create_string_buffer(64), 8, 0
    )


@attempt(104)
def setuid_by_chmod(_):
    with fresh("set-id") as path:
        path.write_text("x")
        os.chmod(path, 0o4755)
        return path.stat().st_mode & 0o6000


@attempt(104)
def setuid_by_open(_):
    with fresh("set-id-open") as path:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o4755))
        return path.stat().st_mode & 0o6000


@attempt(104)
def setuid_by_openat2(_):
    with fresh("set-id-openat2") as path:
        how = struct.pack("QQQ", os.O_CREAT | os.O_WRONLY, 0o4755, 0)
        syscall("openat2", AT_FDCWD, os.fsencode(path), how, 24)
        return path.stat().st_mode & 0o6000


@attempt(104)
def setuid_by_creat(_):
    with fresh("set-id-creat") as path:
        if os.uname().machine == "x86_64":
            os.close(syscall("creat", os.fsencode(path), 0o4755))
            return path.stat().st_mode & 0o6000
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o4755))
        return path.stat().st_mode & 0o6000


@attempt(104)
def setuid_by_mknod(_):
    with fresh("set-id-mknod") as path:
        os.mknod(path, 0o104755)
        return path.stat().st_mode & 0o6000


@attempt(104)
def setuid_by_unnamed_file(_):
    return os.fstat(os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o4755)).st_mode & 0o6000


@attempt(104)
def setuid_by_fchmod_of_unnamed_file(_):
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o755)
    os.fchmod(fd, 0o6755)
    return os.fstat(fd).st_mode & 0o6000


@attempt(104)
def setgid_by_mkdir(_):
    path = Path("set-id-directory")
    if path.exists():
        path.rmdir()
    old = os.umask(0)
    syscall("mkdirat", AT_FDCWD, os.fsencode(path), 0o2755)
    os.umask(old)
    os.chmod(path, 0o2755)
    mode = path.stat().st_mode & 0o6000
    path.rmdir()
    return mode


@attempt(104, because="Linux 6.6")
def setuid_by_fchmodat2(_):
    with fresh("set-id-2") as path:
        path.write_text("x")
        syscall("fchmodat2", AT_FDCWD, os.fsencode(path), 0o4755, 0)
        return path.stat().st_mode & 0o6000


@attempt(104, bare="root", because="file capabilities in the file system")
def file_capability(_):
    with fresh("capable") as path:
        path.write_text("x")
        os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000001, 0x2000, 0, 0, 0))
        return "set"


if __name__ == "__main__":
    main()
