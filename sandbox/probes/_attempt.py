"""One escape attempt a function; each file of this folder is a program: ``python files.py NAME WORLD_JSON``.

An attempt raises OSError, or returns nothing, when it was refused; what it returns otherwise is what it reached. The
world is what somebody planted outside: a secret file, listeners, a victim process. Standard library only, so that the
same files run under any launcher.
"""

import ctypes
import errno
import json
import os
import sys
from pathlib import Path

ATTEMPTS = {}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_TABLE = Path(__file__).resolve().parent.parent / "syscalls" / f"{os.uname().machine}.tsv"
NUMBERS = {
    name: int(number)
    for number, name in (line.split("\t") for line in _TABLE.read_text().splitlines() if not line.startswith("#"))
}


def attempt(*, bare=None):
    """Register an attempt. `bare`: whether it is seen to succeed unconfined: "user", "root" (as root only) or None."""

    def register(function):
        ATTEMPTS[function.__name__] = (function, bare)
        return function

    return register


def syscall(name, *arguments):
    """Make a system call by its number in the table; arguments that are ints are passed as longs."""
    plain = [ctypes.c_long(a) if isinstance(a, int) else a for a in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    result = _libc.syscall(ctypes.c_long(NUMBERS[name]), *plain)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result or "done"


def machine_code(code):
    """Execute a few bytes of machine code and return what it leaves in the accumulator."""
    import mmap

    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()


def main():
    """Run the named attempt."""
    function, _ = ATTEMPTS[sys.argv[1]]
    try:
        reached = function(json.loads(sys.argv[2]))
    except OSError as error:
        print("REFUSED", errno.errorcode.get(error.errno, error))
    else:
        print(f"REACHED {reached}" if reached else "REFUSED without an error")
