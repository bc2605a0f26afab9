"""Attempts to gain rights, or to use a part of the kernel that commands have no business with."""

# Each attempt is the plain call, as an attacker would write it.

import ctypes
import errno
import fcntl
import os
import platform
import pty
import shutil
import struct
import subprocess
from pathlib import Path

from _attempt import attempt, considered, fresh, machine_code, main, syscall

CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNS = 0x0002_0000


@attempt(34, because="an interpreter in a place that the plan does not grant")
def run_by_a_foreign_interpreter(world):
    with fresh("script") as path:
        path.write_text(f"#!{world['program']}\n")
        path.chmod(0o755)
        return os.spawnv(os.P_WAIT, "./script", ["script"]) == 0 and "it ran"


@attempt(35, because="a loader of the GNU C library")
def run_by_the_loader(_):
    """A program without execute permission."""
    loaders = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1")
    loader = next((path for path in loaders if Path(path).exists()), None)
    true = shutil.which("true")
    if loader is None or true is None:
        return None
    with fresh("not-executable") as path:
        shutil.copyfile(true, path)
        return os.spawnv(os.P_WAIT, loader, [loader, "./not-executable"]) == 0 and "it ran"


@attempt(36)
def run_from_memory(_):
    true = shutil.which("true")
    program = os.memfd_create("program", 0)
    os.write(program, Path(true).read_bytes())
    return os.spawnv(os.P_WAIT, f"/proc/self/fd/{program}", ["program"]) == 0 and "it ran"


@attempt(37)
def run_what_was_just_written(_):
    import mmap

    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    return len(memory)


@attempt(79, bare="ordinary", because="su, set-uid root")
def gain_by_a_set_uid_program(_):
    """The loader prints what the kernel told it, unless the program runs with more rights than its caller."""
    program = next((path for path in ("/usr/bin/su", "/bin/su", "/usr/bin/passwd") if Path(path).exists()), None)
    if program is None or not os.stat(program).st_mode & 0o4000 or not os.geteuid():  # noqa: PTH116
        return None
    environment = {"LD_SHOW_AUXV": "1", "PATH": os.environ.get("PATH", "")}
    done = subprocess.run([program, "--version"], env=environment, capture_output=True, text=True, check=False)
    return done.returncode in {0, 1} and "AT_SECURE" not in done.stdout and "it ran as root"


@attempt(79)
def set_uid_programs_count(_):
    return "NoNewPrivs:\t0" in Path("/proc/self/status").read_text()


@attempt(79, bare="root")
def become_somebody_else(_):
    os.setresuid(12345, 12345, 12345)
    return os.getuid()


@attempt(79, bare="root")
def join_a_group(_):
    os.setgroups([0, 42])
    return os.getgroups()


@attempt(80, because="user namespaces for everybody")
def own_user_namespace(_):
    return syscall("unshare", CLONE_NEWUSER)


@attempt(80, because="user namespaces for everybody")
def own_user_namespace_by_clone(_):
    child = syscall("clone", CLONE_NEWUSER | 17, None, None, None, None)
    if child == "done":
        os._exit(0)
    os.waitpid(child, 0)
    return child


@attempt(80, because="user namespaces for everybody")
def own_user_namespace_by_clone3(_):
    arguments = ctypes.create_string_buffer(struct.pack("8Q", CLONE_NEWUSER, 0, 0, 0, 17, 0, 0, 0))
    child = syscall("clone3", arguments, 64)
    if child == "done":
        os._exit(0)
    os.waitpid(child, 0)
    return child


@attempt(80, bare="root")
def own_mount_namespace(_):
    return syscall("unshare", CLONE_NEWNS)


@attempt(80)
def join_a_namespace(_):
    return considered("setns", -1, 0)


@attempt(80, bare="root")
def join_namespace_of_victim(world):
    return syscall("setns", os.pidfd_open(world["victim"]), 0x0400_0000)  # UTS: the same one


@attempt(81)
def session_keyring(_):
    return syscall("keyctl", 0, -3, 1)


@attempt(81)
def add_a_key(_):
    return syscall("add_key", b"user", b"probe", b"x", 1, -2)


@attempt(81)
def request_a_key(_):
    return considered("request_key", b"user", b"localgpt-probe-no-such-key", None, -2)


@attempt(82, bare="root")
def load_bpf(_):
    return syscall("bpf", 0, struct.pack("IIIII", 2, 4, 4, 1, 0) + bytes(100), 120)


@attempt(83, bare="root", because="perf in the kernel")
def count_events(_):
    return syscall("perf_event_open", struct.pack("IIQ", 1, 112, 0) + bytes(96), 0, -1, -1, 0)


@attempt(84, bare="root")
def handle_page_faults(_):
    return syscall("userfaultfd", 0)


@attempt(84, because="Linux 5.11")
def handle_page_faults_of_this_program(_):
    return syscall("userfaultfd", 1)  # UFFD_USER_MODE_ONLY needs no rights


@attempt(85, bare="root", because="kexec in the kernel")
def load_a_kernel(_):
    return considered("kexec_load", None, 1 << 20, None, 0)


@attempt(85, bare="root", because="kexec in the kernel")
def load_a_kernel_from_a_file(_):
    return considered("kexec_file_load", -1, -1, 0, None, 0)


@attempt(86, bare="root", because="modules in the kernel")
def load_a_module(_):
    return considered("init_module", None, 0, b"")


@attempt(86, bare="root", because="modules in the kernel")
def load_a_module_from_a_file(_):
    return considered("finit_module", -1, b"", 0)


