"""Attempts to gain rights, or to use a part of the kernel that commands have no business with."""

import ctypes
import fcntl
import os
import pty
import struct
from pathlib import Path

from _attempt import attempt, machine_code, main, syscall

CLONE_NEWUSER = 0x1000_0000


@attempt(bare="user")
def own_user_namespace(_):
    return syscall("unshare", CLONE_NEWUSER)


@attempt(bare="user")
def own_user_namespace_by_clone(_):
    child = syscall("clone", CLONE_NEWUSER | 17, None, None, None, None)
    if child == "done":
        os._exit(0)
    os.waitpid(child, 0)
    return child


@attempt(bare="user")
def own_user_namespace_by_clone3(_):
    arguments = ctypes.create_string_buffer(struct.pack("8Q", CLONE_NEWUSER, 0, 0, 0, 17, 0, 0, 0))
    child = syscall("clone3", arguments, 64)
    if child == "done":
        os._exit(0)
    os.waitpid(child, 0)
    return child


@attempt(bare="user")
def session_keyring(_):
    return syscall("keyctl", 0, -3, 1)


@attempt(bare="user")
def add_a_key(_):
    return syscall("add_key", b"user", b"probe", b"x", 1, -2)


@attempt(bare="root")
def load_bpf(_):
    return syscall("bpf", 0, struct.pack("IIIII", 2, 4, 4, 1, 0) + bytes(100), 120)


@attempt(bare="root")
def count_events(_):
    return syscall("perf_event_open", struct.pack("IIQ", 1, 112, 0) + bytes(96), 0, -1, -1, 0)


@attempt(bare="root")
def handle_page_faults(_):
    return syscall("userfaultfd", 0)


@attempt(bare="user")
def change_personality(_):
    return syscall("personality", 0x40000)


@attempt(bare="root")
def read_kernel_messages(_):
    return syscall("syslog", 3, ctypes.create_string_buffer(100), 100)


@attempt(bare="root")
def set_the_clock(_):
    return syscall("adjtimex", ctypes.create_string_buffer(208))


@attempt(bare="root")
def enable_accounting(_):
    return syscall("acct", None)


@attempt(bare="root")
def change_the_host_name(_):
    name = os.uname().nodename.encode()
    return syscall("sethostname", name, len(name))


@attempt(bare="root")
def become_somebody_else(_):
    os.setresuid(12345, 12345, 12345)
    return os.getuid()


@attempt(bare="root")
def use_a_capability(_):
    status = Path("/proc/self/status").read_text()
    return int(status.split("CapEff:")[1].split()[0], 16)


@attempt(bare="root")
def capabilities_of_a_fresh_program(_):
    import subprocess

    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    return int(status.split("CapEff:")[1].split()[0], 16)


@attempt(bare="user")
def set_uid_programs_count(_):
    return "NoNewPrivs:\t0" in Path("/proc/self/status").read_text()


@attempt(bare="user")
def type_into_a_terminal(_):
    child, terminal = pty.fork()
    if not child:
        fcntl.ioctl(0, 0x5412, b"x")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and "typed" if terminal else None


@attempt(bare="user")
def type_with_high_bits_set(_):
    child, terminal = pty.fork()
    if not child:
        syscall("ioctl", 0, 0x1_0000_5412, b"x")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and "typed" if terminal else None


@attempt(bare=None)
def i386_system_call(_):
    # mov eax, 20 (getpid); int 0x80; ret
    return machine_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")


@attempt(bare=None)
def x32_system_call(_):
    # mov eax, 0x40000027 (getpid); syscall; ret
    return machine_code(b"\xb8\x27\x00\x00\x40\x0f\x05\xc3")


@attempt(bare="root")
def change_code_segments(_):
    return syscall("modify_ldt", 0, ctypes.create_string_buffer(64), 64)


@attempt(bare="root")
def use_io_ports(_):
    return syscall("iopl", 0)


@attempt(bare="user")
def host_secrets_in_environment(_):
    return os.environ.get("LOCALGPT_PROBE_SECRET")


if __name__ == "__main__":
    main()
