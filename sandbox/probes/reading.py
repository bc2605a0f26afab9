"""Attempts to read what the plan does not grant: secrets, other processes' files, the kernel's; and to learn of it."""

# Each attempt is the plain call, as an attacker would write it.
# ruff: noqa: PTH115, PTH116, PTH123, PTH208

import contextlib
import ctypes
import os
import struct
from pathlib import Path

from _attempt import attempt, considered, fresh, main, syscall

AT_FDCWD = -100
IN_ALL_EVENTS = 0xFFF


@attempt(1)
def read_secret(world):
    return Path(world["secret"]).read_text()


@attempt(1)
def list_home(world):
    return os.listdir(world["home"])


@attempt(1)
def read_secret_by_descriptor_of_its_folder(world):
    folder = os.open(world["home"], os.O_PATH | os.O_DIRECTORY)
    return os.read(os.open(".ssh/id_rsa", os.O_RDONLY, dir_fd=folder), 100)


@attempt(1)
def read_secret_after_entering_its_folder(world):
    os.chdir(world["home"] + "/.ssh")
    return Path("id_rsa").read_text()


@attempt(1)
def read_path_descriptor(world):
    location = os.open(world["secret"], os.O_PATH)
    return Path(f"/proc/self/fd/{location}").read_text()


@attempt(1)
def execute_secret(world):
    """A program outside that is readable and executable: not to be read is not to be run."""
    return os.spawnv(os.P_WAIT, world["program"], [world["program"]]) == 0 and "it ran"


@attempt(1)
def map_secret(world):
    import mmap

    with open(world["secret"], "rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:]


@attempt(2)
def read_through_proc_root(world):
    return Path("/proc/self/root" + world["secret"]).read_text()


@attempt(2)
def read_through_thread_root(world):
    return Path(f"/proc/thread-self/root{world['secret']}").read_text()


@attempt(3)
def read_through_symlink(world):
    with fresh("link-to-secret") as link:
        link.symlink_to(world["secret"])
        return link.read_text()


@attempt(3)
def read_through_a_linked_folder(world):
    with fresh("link-to-home") as link:
        link.symlink_to(world["home"])
        return (link / ".ssh" / "id_rsa").read_text()


@attempt(4, because="hard links to it allowed")
def read_through_hardlink(world):
    with fresh("hard-link-to-secret") as link:
        link.hardlink_to(world["secret"])
        return link.read_text()


@attempt(5, bare="root", because="a file system with handles")
def read_by_handle(world):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    syscall("name_to_handle_at", AT_FDCWD, os.fsencode(world["secret"]), handle, ctypes.byref(mount), 0)
    root = os.open(world["home"], os.O_RDONLY)
    return os.read(syscall("open_by_handle_at", root, handle, os.O_RDONLY), 100)


@attempt(6)
def read_victim_environment(world):
    return Path(f"/proc/{world['victim']}/environ").read_bytes()


@attempt(6)
def read_every_environment(_):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"canary" in Path(f"/proc/{pid}/environ").read_bytes() and int(pid) != os.getpid():
                found.append(pid)
        except OSError:
            continue
    return found


@attempt(7)
def open_victim_memory(world):
    return os.open(f"/proc/{world['victim']}/mem", os.O_RDONLY)


@attempt(7)
def read_victim_maps(world):
    return Path(f"/proc/{world['victim']}/maps").read_text()[:40]


@attempt(8)
def read_through_victim_root(world):
    return Path(f"/proc/{world['victim']}/root{world['secret']}").read_text()


@attempt(8)
def list_victim_working_directory(world):
    return os.listdir(f"/proc/{world['victim']}/cwd")


@attempt(8)
def read_victim_descriptor(world):
    """Whether there is one is enough: its link and what is behind it."""
    return os.readlink(f"/proc/{world['victim']}/fd/0")


@attempt(8)
def open_victim_descriptor(world):
    return os.open(f"/proc/{world['victim']}/fd/{world['victim_fd']}", os.O_RDONLY)


@attempt(9)
def read_victim_thread_memory(world):
    return os.open(f"/proc/{world['victim']}/task/{world['victim']}/mem", os.O_RDONLY)


@attempt(9)
def read_victim_thread_environment(world):
    return Path(f"/proc/{world['victim']}/task/{world['victim']}/environ").read_bytes()


@attempt(9, bare="ours", because="there is no server without a sandbox")
def read_threads_of_every_process(_):
    """A thread of the runtime in the same Landlock domain as commands would open all of the runtime."""
    mine = str(os.getpid())
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            tasks = os.listdir(f"/proc/{pid}/task") if pid != mine else []
        except OSError:
            continue
        for task in tasks:
            try:
                os.close(os.open(f"/proc/{pid}/task/{task}/mem", os.O_RDONLY))
            except OSError:
                continue
            return f"/proc/{pid}/task/{task}/mem"
    return None


@attempt(10, bare="root")
def read_shadow(_):
    return Path("/etc/shadow").read_text()[:4]


@attempt(10, bare="root", because="an SSH server or TLS key installed")
def read_private_files_of_etc(_):
    import stat

    closed = []
    for folder, _, names in os.walk("/etc"):
        for name in names:
            path = Path(folder, name)
            try:
                mode = path.lstat().st_mode
                if stat.S_ISREG(mode) and not mode & stat.S_IROTH and path.read_bytes():
                    closed.append(str(path))
            except OSError:
                continue
    return closed


def _read_all(folder):
    """Contents of every file beneath `folder` that may be read."""
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                found.append(Path(where, name).read_text())
            except OSError:
                continue
    return found


@attempt(11)
def read_cloud_credentials(world):
    return Path(world["home"], ".aws/credentials").read_text()


@attempt(11)
def read_github_token(world):
    return Path(world["home"], ".config/gh/hosts.yml").read_text()


@attempt(11)
def read_netrc(world):
    return Path(world["home"], ".netrc").read_text()


@attempt(11)
def read_docker_configuration(world):
    return Path(world["home"], ".docker/config.json").read_text()


@attempt(11)
def read_kubernetes_configuration(world):
    return Path(world["home"], ".kube/config").read_text()


@attempt(11)
def read_browser_cookies(world):
    return Path(world["home"], ".mozilla/firefox/default/cookies.sqlite").read_text()


@attempt(11)
def read_keyring(world):
    return Path(world["home"], ".local/share/keyrings/login.keyring").read_text()


@attempt(11)
def read_gpg_keys(world):
    return _read_all(world["home"] + "/.gnupg")


@attempt(11)
def read_shell_history(world):
    return Path(world["home"], ".bash_history").read_text()


@attempt(11)
def read_credentials_beside_a_toolchain(world):
    """~/.cargo/bin may be granted; the token that lies beside it may not."""
    return Path(world["home"], ".cargo/credentials.toml").read_text()


@attempt(12)
def read_shared_memory_file(world):
    return Path(world["dev_shm"]).read_text()


@attempt(12)
def find_shared_memory_files(world):
    return [name for name in os.listdir("/dev/shm") if world["dev_shm"].endswith(name)]


@attempt(13)
def read_policy(world):
    return Path(world["state"], "LocalGPT.md").read_text()


@attempt(13)
def read_audit_log(world):
    return Path(world["state"], "audit/log.jsonl").read_text()


@attempt(13)
def read_device_key(world):
    return Path(world["state"], "device.key").read_bytes()


@attempt(13)
def read_memory_database(world):
    return Path(world["state"], "memory.sqlite3").read_bytes()


@attempt(14, bare="root", because="/dev/mem or /proc/kcore in the kernel")
def read_kernel_memory(_):
    try:
        return open("/dev/mem", "rb").read(1)
    except OSError:
        return open("/proc/kcore", "rb").read(1)


@attempt(14, bare="root", because="/dev/kmsg")
def read_kernel_log(_):
    return os.read(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK), 8192)


