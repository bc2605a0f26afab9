"""Attempts on files outside the plan: reading, writing, metadata, mounts, and files that would outlive the sandbox."""

# Each attempt is the plain call, as an attacker would write it.
# ruff: noqa: PTH101, PTH110, PTH116, PTH123, PTH208

import ctypes
import fcntl
import os
import struct
from pathlib import Path

from _attempt import attempt, main, syscall

AT_FDCWD = -100


@attempt(bare="user")
def read_secret(world):
    return Path(world["secret"]).read_text()


@attempt(bare="user")
def read_through_proc_root(world):
    return Path("/proc/self/root" + world["secret"]).read_text()


@attempt(bare="user")
def read_through_symlink(world):
    link = Path("link-to-secret")
    link.unlink(missing_ok=True)
    link.symlink_to(world["secret"])
    try:
        return link.read_text()
    finally:
        link.unlink()


@attempt(bare="user")
def read_through_hardlink(world):
    link = Path("hard-link-to-secret")
    link.unlink(missing_ok=True)
    link.hardlink_to(world["secret"])
    try:
        return link.read_text()
    finally:
        link.unlink()


@attempt(bare="root")
def read_by_handle(world):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    syscall("name_to_handle_at", AT_FDCWD, os.fsencode(world["secret"]), handle, ctypes.byref(mount), 0)
    root = os.open("/", os.O_RDONLY)
    return os.read(syscall("open_by_handle_at", root, handle, os.O_RDONLY), 100)


@attempt(bare="user")
def list_home(world):
    return os.listdir(world["home"])


@attempt(bare="user")
def stat_secret(world):
    return os.stat(world["secret"]).st_size


@attempt(bare="user")
def read_path_descriptor(world):
    location = os.open(world["secret"], os.O_PATH)
    return Path(f"/proc/self/fd/{location}").read_text()


@attempt(bare="root")
def read_shadow(_):
    return Path("/etc/shadow").read_text()[:4]


@attempt(bare="root")
def read_kernel_memory(_):
    return open("/dev/mem", "rb").read(1) or open("/proc/kcore", "rb").read(1)


@attempt(bare="root")
def read_kernel_log(_):
    return os.read(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK), 8192)


@attempt(bare="user")
def read_shared_memory_file(world):
    return Path(world["dev_shm"]).read_text()


@attempt(bare="root")
def watch_outside_with_fanotify(_):
    return syscall("fanotify_init", 0, 0)


@attempt(bare="user")
def create_outside(world):
    path = Path(world["outside"], "created")
    path.write_text("x")
    path.unlink()
    return "created"


@attempt(bare="user")
def append_outside(world):
    return os.write(os.open(world["victim_file"], os.O_WRONLY | os.O_APPEND), b"x")


@attempt(bare="user")
def truncate_outside(world):
    os.truncate(world["victim_file"], 0)
    return "truncated"


@attempt(bare="user")
def write_through_symlink(world):
    link = Path("link-to-victim")
    link.unlink(missing_ok=True)
    link.symlink_to(world["victim_file"])
    try:
        return link.write_text("x")
    finally:
        link.unlink()


@attempt(bare="user")
def rename_out(world):
    Path("mine").write_text("x")
    target = Path(world["outside"], "renamed")
    Path("mine").rename(target)
    target.unlink()
    return "renamed"


@attempt(bare="user")
def rename_in(world):
    Path(world["victim_file"]).rename("taken")
    Path("taken").rename(world["victim_file"])
    return "taken"


@attempt(bare="user")
def exchange(world):
    Path("mine").write_text("x")
    for _ in range(2):  # and back
        syscall("renameat2", AT_FDCWD, b"mine", AT_FDCWD, os.fsencode(world["victim_file"]), 2)
    return "exchanged"


@attempt(bare="user")
def unlink_outside(world):
    path = Path(world["outside"], "disposable")
    path.unlink()
    path.write_text("x")
    return "unlinked"


