"""One escape attempt a function; each file here is a program: ``python reading.py NAME[,NAME...] WORLD_JSON``.

An attempt raises OSError, or returns nothing, when it was refused; what it returns otherwise is what it reached. One
that leaves something running returns `Left` with the file that it keeps locked: whether anybody still holds the lock
when the launcher is done is looked at from outside. The world is what somebody planted outside: secrets, listeners, a
victim process, limits. Standard library only, so that the same files run under any launcher.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import sys
from pathlib import Path

ATTEMPTS = {}
LEFT_BEHIND_S = 6  # what an attempt leaves behind ends by itself: nothing is to be hunted down
SLOWEST_S = 15
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_TABLE = Path(__file__).resolve().parent.parent / "syscalls" / f"{os.uname().machine}.tsv"
NUMBERS = {
    name: int(number)
    for number, name in (line.split("\t") for line in _TABLE.read_text().splitlines() if not line.startswith("#"))
}
_DENIALS = {errno.EPERM, errno.EACCES, errno.ENOSYS}


class Left(str):
    """Name of a file in the project that what was left behind keeps locked."""

    __slots__ = ()


class Sent(str):
    """Path of a file that the victim makes when it gets a signal."""

    __slots__ = ()


def attempt(_item, *, bare="user", because=""):  # noqa: ARG001 -- read from the source, by whoever judges
    """Register an attempt on item `_item` of ../catalogue.tsv.

    `bare`: under whom it is seen to succeed unconfined: "user" (anybody), "ordinary" (anybody but root), "root", or
    "never", and `because` says why not. With "user", "ordinary" or "root", `because` may say what the host must have.
    "ours": it goes for the process that serves, so it may only be run in this sandbox, never bare or elsewhere: where
    it got through, it would hit whoever runs the attempts. Nothing here may do harm when it succeeds: no signal but to
    what was planted, no change that is not undone.
    """

    def register(function):
        ATTEMPTS[function.__name__] = function
        return function

    return register


def syscall(name, *arguments):
    """Make a system call by its number in the table; arguments that are ints are passed as longs."""
    if name not in NUMBERS:
        raise OSError(errno.ENOSYS, f"{name}: not on this architecture")
    plain = [ctypes.c_long(a) if isinstance(a, int) else a for a in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    result = _libc.syscall(ctypes.c_long(NUMBERS[name]), *plain)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result or "done"


def considered(name, *arguments):
    """Make a call that cannot succeed as it is: an answer other than "not permitted" shows that the door is open."""
    try:
        return syscall(name, *arguments)
    except OSError as error:
        if error.errno in _DENIALS:
            raise
        return f"considered, and answered {errno.errorcode.get(error.errno, error.errno)}"


def machine_code(code):
    """Execute a few bytes of machine code and return what it leaves in the accumulator."""
    import mmap

    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()


def leave(name, *steps):
    """Leave a process behind that does `steps` and then holds the lock on the file `name`; return when it does."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        for step in steps:
            step()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LEFT_BEHIND_S)
        lock = os.open(name, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(writer, b"x")
        os.close(writer)
        silence()
        while True:
            signal.pause()
    os.close(writer)
    if not os.read(reader, 1):
        return None
    return Left(name)


def silence():
    """Give up standard input, output and error."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)


@contextlib.contextmanager
def fresh(name):
    """A path in the project where nothing is, removed at the end."""
    path = Path(name)
    path.unlink(missing_ok=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def main():
    """Run the named attempt, or each of several (commas between) in a child; print a line on what came of it."""
    names, world = sys.argv[1].split(","), json.loads(sys.argv[2])
    if len(names) == 1:
        _say(_try(names[0], world))
        os._exit(0)
    for name in names:
        if not (child := os.fork()):
            signal.alarm(SLOWEST_S)
            _say(f"{name} {_try(name, world)}")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            _say(f"{name} FAILED wait status {status}")


def _try(name, world):
    try:
        reached = ATTEMPTS[name](world)
    except OSError as error:
        return f"REFUSED {errno.errorcode.get(error.errno, error)}"
    except MemoryError:
        return "REFUSED out of memory"
    words = {Left: "LEFT", Sent: "SENT"}
    return f"{words.get(type(reached), 'REACHED')} {reached}" if reached else "REFUSED"


def _say(line):
    sys.stdout.write(line.replace("\n", " ")[:400] + "\n")
    sys.stdout.flush()