@attempt(14, bare="root", because="a block device")
def read_block_device(_):
    for name in sorted(os.listdir("/sys/class/block")):
        with contextlib.suppress(OSError):
            return os.read(os.open(f"/dev/{name}", os.O_RDONLY), 1)
    return None


@attempt(15)
def stat_secret(world):
    return os.stat(world["secret"]).st_size


@attempt(15)
def test_existence_of_secret(world):
    return os.access(world["secret"], os.F_OK)


@attempt(15)
def read_target_of_a_link_outside(world):
    return os.readlink(world["link"])


@attempt(15, because="a file system with handles")
def identify_secret_by_handle(world):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    return syscall("name_to_handle_at", AT_FDCWD, os.fsencode(world["secret"]), handle, ctypes.byref(mount), 0)


@attempt(15)
def read_attributes_of_secret(world):
    return [str(name) for name in os.listxattr(world["secret"])] or "it may be asked"


@attempt(16)
def watch_outside_with_inotify(world):
    watch = syscall("inotify_init1", 0o2000000)
    return syscall("inotify_add_watch", watch, os.fsencode(world["outside"]), IN_ALL_EVENTS)


@attempt(16, because="dnotify in the kernel")
def watch_outside_with_dnotify(world):
    import fcntl
    import signal

    signal.signal(signal.SIGIO, signal.SIG_IGN)
    fcntl.fcntl(os.open(world["outside"], os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_CREATE)
    return "watched"


@attempt(16, bare="root", because="fanotify in the kernel")
def watch_outside_with_fanotify(_):
    return syscall("fanotify_init", 0, 0)


@attempt(16, bare="root", because="fanotify in the kernel")
def mark_for_fanotify(_):
    return considered("fanotify_mark", -1, 0, 0, AT_FDCWD, b"/")


if __name__ == "__main__":
    main()