@attempt(bare="user")
def link_unnamed_file_outside(world):
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY)
    target = Path(world["outside"], "linked")
    syscall("linkat", AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD, os.fsencode(target), 0x400)
    target.unlink()
    return "linked"


@attempt(bare="user")
def change_mode_outside(world):
    os.chmod(world["victim_file"], 0o600)
    return "changed"


@attempt(bare="user")
def change_times_outside(world):
    os.utime(world["victim_file"], (1, 1))
    return "changed"


@attempt(bare="user")
def change_attribute_outside(world):
    os.setxattr(world["victim_file"], "user.probe", b"x")
    return "changed"


@attempt(bare="user")
def change_flags_outside(world):
    fd = os.open(world["victim_file"], os.O_RDONLY)
    flags = bytearray(8)
    fcntl.ioctl(fd, 0x80086601, flags)
    fcntl.ioctl(fd, 0x40086602, bytes(flags))
    return "changed"


@attempt(bare="user")
def change_mode_of_system(_):
    os.chmod("/dev/null", 0o666)
    return "changed"


@attempt(bare="root")
def write_core_pattern(_):
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return "opened"


@attempt(bare="root")
def write_sysfs(_):
    os.close(
        os.open(
            "/sys/kernel/uevent_helper"
            if os.path.exists("/sys/kernel/uevent_helper")
            else "/sys/kernel/profiling"
            if os.path.exists("/sys/kernel/profiling")
            else "/sys/devices/system/cpu/cpu1/online",
            os.O_WRONLY,
        )
    )
    return "opened"


@attempt(bare="user")
def write_to_other_process(world):
    fd = os.open(f"/proc/{world['victim']}/oom_score_adj", os.O_WRONLY)
    return os.write(fd, b"1000")


@attempt(bare="root")
def make_device(_):
    path = Path("device")
    os.mknod(path, 0o20600, os.makedev(1, 3))
    path.unlink()
    return "made"


@attempt(bare="root")
def mount_something(_):
    return syscall("mount", b"none", b".", b"tmpfs", 0, None) and syscall("umount2", b".", 2)


@attempt(bare="root")
def clone_a_mount(_):
    return syscall("open_tree", AT_FDCWD, b"/", 1)


@attempt(bare="root")
def open_a_file_system(_):
    return syscall("fsopen", b"tmpfs", 0)


@attempt(bare="root")
def change_root(_):
    os.chroot(".")
    return "changed"


@attempt(bare="user")
def setuid_by_chmod(_):
    path = Path("set-id")
    path.write_text("x")
    os.chmod(path, 0o4755)
    return path.stat().st_mode & 0o6000


@attempt(bare="user")
def setuid_by_open(_):
    path = Path("set-id-open")
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o4755))
    return path.stat().st_mode & 0o6000


@attempt(bare="user")
def setuid_by_openat2(_):
    path = Path("set-id-openat2")
    path.unlink(missing_ok=True)
    how = struct.pack("QQQ", os.O_CREAT | os.O_WRONLY, 0o4755, 0)
    syscall("openat2", AT_FDCWD, os.fsencode(path), how, 24)
    return path.stat().st_mode & 0o6000


@attempt(bare="user")
def setuid_by_unnamed_file(_):
    return os.fstat(os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o4755)).st_mode & 0o6000


@attempt(bare="user")
def setgid_by_mkdir(_):
    path = Path("set-id-directory")
    if path.exists():
        path.rmdir()
    old = os.umask(0)
    syscall("mkdirat", AT_FDCWD, os.fsencode(path), 0o2755)
    os.umask(old)
    os.chmod(path, 0o2755)
    return path.stat().st_mode & 0o6000


@attempt(bare="user")
def setuid_by_fchmodat2(_):
    path = Path("set-id-2")
    path.write_text("x")
    syscall("fchmodat2", AT_FDCWD, os.fsencode(path), 0o4755, 0)
    return path.stat().st_mode & 0o6000


if __name__ == "__main__":
    main()
