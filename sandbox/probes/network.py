"""Attempts to reach anybody by any kind of socket, or to be reached."""

import errno
import os
import select
import shutil
import socket
import struct
import subprocess
from pathlib import Path

from _attempt import attempt, considered, main, syscall

MSG_FASTOPEN = 0x2000_0000
TCP_FASTOPEN_CONNECT = 30
IPPROTO_MPTCP = 262
AF_BLUETOOTH, AF_SMC, AF_XDP = 31, 43, 44


def _made(family, kind, protocol=0):
    """A socket of that kind is already too much."""
    return f"socket {socket.socket(family, kind, protocol).fileno()}"


@attempt(38)
def tcp(world):
    socket.create_connection(("127.0.0.1", world["tcp"]), 2).close()
    return "connected"


@attempt(38, because="IPv6")
def tcp6(world):
    connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    connection.connect(("::ffff:127.0.0.1", world["tcp"]))
    return "connected"


@attempt(38)
def tcp_without_waiting(world):
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    if connection.connect_ex(("127.0.0.1", world["tcp"])) not in {0, errno.EINPROGRESS}:
        return None
    select.select([], [connection], [], 2)
    return not connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) and "connected"


@attempt(39)
def udp(world):
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", world["udp"]))


@attempt(39, because="IPv6")
def udp6(_):
    return _made(socket.AF_INET6, socket.SOCK_DGRAM)


@attempt(39)
def name_server(world):
    """A question of the domain name system, in a datagram."""
    question = struct.pack("!6H", 1, 256, 1, 0, 0, 0) + b"\x06secret\x07example\x00" + struct.pack("!2H", 1, 1)
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(question, ("127.0.0.1", world["udp"]))


@attempt(40)
def tcp_fast_open(world):
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    return connection.sendto(b"x", MSG_FASTOPEN, ("127.0.0.1", world["tcp"]))


@attempt(40)
def tcp_fast_open_by_message(world):
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    return connection.sendmsg([b"x"], [], MSG_FASTOPEN, ("127.0.0.1", world["tcp"]))


@attempt(40)
def tcp_fast_open_by_option(world):
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    connection.connect(("127.0.0.1", world["tcp"]))
    return connection.send(b"x")


@attempt(41, because="MPTCP in the kernel")
def mptcp(world):
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    connection.connect(("127.0.0.1", world["tcp"]))
    return "connected"


@attempt(41, because="SMC in the kernel")
def smc(_):
    return _made(AF_SMC, socket.SOCK_STREAM)


@attempt(41, because="SCTP in the kernel")
def sctp(_):
    return _made(socket.AF_INET, socket.SOCK_SEQPACKET, 132)


@attempt(41, because="DCCP in the kernel")
def dccp(_):
    return _made(socket.AF_INET, 6, 33)


@attempt(41)
def udp_lite(_):
    return _made(socket.AF_INET, socket.SOCK_DGRAM, 136)


@attempt(42, bare="root")
def packet(_):
    return _made(socket.AF_PACKET, socket.SOCK_RAW)


@attempt(42, bare="root")
def raw(_):
    return _made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


@attempt(42, because="net.ipv4.ping_group_range wide enough")
def ping(_):
    return _made(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)


@attempt(43)
def netlink(_):
    return _made(socket.AF_NETLINK, socket.SOCK_RAW)


@attempt(43, bare="never", because="what the kernel announces to everybody comes seldom")
def device_events(_):
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)
    listener.bind((0, 1))
    return "listening"


@attempt(43, because="vsock in the kernel")
def vsock(_):
    return _made(socket.AF_VSOCK, socket.SOCK_STREAM)


@attempt(43, because="AF_ALG in the kernel")
def kernel_crypto(_):
    return _made(socket.AF_ALG, socket.SOCK_SEQPACKET)


@attempt(43, because="Bluetooth in the kernel")
def bluetooth(_):
    return _made(AF_BLUETOOTH, socket.SOCK_RAW, 1)


@attempt(43, because="CAN in the kernel")
def can(_):
    return _made(socket.AF_CAN, socket.SOCK_RAW, 1)


@attempt(43, because="TIPC in the kernel")
def tipc(_):
    return _made(socket.AF_TIPC, socket.SOCK_RDM)


@attempt(43, because="RDS in the kernel")
def rds(_):
    return _made(socket.AF_RDS, socket.SOCK_SEQPACKET)


@attempt(43, because="QIPCRTR in the kernel")
def qipcrtr(_):
    return _made(socket.AF_QIPCRTR, socket.SOCK_DGRAM)


@attempt(43, bare="root", because="AF_XDP in the kernel")
def express_data_path(_):
    return _made(AF_XDP, socket.SOCK_RAW)