@attempt(86, bare="root", because="modules in the kernel")
def remove_a_module(_):
    return considered("delete_module", b"localgpt_probe_no_such_module", 0o4000)


@attempt(87, bare="root")
def restart_the_machine(_):
    return considered("reboot", 0, 0, 0, None)  # without its magic numbers


@attempt(87, bare="root", because="swap in the kernel")
def swap_to_a_file(_):
    return considered("swapon", b"/no/such/place", 0)


@attempt(87, bare="root", because="swap in the kernel")
def stop_swapping(_):
    return considered("swapoff", b"/no/such/place")


@attempt(87, bare="root", because="accounting in the kernel")
def enable_accounting(_):
    return syscall("acct", None)


@attempt(87, because="quotas in the kernel")
def ask_for_quotas(_):
    return considered("quotactl", 0x800001 << 8, None, 0, None)


@attempt(87, because="Linux 5.14, quotas in the kernel")
def ask_for_quotas_by_descriptor(_):
    return considered("quotactl_fd", -1, 0x800001 << 8, 0, None)


@attempt(87, bare="root")
def change_the_host_name(_):
    name = os.uname().nodename.encode()
    return syscall("sethostname", name, len(name))


@attempt(87, bare="root")
def change_the_domain_name(_):
    return considered("setdomainname", None, -1)


@attempt(88, bare="root")
def set_the_clock(_):
    return considered("settimeofday", 8, None)


@attempt(88, bare="root")
def set_a_clock(_):
    return considered("clock_settime", 0, None)


@attempt(88)
def adjust_the_clock(_):
    return syscall("adjtimex", ctypes.create_string_buffer(208))  # with no field set it only reads


@attempt(88)
def adjust_a_clock(_):
    return syscall("clock_adjtime", 0, ctypes.create_string_buffer(208))


@attempt(89)
def change_personality(_):
    return syscall("personality", 0x40000)


@attempt(90, because="x86")
def change_code_segments(_):
    return syscall("modify_ldt", 0, ctypes.create_string_buffer(64), 64)


@attempt(90, bare="root", because="x86")
def use_io_ports(_):
    return syscall("iopl", 0)


@attempt(90, bare="root", because="x86")
def use_one_io_port(_):
    return syscall("ioperm", 0x80, 1, 1)


@attempt(91, bare="root")
def read_kernel_messages(_):
    return syscall("syslog", 3, ctypes.create_string_buffer(100), 100)


def _on_a_terminal(action):
    """Do something to a terminal of one's own, from a process that it controls."""
    child, terminal = pty.fork()
    if not child:
        try:
            action()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    if code:
        raise OSError(code if code > 0 else errno.EPERM, "the terminal's answer")
    return "done"


@attempt(92, because="TIOCSTI allowed, terminals in the view")
def type_into_a_terminal(_):
    return _on_a_terminal(lambda: fcntl.ioctl(0, 0x5412, b"x"))


@attempt(92, because="TIOCSTI allowed, terminals in the view")
def type_with_high_bits_set(_):
    return _on_a_terminal(lambda: syscall("ioctl", 0, 0x1_0000_5412, b"x"))


@attempt(92, because="terminals in the view")
def load_a_line_discipline(_):
    return _on_a_terminal(lambda: fcntl.ioctl(0, 0x5423, struct.pack("i", 0)))


@attempt(92, bare="never", because="there is no console to paste on")
def paste_on_a_console(_):
    try:
        return fcntl.ioctl(1, 0x541C, b"\x02")
    except OSError as error:
        if error.errno == errno.ENOTTY:
            return "considered"
        raise


@attempt(92, bare="never", because="tests have no terminal")
def open_the_users_terminal(_):
    return os.open("/dev/tty", os.O_RDWR)


@attempt(93, bare="never", because="not every kernel has the other architecture")
def i386_system_call(_):
    # mov eax, 20 (getpid); int 0x80; ret
    return platform.machine() == "x86_64" and machine_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")


@attempt(93, bare="never", because="not every kernel has the other architecture")
def x32_system_call(_):
    # mov eax, 0x40000027 (getpid); syscall; ret
    return platform.machine() == "x86_64" and machine_code(b"\xb8\x27\x00\x00\x40\x0f\x05\xc3")


@attempt(94)
def restrict_oneself_further(_):
    """A program's own sandbox must go on working."""
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
    ruleset = syscall("landlock_create_ruleset", struct.pack("Q", 1), 8, 0)
    return syscall("landlock_restrict_self", ruleset, 0)


@attempt(95)
def become_dumpable(_):
    return ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0 and "set"


@attempt(97, bare="root")
def use_a_capability(_):
    status = Path("/proc/self/status").read_text()
    return int(status.split("CapEff:")[1].split()[0], 16)


@attempt(97, bare="root")
def capabilities_of_a_fresh_program(_):
    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    return int(status.split("CapEff:")[1].split()[0], 16)


@attempt(97, bare="root")
def keep_a_capability_for_others(_):
    """The ambient set goes on to whatever is executed."""
    if ctypes.CDLL(None).prctl(24, 0, 0, 0, 0) < 0:  # PR_CAPBSET_DROP needs CAP_SETPCAP
        return None
    return "it has CAP_SETPCAP"


@attempt(97, bare="root")
def raise_a_capability(_):
    header, full = struct.pack("Ii", 0x2008_0522, 0), struct.pack("6I", *([0xFF, 0xFF, 0xFF, 0, 0, 0]))
    return syscall("capset", header, full)


if __name__ == "__main__":
    main()
