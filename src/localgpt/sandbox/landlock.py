"""Landlock by ctypes: which rights the kernel knows, and one ruleset from lists of open locations.

Source: landlock(7); include/uapi/linux/landlock.h (ABI 1 in 5.13 up to ABI 9 in 7.0).
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct

from localgpt.sandbox import kernel

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15
RESOLVE_UNIX = 1 << 16

NET_BIND_TCP = 1 << 0
NET_CONNECT_TCP = 1 << 1
SCOPES_SINCE = 6  #: ABI
SCOPE_ABSTRACT_UNIX = 1 << 0
SCOPE_SIGNAL = 1 << 1

READ = READ_FILE | READ_DIR
READ_EXECUTE = READ | EXECUTE
# Device nodes cannot be made anywhere, and device ioctls are granted for the few nodes that need them.
WRITE = (
    READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER
    | TRUNCATE
)  # fmt: skip
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16, 8: 16, 9: 17}
_RULE_PATH_BENEATH = 1
_RULE_NET_PORT = 2
_NETWORK_SINCE = 4  # ABI
_CREATE_RULESET_VERSION = 1
_RESTRICT_SELF_TSYNC = 1 << 3


def abi() -> int:
    """The kernel's Landlock ABI; 0 when it has none or it is switched off."""
    try:
        return kernel.call("landlock_create_ruleset", None, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


def handled_rights(version: int) -> int:
    """Every file-system right that ABI `version` can deny."""
    return (1 << _RIGHTS_OF_ABI[min(version, 9)]) - 1


class Ruleset:
    """One Landlock ruleset: everything it handles is denied but for what `allow` grants."""

    def __init__(self, version: int, *, network: int = 0, scope: int = 0) -> None:
        """Make the ruleset.

        Args:
            version: the ABI to use, at most what `abi()` says.
            network: TCP rights to deny on every port (ABI 4 and later; older kernels deny them by other means or not).
            scope: signal and abstract-socket scopes (ABI 6 and later).

        Raises:
            OSError: the kernel refuses.
        """
        self.version = version
        self.handled = handled_rights(version)
        attributes = struct.pack("=QQQ", self.handled, network if version >= 4 else 0, scope if version >= 6 else 0)
        size = 24 if version >= 6 else 16 if version >= 4 else 8
        self._fd = kernel.call("landlock_create_ruleset", attributes[:size], size, 0)

    def allow(self, location: int, rights: int) -> None:
        """Grant `rights` on the file `location` (an O_PATH descriptor), or on everything beneath that directory."""
        if not stat.S_ISDIR(os.fstat(location).st_mode):
            rights &= _FILE_RIGHTS
        rights &= self.handled
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, location), 12)
        kernel.call("landlock_add_rule", self._fd, _RULE_PATH_BENEATH, rule, 0)

    def allow_connect(self, port: int) -> None:
        """Grant TCP connections to `port`, on whatever address; kernels before ABI 4 do not guard ports."""
        if self.version >= _NETWORK_SINCE:
            rule = ctypes.create_string_buffer(struct.pack("=QQ", NET_CONNECT_TCP, port), 16)
            kernel.call("landlock_add_rule", self._fd, _RULE_NET_PORT, rule, 0)

    def restrict_self(self, *, all_threads: bool = False) -> None:
        """Apply the ruleset to the calling thread (to all threads with ABI 8) for good, and close it."""
        kernel.call("landlock_restrict_self", self._fd, _RESTRICT_SELF_TSYNC if all_threads else 0)
        os.close(self._fd)
