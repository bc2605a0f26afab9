"""Attempts on other processes: the victim outside, and the one that serves the sandbox."""

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
from pathlib import Path

from _attempt import Sent, attempt, considered, main, syscall

CLONE_PARENT = 0x8000
NO_SERVER = "there is no server without a sandbox"


@attempt(53)
def signal_victim(world):
    os.kill(world["victim"], 0)
    return "signalled"


@attempt(53)
def signal_victim_thread(world):
    return syscall("tgkill", world["victim"], world["victim"], 0)


@attempt(53)
def signal_victim_by_old_call(world):
    return syscall("tkill", world["victim"], 0)


def _queued():
    information = bytearray(128)
    information[8:12] = (-1).to_bytes(4, "little", signed=True)  # si_code SI_QUEUE
    return bytes(information)


@attempt(53)
def queue_signal_to_victim(world):
    return syscall("rt_sigqueueinfo", world["victim"], 0, _queued())


@attempt(53)
def queue_signal_to_victim_thread(world):
    return syscall("rt_tgsigqueueinfo", world["victim"], world["victim"], 0, _queued())


@attempt(53)
def signal_victim_by_descriptor(world):
    signal.pidfd_send_signal(os.pidfd_open(world["victim"]), 0)
    return "signalled"


@attempt(53)
def signal_victim_by_its_folder(world):
    """A descriptor of /proc/PID serves as well."""
    signal.pidfd_send_signal(os.open(f"/proc/{world['victim']}", os.O_RDONLY), 0)
    return "signalled"


@attempt(53)
def signal_victim_group(world):
    os.killpg(os.getpgid(world["victim"]), 0)
    return "signalled"


@attempt(54, bare="ours", because="it would reach every process of this user")
def signal_everybody(world):
    """By a signal that means nothing to anybody: were it SIGKILL, one hole here would end the whole host."""
    os.kill(-1, signal.SIGURG)
    return Sent(world["signalled"])


@attempt(55, because="no restriction of tracing on the host")
def trace_victim(world):
    syscall("ptrace", 0x4206, world["victim"], 0, 0)  # SEIZE: does not stop it
    return "seized"


@attempt(55, because="no restriction of tracing on the host")
def read_victim_memory(world):
    local = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)
    remote = (ctypes.c_void_p * 2)(world["victim_address"], 8)
    return syscall("process_vm_readv", world["victim"], vector, 1, remote, 1, 0)


@attempt(55, because="no restriction of tracing on the host")
def write_victim_memory(world):
    local = ctypes.create_string_buffer(b"canary!!")
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)
    remote = (ctypes.c_void_p * 2)(world["victim_address"], 8)
    return syscall("process_vm_writev", world["victim"], vector, 1, remote, 1, 0)


@attempt(55, because="no restriction of tracing on the host")
def take_victim_descriptor(world):
    return syscall("pidfd_getfd", os.pidfd_open(world["victim"]), 0, 0)


@attempt(55, because="kcmp in the kernel, no restriction of tracing")
def compare_with_victim(world):
    return syscall("kcmp", os.getpid(), world["victim"], 1, 0, 0)


@attempt(55)
def advise_on_victim_memory(_):
    return considered("process_madvise", -1, None, 0, 21, 0)


@attempt(55)
def release_victim_memory(_):
    return considered("process_mrelease", -1, 0)


@attempt(55, because="no restriction of tracing on the host")
def read_victim_robust_list(world):
    head, length = ctypes.c_void_p(), ctypes.c_size_t()
    return syscall("get_robust_list", world["victim"], ctypes.byref(head), ctypes.byref(length))


@attempt(56)
def limit_victim(world):
    resource.prlimit(world["victim"], resource.RLIMIT_CORE, (0, 0))
    return "limited"


@attempt(56)
def place_victim(world):
    os.sched_setaffinity(world["victim"], os.sched_getaffinity(0))
    return "placed"


@attempt(56)
def schedule_victim(world):
    os.sched_setscheduler(world["victim"], os.SCHED_BATCH, os.sched_param(0))
    return "scheduled"


@attempt(56)
def schedule_victim_by_attributes(world):
    return syscall("sched_setattr", world["victim"], struct.pack("IIQiIQQQ", 48, 3, 0, 0, 0, 0, 0, 0), 0)


@attempt(56)
def slow_victim(world):
    os.setpriority(os.PRIO_PROCESS, world["victim"], os.getpriority(os.PRIO_PROCESS, world["victim"]) + 1)
    return "slowed"


@attempt(56, bare="ours", because="it would be felt by the whole host")
def slow_everything_of_this_user(_):
    os.setpriority(os.PRIO_USER, 0, os.getpriority(os.PRIO_PROCESS, 0))
    return "slowed"


@attempt(56)
def slow_victim_disk(world):
    return syscall("ioprio_set", 1, world["victim"], 3 << 13)


@attempt(56, because="NUMA in the kernel")
def move_victim_pages(world):
    address = (ctypes.c_void_p * 1)(world["victim_address"] & ~4095)
    status = (ctypes.c_int * 1)()
    return syscall("move_pages", world["victim"], 1, address, None, status, 0)


@attempt(56, because="NUMA in the kernel")
def migrate_victim(world):
    nodes = ctypes.c_ulong(1)
    return syscall("migrate_pages", world["victim"], 2, ctypes.byref(nodes), ctypes.byref(nodes))


