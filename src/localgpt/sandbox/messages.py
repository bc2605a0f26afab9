"""What the runtime and a zygote say to each other, as bytes.

To the zygote: 4 bytes length, then a request; length zero ends the running command. From it: `REPLY`, then text. Both
parsers are strict and total: whatever comes, they return a value or raise `Malformed`, and the connection is given up.

A request is `HEAD`, then words that end with NUL each: the working directory, the arguments, the environment as
``NAME=value``. None of these can contain NUL, so there is one reading of any bytes.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:  # the zygote does not load `collections.abc` for a name in an annotation
    from collections.abc import Mapping, Sequence

LENGTH = struct.Struct("!I")
HEAD = struct.Struct("!IIB")  # arguments, variables, 1 when a descriptor for standard input comes along
REPLY = struct.Struct("!ciI")  # kind, number (errno, wait status, pid), length of the text that follows
READY, DONE, REFUSED, NO_DIRECTORY, BROKEN, NO_VIEW = b"R", b"D", b"N", b"C", b"B", b"V"
KINDS = frozenset({READY, DONE, REFUSED, NO_DIRECTORY, BROKEN, NO_VIEW})
LARGEST_REQUEST = 8 << 20  #: the kernel takes 2 MiB of arguments and environment at most, with the usual stack limit
LARGEST_TEXT = 1 << 20


class Malformed(ValueError):  # noqa: N818 -- named after the condition
    """Bytes that are no frame."""


def encode_request(argv: Sequence[bytes], env: Mapping[bytes, bytes], cwd: bytes, *, with_stdin: bool) -> bytes:
    """The body of a request. The caller has made sure that nothing contains NUL and no name contains ``=``."""
    words = [cwd, *argv, *(name + b"=" + value for name, value in env.items())]
    return HEAD.pack(len(argv), len(env), with_stdin) + b"\0".join(words) + b"\0"


def parse_request(body: bytes) -> tuple[list[bytes], dict[bytes, bytes], bytes, bool]:
    """Arguments, environment, working directory, and whether standard input comes along.

    Raises:
        Malformed: anything else than what `encode_request` makes.
    """
    if len(body) < HEAD.size or body[-1]:
        raise Malformed("a request that does not end")
    arguments, variables, with_stdin = HEAD.unpack_from(body)
    words = body[HEAD.size : -1].split(b"\0")
    if with_stdin > 1 or not arguments or len(words) != 1 + arguments + variables:
        raise Malformed("a request whose counts are wrong")
    env = {}
    for word in words[1 + arguments :]:
        name, equals, value = word.partition(b"=")
        if not name or not equals or name in env:
            raise Malformed("a request with a bad variable")
        env[name] = value
    cwd, argv = words[0], words[1 : 1 + arguments]
    if cwd[:1] != b"/" or not argv[0]:
        raise Malformed("a request without a program or an absolute directory")
    return argv, env, cwd, bool(with_stdin)


def parse_reply(header: bytes) -> tuple[bytes, int, int]:
    """Kind, number, and the length of the text that follows.

    Raises:
        Malformed: not a header of a reply.
    """
    if len(header) != REPLY.size:
        raise Malformed("a reply that is cut off")
    kind, number, size = REPLY.unpack(header)
    if kind not in KINDS or size > LARGEST_TEXT:
        raise Malformed("bytes that are no reply")
    return kind, number, size
