"""What the gateway and the model server may reach of this machine: plain paths, for `localgpt.sandbox.confine_self`."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import ssl
import sys
import sysconfig
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_SYSTEM: Final = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/usr/share/locale", "/etc/ld.so.cache",
    "/etc/localtime", "/dev/urandom", "/dev/null",
)  # fmt: skip
_NAMES: Final = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
    "/run/systemd/resolve", "/run/nscd",
)  # fmt: skip
_CERTIFICATES: Final = (
    "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
)  # fmt: skip
_CPU: Final = ("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")


def interpreter_paths() -> tuple[str, ...]:
    """Give where this interpreter, its library and the installed packages lie."""
    found = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *sys.path]
    found += [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return _existing((*found, *_SYSTEM))


def gateway_read_paths() -> tuple[str, ...]:
    """Give what the gateway reads besides: certificates, and what name resolution needs."""
    default = ssl.get_default_verify_paths()
    mentioned = [
        os.environ.get("SSL_CERT_FILE"),
        os.environ.get("SSL_CERT_DIR"),
        default.openssl_cafile,
        default.openssl_capath,
    ]
    return interpreter_paths() + _existing((*_NAMES, *_CERTIFICATES, *(p for p in mentioned if p)))


def embedded_read_paths(model_path: str) -> tuple[str, ...]:
    """Give what the model server reads besides: one model, and what its engine asks of the processor."""
    return interpreter_paths() + _existing((*_CPU, model_path))


def _existing(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Resolve, drop what is not there, what is the whole file system, and repetitions."""
    resolved = dict.fromkeys(os.path.realpath(path) for path in paths if path)
    return tuple(path for path in resolved if path != "/" and Path(path).exists())


def harden() -> None:
    """End with the monitor, and leave no core file, which would hold keys.

    Source: prctl(2), PR_SET_PDEATHSIG; getrlimit(2), RLIMIT_CORE.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def hide_memory() -> None:
    """Keep other processes of this user from reading this one's memory or tracing it: it holds keys.

    Source: prctl(2), PR_SET_DUMPABLE.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def confine_gateway() -> None:
    """Confine this process for good. Raises `SandboxError` when that cannot be done."""


def confine_embedded(model_path: str, socket_path: str | None) -> None:
    """Confine this process for good. Raises `SandboxError` when that cannot be done."""