@attempt(105)
def read_victim_command_line(world):
    return Path(f"/proc/{world['victim']}/cmdline").read_bytes()


@attempt(105)
def list_processes(world):
    return Path(f"/proc/{world['victim']}").is_dir() and "listed"


@attempt(105)
def ask_for_victim_session(world):
    return os.getsid(world["victim"])


@attempt(96)
def attach_shared_memory(world):
    return syscall("shmat", world["shm"], None, 0o10000) and "attached"


@attempt(96)
def change_semaphores(world):
    return syscall("semop", world["sem"], struct.pack("HhH", 0, 1, 0), 1)


@attempt(96)
def send_system_v_message(world):
    return syscall("msgsnd", world["msg"], struct.pack("q8s", 1, b"canary!!"), 8, 0o4000)


@attempt(96)
def list_system_v_objects(world):
    return any(line.split()[1] == str(world["shm"]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:])


@attempt(96, because="POSIX message queues in the kernel")
def open_message_queue(world):
    return syscall("mq_open", world["mq"].encode(), os.O_WRONLY, 0, None)


# --- the one that serves ------------------------------------------------------------------------------------------


def _ended(server):
    signal.sigtimedwait([], 0.05)
    return os.getppid() != server and "ended"


@attempt(101, bare="ours", because=NO_SERVER)
def starve_the_server_of_time(_):
    resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))
    return "limited"


@attempt(101, bare="ours", because=NO_SERVER)
def starve_the_server_of_descriptors(_):
    resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))
    return "limited"


@attempt(102, bare="ours", because=NO_SERVER)
def kill_the_server(_):
    server = os.getppid()
    os.kill(server, signal.SIGKILL)
    return _ended(server)


@attempt(102, bare="ours", because=NO_SERVER)
def kill_a_thread_of_the_server(_):
    server = os.getppid()
    syscall("tgkill", server, server, signal.SIGKILL)
    return _ended(server)


@attempt(102, bare="ours", because=NO_SERVER)
def kill_the_server_by_descriptor(_):
    server = os.getppid()
    signal.pidfd_send_signal(os.pidfd_open(server), signal.SIGKILL)
    return _ended(server)


@attempt(102, bare="ours", because=NO_SERVER)
def stop_the_server(_):
    os.kill(os.getppid(), signal.SIGSTOP)
    state = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T" and "stopped"


@attempt(102, bare="ours", because=NO_SERVER)
def kill_the_server_group(_):
    server = os.getppid()
    if os.getpgid(server) in {0, os.getpgid(0)}:
        return None  # not to be named from here
    os.killpg(os.getpgid(server), signal.SIGKILL)
    return _ended(server)


@attempt(102, bare="ours", because="whoever runs the attempts may be in the same group")
def kill_own_group(_):
    """Whoever shares the group of a command is within its reach by kill(0)."""
    server = os.getppid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(0, signal.SIGTERM)
    return _ended(server)


@attempt(102, bare="ours", because=NO_SERVER)
def signal_the_server_by_ending(_):
    """A sibling's end is told to the common parent, by a signal of our choice if the kernel let us choose."""
    server = os.getppid()
    if syscall("clone", CLONE_PARENT | signal.SIGKILL, None, None, None, None) == "done":
        os._exit(0)
    return _ended(server)


@attempt(102, bare="ours", because=NO_SERVER)
def signal_the_server_through_a_descriptor(_):
    server = os.getppid()
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, server)
    fcntl.fcntl(reader, 10, signal.SIGKILL)  # F_SETSIG
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writer, b"x")
    return _ended(server)


@attempt(102)
def own_a_descriptor_for_victim(world):
    reader, _ = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, world["victim"])
    return "set"


@attempt(102)
def own_a_descriptor_for_a_thread(world):
    reader, _ = os.pipe()
    fcntl.fcntl(reader, 15, struct.pack("ii", 0, world["victim"]))  # F_SETOWN_EX, F_OWNER_TID
    return "set"


@attempt(102)
def own_a_socket_for_victim(world):
    ours, _ = socket.socketpair()
    fcntl.ioctl(ours, 0x8902, struct.pack("i", world["victim"]))  # SIOCSPGRP
    return "set"


@attempt(102)
def own_a_file_for_victim(world):
    ours, _ = socket.socketpair()
    fcntl.ioctl(ours, 0x8901, struct.pack("i", world["victim"]))  # FIOSETOWN
    return "set"


@attempt(102)
def choose_the_signal_of_a_descriptor(_):
    reader, _ = os.pipe()
    fcntl.fcntl(reader, 10, signal.SIGKILL)
    return "set"


@attempt(102, bare="ours", because=NO_SERVER)
def read_the_server(_):
    return os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY)


@attempt(102, bare="ours", because=NO_SERVER)
def read_the_server_environment(_):
    return Path(f"/proc/{os.getppid()}/environ").read_bytes()


@attempt(102, bare="ours", because=NO_SERVER)
def read_the_server_descriptors(_):
    """Their numbers may be seen by root; what they lead to may not."""
    folder = f"/proc/{os.getppid()}/fd"
    return [(fd, os.readlink(f"{folder}/{fd}")) for fd in os.listdir(folder)]  # noqa: PTH115, PTH208


@attempt(102, bare="ours", because=NO_SERVER)
def trace_the_server(_):
    return syscall("ptrace", 0x4206, os.getppid(), 0, 0)


if __name__ == "__main__":
    main()