@attempt(44)
def listen_tcp(_):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.listen()  # binds by itself
    return listener.getsockname()


@attempt(44)
def bind_tcp(_):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    return listener.getsockname()


@attempt(44)
def bind_udp(_):
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    return listener.getsockname()


@attempt(45)
def unix_abstract(world):
    socket.socket(socket.AF_UNIX).connect("\0" + world["abstract"])
    return "connected"


@attempt(45)
def unix_abstract_datagram(world):
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", "\0" + world["abstract_datagram"])


@attempt(46)
def unix_path(world):
    """docker.sock, ssh-agent, D-Bus, X11, the daemon of this program: a file that somebody listens on."""
    socket.socket(socket.AF_UNIX).connect(world["unix"])
    return "connected"


@attempt(46)
def unix_path_in_the_project(world):
    """On a path that a command may read and write."""
    socket.socket(socket.AF_UNIX).connect(world["unix_in_project"])
    return "connected"


@attempt(46)
def unix_path_through_a_link(world):
    link = Path("link-to-socket")
    link.unlink(missing_ok=True)
    link.symlink_to(world["unix"])
    try:
        socket.socket(socket.AF_UNIX).connect("link-to-socket")
    finally:
        link.unlink()
    return "connected"


@attempt(46)
def unix_datagram(world):
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", world["unix_datagram"])


@attempt(46)
def unix_datagram_from_a_pair(world):
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return ours.sendto(b"x", world["unix_datagram"])


@attempt(46, bare="never", because="the kernel refuses to connect one that is connected")
def unix_stream_pair_redirected(world):
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.connect(world["unix"])
    return "connected"


@attempt(46)
def unix_listener_in_the_project(_):
    path = Path("listener")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("listener")
    listener.listen()
    path.unlink()
    return "listening"


@attempt(47)
def take_a_descriptor_from_a_socket(world):
    """Somebody outside hands out a descriptor of the secret to whoever connects."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(world["unix"])
    connection.settimeout(2)
    _, fds, _, _ = socket.recv_fds(connection, 1, 1)
    return os.read(fds[0], 100)


@attempt(48)
def io_uring(_):
    return syscall("io_uring_setup", 1, bytes(120)) and "made"


@attempt(48)
def io_uring_enter(_):
    return considered("io_uring_enter", -1, 0, 0, 0, None, 0)


@attempt(48)
def io_uring_register(_):
    return considered("io_uring_register", -1, 0, None, 0)


def _client(argv, works):
    if shutil.which(argv[0]) is None:
        return None
    try:
        done = subprocess.run(argv, capture_output=True, timeout=3, check=False)
    except subprocess.TimeoutExpired:
        return f"{argv[0]} waits for an answer"
    return works(done) and f"{argv[0]} connected"


@attempt(49, because="bash")
def shell_dev_tcp(world):
    line = f"exec 3<>/dev/tcp/127.0.0.1/{world['tcp']}"
    return _client(["bash", "-c", line], lambda done: done.returncode == 0)


@attempt(49, because="curl")
def curl(world):
    argv = ["curl", "-sSf", "-m", "1", f"http://127.0.0.1:{world['tcp']}/"]
    return _client(argv, lambda done: done.returncode in {28, 52})  # connected, and no answer came


@attempt(49, because="git")
def git(world):
    argv = ["git", "ls-remote", f"git://127.0.0.1:{world['tcp']}/x"]
    return _client(argv, lambda done: b"connect" not in done.stderr.lower() and b"socket" not in done.stderr.lower())


@attempt(49, because="ssh")
def ssh(world):
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "-p", str(world["tcp"]), "127.0.0.1"]
    return _client(argv, lambda done: b"closed by" in done.stderr or b"kex_" in done.stderr)


@attempt(50)
def proxy_from_the_environment(_):
    return [name for name in os.environ if name.lower().endswith("_proxy")]


@attempt(51, because="a route to other machines")
def cloud_metadata(_):
    """No datagram is sent: connecting one only asks for the route."""
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("169.254.169.254", 80))
    return "there is a route"


@attempt(51, because="a route to other machines")
def another_machine(_):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 443))
    return "there is a route"


@attempt(52)
def loopback_service(world):
    """What listens for this machine only: a database, a model server, the daemon of this program."""
    with socket.create_connection(("localhost", world["tcp"]), 2) as connection:
        return connection.getpeername()


@attempt(52)
def see_who_listens(world):
    port = f":{world['tcp']:04X} "
    return any(port in line for line in Path("/proc/net/tcp").read_text().splitlines()) and "listed"


if __name__ == "__main__":
    main()
