"""Attempts to change what the plan does not grant: content and names of files, devices, settings of the kernel."""

# Each attempt is the plain call, as an attacker would write it.
# ruff: noqa: PTH102, PTH106, PTH123

import contextlib
import os
import stat
import threading
import time
from pathlib import Path

from _attempt import attempt, fresh, main, syscall

AT_FDCWD = -100
RACE_S = 0.5


@attempt(17)
def create_outside(world):
    path = Path(world["outside"], "created")
    path.write_text("x")
    with contextlib.suppress(OSError):  # that it was made is what counts
        path.unlink()
    return "created"


@attempt(17)
def create_empty_outside(world):
    """Without ever opening it for writing."""
    path = Path(world["outside"], "created-empty")
    os.mknod(path, stat.S_IFREG | 0o600)
    with contextlib.suppress(OSError):  # that it was made is what counts
        path.unlink()
    return "created"


@attempt(17)
def append_outside(world):
    return os.write(os.open(world["victim_file"], os.O_WRONLY | os.O_APPEND), b"x")


@attempt(17)
def truncate_outside(world):
    os.truncate(world["victim_file"], 0)
    return "truncated"


@attempt(17)
def truncate_by_opening(world):
    os.close(os.open(world["victim_file"], os.O_RDONLY | os.O_TRUNC))
    return "truncated"


@attempt(17)
def write_shell_startup_file(world):
    return os.write(os.open(world["home"] + "/.bashrc", os.O_WRONLY | os.O_APPEND), b"\n")


@attempt(17)
def make_directory_outside(world):
    path = Path(world["outside"], "made")
    path.mkdir()
    with contextlib.suppress(OSError):  # that it was made is what counts
        path.rmdir()
    return "made"


@attempt(17)
def make_link_outside(world):
    path = Path(world["outside"], "made-link")
    path.symlink_to("/")
    with contextlib.suppress(OSError):  # that it was made is what counts
        path.unlink()
    return "made"


@attempt(17)
def make_pipe_outside(world):
    path = Path(world["outside"], "made-pipe")
    os.mkfifo(path)
    with contextlib.suppress(OSError):  # that it was made is what counts
        path.unlink()
    return "made"


@attempt(17)
def make_socket_outside(world):
    """The file alone: nobody has to listen for a name to be taken."""
    path = Path(world["outside"], "made-socket")
    os.mknod(path, stat.S_IFSOCK | 0o600)
    with contextlib.suppress(OSError):  # that it was made is what counts
        path.unlink()
    return "made"


@attempt(17)
def write_through_mapping(world):
    import mmap

    with open(world["outside"] + "/disposable", "r+b") as file:
        mmap.mmap(file.fileno(), 1, flags=mmap.MAP_SHARED)[0:1] = b"c"
    return "written"


@attempt(18)
def write_through_symlink(world):
    with fresh("link-to-victim") as link:
        link.symlink_to(world["victim_file"])
        return link.write_text("x")


@attempt(18)
def write_through_proc_cwd(world):
    return Path(f"/proc/self/root{world['victim_file']}").write_text("x")


@attempt(19, because="hard links to it allowed")
def write_through_hardlink(world):
    with fresh("hard-link-to-victim") as link:
        link.hardlink_to(world["victim_file"])
        return link.write_text("x")


@attempt(20)
def rename_out(world):
    with fresh("mine") as mine:
        mine.write_text("x")
        target = Path(world["outside"], "renamed")
        mine.rename(target)
        target.unlink()
    return "renamed"


@attempt(20)
def rename_in(world):
    Path(world["victim_file"]).rename("taken")
    Path("taken").rename(world["victim_file"])
    return "taken"


@attempt(20)
def exchange(world):
    with fresh("mine") as mine:
        mine.write_text("x")
        for _ in range(2):  # and back
            syscall("renameat2", AT_FDCWD, b"mine", AT_FDCWD, os.fsencode(world["victim_file"]), 2)
    return "exchanged"


@attempt(20)
def hardlink_out(world):
    with fresh("mine") as mine:
        mine.write_text("x")
        target = Path(world["outside"], "linked-out")
        target.hardlink_to(mine)
        with contextlib.suppress(OSError):  # that it was made is what counts
            target.unlink()
    return "linked"


@attempt(21)
def unlink_outside(world):
    path = Path(world["outside"], "disposable")
    path.unlink()
    with contextlib.suppress(OSError):  # that it was removed is what counts
        path.write_text("x")
    return "unlinked"


@attempt(21)
def remove_directory_outside(world):
    path = Path(world["outside"], "disposable-folder")
    path.rmdir()
    with contextlib.suppress(OSError):  # that it was removed is what counts
        path.mkdir()
    return "removed"


@attempt(21)
def rename_the_project(_):
    """Moved away, its name could be taken by something else."""
    here = Path.cwd()
    here.rename(here.with_name("moved"))
    here.with_name("moved").rename(here)
    return "moved"


