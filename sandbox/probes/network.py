"""Attempts to reach anybody by any kind of socket."""

import socket
import subprocess
from pathlib import Path

from _attempt import attempt, main, syscall

MSG_FASTOPEN = 0x2000_0000
IPPROTO_MPTCP = 262


@attempt(bare="user")
def tcp(world):
    socket.create_connection(("127.0.0.1", world["tcp"]), 2).close()
    return "connected"


@attempt(bare="user")
def tcp_fast_open(world):
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    return connection.sendto(b"x", MSG_FASTOPEN, ("127.0.0.1", world["tcp"]))


@attempt(bare="user")
def mptcp(world):
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    connection.connect(("127.0.0.1", world["tcp"]))
    return "connected"


@attempt(bare="user")
def udp(world):
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", world["udp"]))


@attempt(bare="user")
def udp6(_):
    return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).fileno()


@attempt(bare="user")
def listen_tcp(_):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.listen()  # binds by itself
    return listener.getsockname()


@attempt(bare="user")
def unix_path(world):
    socket.socket(socket.AF_UNIX).connect(world["unix"])
    return "connected"


@attempt(bare="user")
def unix_abstract(world):
    socket.socket(socket.AF_UNIX).connect("\0" + world["abstract"])
    return "connected"


@attempt(bare="user")
def unix_datagram_from_a_pair(world):
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return ours.sendto(b"x", world["unix_datagram"])


@attempt(bare=None)
def unix_stream_pair_redirected(world):
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.connect(world["unix"])
    return "connected"


@attempt(bare="user")
def netlink(_):
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).fileno()


@attempt(bare="root")
def packet(_):
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).fileno()


@attempt(bare="root")
def raw(_):
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).fileno()


@attempt(bare="user")
def vsock(_):
    return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).fileno()


@attempt(bare=None)
def kernel_crypto(_):
    return socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).fileno()


@attempt(bare="user")
def shell_dev_tcp(world):
    line = f"exec 3<>/dev/tcp/127.0.0.1/{world['tcp']}"
    return subprocess.run(["bash", "-c", line], stderr=subprocess.DEVNULL, check=False).returncode == 0


@attempt(bare="user")
def io_uring(_):
    return syscall("io_uring_setup", 1, bytes(120)) and "made"


@attempt(bare=None)
def inherited_descriptor(_):
    return [found for fd in range(3, 256) if (found := _target(fd)) not in {"", __file__}]


def _target(fd):
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""


if __name__ == "__main__":
    main()
