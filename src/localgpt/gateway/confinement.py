"""What the gateway and the model server may reach of this machine: plain paths, for `localgpt.sandbox.confine_self`."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import ssl
import sys
from pathlib import Path
from typing import Final

from localgpt.sandbox import SelfPlan, Sockets, confine_self, landlock

_PR_SET_PDEATHSIG: Final = 1
_ABI_OF_UNIX_SOCKETS: Final = 9
_NAMES: Final = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
    "/run/systemd/resolve", "/run/nscd",
)  # fmt: skip
_CERTIFICATES: Final = (
    "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
)  # fmt: skip


def gateway_read_paths() -> tuple[str, ...]:
    """Give what the gateway reads besides its interpreter: certificates, and what name resolution needs."""
    default = ssl.get_default_verify_paths()
    mentioned = [
        os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), default.openssl_cafile, default.openssl_capath,
    ]  # fmt: skip
    return _existing((*_NAMES, *_CERTIFICATES, *(path for path in mentioned if path)))


def _existing(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Resolve, drop what is not there, what is the whole file system, and repetitions."""
    resolved = dict.fromkeys(os.path.realpath(path) for path in paths)
    return tuple(path for path in resolved if path != "/" and Path(path).exists())


def harden() -> None:
    """End with the monitor, and leave no core file, which would hold keys.

    Source: prctl(2), PR_SET_PDEATHSIG; getrlimit(2), RLIMIT_CORE.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def confine_gateway(socket_dirs: tuple[str, ...]) -> None:
    """Confine this process for good: it connects, reads certificates, and writes nothing.

    Raises:
        SandboxError: it cannot be done; the process must end.
    """
    # A client of unix sockets reaches every socket file of the user's on most kernels, so only who needs one is one.
    sockets = frozenset({Sockets.INET_CLIENT, *((Sockets.UNIX_CLIENT,) if socket_dirs else ())})
    # From Landlock ABI 9 on a unix socket can be reached only below a write root; before, that right does not exist.
    write = _existing(socket_dirs) if landlock.abi() >= _ABI_OF_UNIX_SOCKETS else ()
    confine_self(SelfPlan(read=gateway_read_paths(), write=write, sockets=sockets), without_landlock=True)


def confine_embedded(model_path: str, socket_path: str | None) -> None:
    """Confine this process for good: it reads one model, and listens on one socket without connecting anywhere.

    Raises:
        SandboxError: it cannot be done; the process must end.
    """
    if socket_path is None:
        plan = SelfPlan(read=(model_path,), sockets=frozenset({Sockets.LOOPBACK_LISTENER}))
    else:
        folder = str(Path(socket_path).parent)
        plan = SelfPlan(read=(model_path,), write=(folder,), sockets=frozenset({Sockets.UNIX_LISTENER}))
    confine_self(plan, without_landlock=True)