@attempt(24, bare="root", because="CAP_MKNOD")
def make_device(_):
    with fresh("device") as path:
        os.mknod(path, 0o20600, os.makedev(1, 3))
    return "made"


@attempt(24, bare="root", because="CAP_MKNOD")
def make_block_device(_):
    with fresh("block-device") as path:
        os.mknod(path, 0o60600, os.makedev(254, 0))
    return "made"


@attempt(25)
def make_pipe_in_the_project(_):
    with fresh("pipe") as path:
        os.mkfifo(path)
        return "made"


@attempt(27, bare="root")
def write_core_pattern(_):
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return "opened"


@attempt(27, bare="root", because="modules in the kernel")
def write_module_loader(_):
    os.close(os.open("/proc/sys/kernel/modprobe", os.O_WRONLY))
    return "opened"


@attempt(27, bare="root", because="magic SysRq")
def press_magic_keys(_):
    os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))
    return "opened"


@attempt(27, bare="root", because="something writable in /sys")
def write_sysfs(_):
    for path in ("/sys/kernel/uevent_helper", "/sys/kernel/profiling", "/sys/devices/system/cpu/cpu1/online"):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY))
            return path
    return None


@attempt(27, bare="root", because="control groups mounted")
def make_a_control_group(_):
    for base in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"):
        with contextlib.suppress(OSError):
            os.mkdir(f"{base}/localgpt-probe")
            os.rmdir(f"{base}/localgpt-probe")
            return base
    return None


@attempt(28)
def write_to_other_process(world):
    fd = os.open(f"/proc/{world['victim']}/oom_score_adj", os.O_WRONLY)
    return os.write(fd, b"1000")


@attempt(28, bare="never", because="the kernel allows it among threads only")
def rename_other_process(world):
    return os.write(os.open(f"/proc/{world['victim']}/comm", os.O_WRONLY), b"x")


@attempt(29)
def link_unnamed_file_outside(world):
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY)
    target = Path(world["outside"], "linked")
    syscall("linkat", AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD, os.fsencode(target), 0x400)
    target.unlink()
    return "linked"


@attempt(29)
def unnamed_file_outside(world):
    return os.write(os.open(world["outside"], os.O_TMPFILE | os.O_WRONLY), b"x")


@attempt(30)
def copy_into_outside(world):
    source = os.memfd_create("source")
    os.write(source, b"canary")
    return os.sendfile(os.open(world["victim_file"], os.O_WRONLY), source, 0, 6)


@attempt(30)
def splice_into_outside(world):
    reader, writer = os.pipe()
    os.write(writer, b"canary")
    return os.splice(reader, os.open(world["victim_file"], os.O_WRONLY), 6)


@attempt(30)
def write_to_an_inherited_descriptor(world):
    """The launcher's caller had it open for writing; nobody gave it to the command."""
    with open(f"/proc/self/fd/{world['inherited']}", "rb"):
        pass
    return os.write(world["inherited"], b"x")


@attempt(31)
def win_a_race_with_a_link(world):
    """A name in the project is now a file of ours and now a link outside, while another thread writes to it."""
    racing, ours = Path("racing"), os.fsencode("racing-ours")
    Path("racing-link").unlink(missing_ok=True)
    Path("racing-link").symlink_to(world["victim_file"])
    racing.write_text("")
    Path("racing-ours").write_text("")
    done = threading.Event()

    def swap():
        while not done.is_set():
            for other in (b"racing-link", ours):
                with contextlib.suppress(OSError):
                    syscall("renameat2", AT_FDCWD, b"racing", AT_FDCWD, other, 2)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        ends = time.monotonic() + RACE_S
        while time.monotonic() < ends:
            with contextlib.suppress(OSError):
                fd = os.open(racing, os.O_WRONLY)
                outside = os.fstat(fd).st_ino == world["victim_inode"]
                os.close(fd)
                if outside:
                    return "opened"
    finally:
        done.set()
        swapper.join()
    return None


@attempt(32)
def write_by_dots(world):
    return Path(os.path.relpath(world["victim_file"])).write_text("x")


@attempt(32)
def write_by_dots_through_a_link(world):
    with fresh("link-to-outside") as link:
        link.symlink_to(world["outside"] + "/disposable-folder")
        return Path("link-to-outside/../victim").write_text("x")


@attempt(33)
def write_policy(world):
    return os.write(os.open(world["state"] + "/LocalGPT.md", os.O_WRONLY | os.O_APPEND), b"x")


@attempt(33)
def write_audit_log(world):
    return os.write(os.open(world["state"] + "/audit/log.jsonl", os.O_WRONLY | os.O_APPEND), b"x")


@attempt(33)
def replace_device_key(world):
    path = Path(world["state"], "device.key")
    path.rename(path.with_suffix(".old"))
    path.with_suffix(".old").rename(path)
    return "replaced"


if __name__ == "__main__":
    main()
