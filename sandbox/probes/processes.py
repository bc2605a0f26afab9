"""Attempts on other processes: the victim outside, and the one that serves the sandbox."""

import ctypes
import fcntl
import os
import resource
import signal
from pathlib import Path

from _attempt import attempt, main, syscall


@attempt(bare="user")
def signal_victim(world):
    os.kill(world["victim"], 0)
    return "signalled"


@attempt(bare="user")
def signal_victim_thread(world):
    return syscall("tgkill", world["victim"], world["victim"], 0)


@attempt(bare="user")
def queue_signal_to_victim(world):
    information = bytearray(128)
    information[8:12] = (-1).to_bytes(4, "little", signed=True)  # si_code SI_QUEUE
    return syscall("rt_sigqueueinfo", world["victim"], 0, bytes(information))


@attempt(bare="user")
def signal_victim_by_descriptor(world):
    signal.pidfd_send_signal(os.pidfd_open(world["victim"]), 0)
    return "signalled"


@attempt(bare="user")
def own_a_descriptor_for_victim(world):
    reader, _ = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, world["victim"])
    return "set"


@attempt(bare="user")
def choose_the_signal_of_a_descriptor(_):
    reader, _ = os.pipe()
    fcntl.fcntl(reader, 10, signal.SIGKILL)
    return "set"


@attempt(bare="user")
def trace_victim(world):
    syscall("ptrace", 0x4206, world["victim"], 0, 0)  # SEIZE: does not stop it
    return "seized"


@attempt(bare="user")
def read_victim_memory(world):
    local = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)
    remote = (ctypes.c_void_p * 2)(world["victim_address"], 8)
    return syscall("process_vm_readv", world["victim"], vector, 1, remote, 1, 0)


@attempt(bare="user")
def read_victim_environment(world):
    return Path(f"/proc/{world['victim']}/environ").read_bytes()


@attempt(bare="user")
def open_victim_memory(world):
    return os.open(f"/proc/{world['victim']}/mem", os.O_RDONLY)


@attempt(bare="user")
def read_through_victim_root(world):
    return Path(f"/proc/{world['victim']}/root{world['secret']}").read_text()


@attempt(bare="user")
def read_victim_command_line(world):
    return Path(f"/proc/{world['victim']}/cmdline").read_bytes()


@attempt(bare="user")
def take_victim_descriptor(world):
    return syscall("pidfd_getfd", os.pidfd_open(world["victim"]), 0, 0)


@attempt(bare="user")
def limit_victim(world):
    resource.prlimit(world["victim"], resource.RLIMIT_CORE, (0, 0))
    return "limited"


@attempt(bare="user")
def place_victim(world):
    os.sched_setaffinity(world["victim"], os.sched_getaffinity(0))
    return "placed"


@attempt(bare="user")
def slow_victim(world):
    os.setpriority(os.PRIO_PROCESS, world["victim"], os.getpriority(os.PRIO_PROCESS, world["victim"]) + 1)
    return "slowed"


@attempt(bare=None)  # it works, and would be felt by the whole host
def slow_everything_of_this_user(_):
    os.setpriority(os.PRIO_USER, 0, os.getpriority(os.PRIO_PROCESS, 0))
    return "slowed"


@attempt(bare="user")
def attach_shared_memory(world):
    return syscall("shmat", world["shm"], None, 0o10000) and "attached"


@attempt(bare=None)
def kill_the_server(_):
    before = os.getppid()
    os.kill(before, signal.SIGKILL)
    signal.sigtimedwait([], 0.05)
    return os.getppid() != before and "killed"


@attempt(bare=None)
def kill_everybody(_):
    server = os.getppid()
    os.kill(-1, signal.SIGKILL)
    signal.sigtimedwait([], 0.05)
    return os.getppid() != server and "killed"


@attempt(bare=None)
def stop_the_server(_):
    os.kill(os.getppid(), signal.SIGSTOP)
    state = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T" and "stopped"


@attempt(bare=None)
def kill_the_server_group(_):
    server = os.getppid()
    if os.getpgid(server) in {0, os.getpgid(0)}:
        return None  # not to be named from here
    os.killpg(os.getpgid(server), signal.SIGKILL)
    signal.sigtimedwait([], 0.05)
    return os.getppid() != server and "killed"


@attempt(bare=None)
def starve_the_server_of_time(_):
    resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))
    return "limited"


@attempt(bare=None)
def signal_the_server_through_a_descriptor(_):
    server = os.getppid()
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, server)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writer, b"x")
    signal.sigtimedwait([], 0.05)
    return os.getppid() != server and "killed"


@attempt(bare=None)
def read_the_server(_):
    return os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY)


@attempt(bare=None)
def read_the_server_environment(_):
    return Path(f"/proc/{os.getppid()}/environ").read_bytes()


if __name__ == "__main__":
    main()
