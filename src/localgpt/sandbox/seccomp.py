"""Seccomp programs as data: rules over system calls and their arguments, assembled into BPF.

A deny list: what it does not name is allowed, because an allow list breaks programs with every new libc while the file
system, the network and other processes are guarded by Landlock and namespaces as well. A foreign architecture (i386 by
``int 0x80``, x32) kills the process: its numbers mean other calls.

Only the low 32 bits of an argument are compared: every argument named here is an int or unsigned int to the kernel,
which ignores the high half, so that a filter which compared all 64 bits could be walked around.

Source: seccomp(2), Documentation/userspace-api/seccomp_filter.rst; numbers in `syscalls`.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Final

from localgpt.sandbox.syscalls import TABLES

_LD_W_ABS: Final = 0x20
_AND_K: Final = 0x54
_JEQ_K: Final = 0x15
_JGE_K: Final = 0x35
_JSET_K: Final = 0x45
_RET_K: Final = 0x06
_KILL_PROCESS: Final = 0x8000_0000
_ALLOW: Final = 0x7FFF_0000
_ERRNO: Final = 0x0005_0000
_NOTIFY: Final = 0x7FC0_0000
_AUDIT_ARCH: Final = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT: Final = 0x4000_0000
_SIZE: Final = 8


class Comparison(Enum):
    """What a condition asks of the low 32 bits of an argument."""

    EQUAL = "equal"
    DIFFERS = "differs"
    ANY_BIT = "any bit"


@dataclass(frozen=True, slots=True)
class Where:
    """One condition. `value` is a number or the name of a slot that the loader fills ("zygote", "-zygote")."""

    argument: int
    test: Comparison
    value: int | str
    mask: int = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Rule:
    """Answer `error` to each of `calls` when every condition holds (none: always)."""

    calls: tuple[str, ...]
    error: int = errno.EPERM
    where: tuple[Where, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """Assembled BPF. `slots`: name and byte offset of each 32-bit constant to fill in before loading."""

    code: bytes
    slots: tuple[tuple[str, int], ...] = ()


@cache
def assemble(arch: str, rules: tuple[Rule, ...]) -> Program:
    """Assemble `rules` for `arch` ("x86_64" or "aarch64"); calls that the architecture lacks are left out.

    Raises:
        KeyError: no table for this architecture, or a call that no table names.
    """
    numbers = TABLES[arch]
    code = _Code()
    code.emit(_LD_W_ABS, 4)
    code.emit(_JEQ_K, _AUDIT_ARCH[arch], yes=1)
    code.emit(_RET_K, _KILL_PROCESS)
    code.emit(_LD_W_ABS, 0)
    if arch == "x86_64":
        code.emit(_JGE_K, _X32_BIT, no=1)
        code.emit(_RET_K, _KILL_PROCESS)
    for name, of_call in _by_call(rules).items():
        if (number := numbers[name]) is not None:
            code.call(number, of_call)
    code.emit(_RET_K, _ALLOW)
    return Program(bytes(code.words), tuple(code.slots))


def assemble_watch(arch: str, calls: tuple[str, ...]) -> bytes:
    """Assemble a filter that tells a listener of `calls` and allows everything: a second one, beside `assemble`'s."""
    code = _Code()
    code.emit(_LD_W_ABS, 4)
    code.emit(_JEQ_K, _AUDIT_ARCH[arch], yes=1)
    code.emit(_RET_K, _ALLOW)  # killed by the first filter
    code.emit(_LD_W_ABS, 0)
    for number in (TABLES[arch][name] for name in calls):
        if number is not None:
            code.emit(_JEQ_K, number, no=1)
            code.emit(_RET_K, _NOTIFY)
    code.emit(_RET_K, _ALLOW)
    return bytes(code.words)


def _by_call(rules: tuple[Rule, ...]) -> dict[str, list[Rule]]:
    grouped: dict[str, list[Rule]] = {}
    for rule in rules:
        for name in rule.calls:
            grouped.setdefault(name, []).append(rule)
    return grouped


class _Code:
    """BPF being written. The accumulator holds the call's number between the blocks of two calls."""

    def __init__(self) -> None:
        self.words = bytearray()
        self.slots: list[tuple[str, int]] = []

    def emit(self, operation: int, value: int | str, *, yes: int = 0, no: int = 0) -> None:
        if isinstance(value, str):
            self.slots.append((value, len(self.words) + 4))
            value = 0
        self.words += struct.pack("=HBBI", operation, yes, no, value)

    def call(self, number: int, rules: list[Rule]) -> None:
        block = _Code()
        for rule in rules:
            block.rule(rule)
        if rules[-1].where:  # no rule matched: the accumulator is spoilt, so answer here
            block.emit(_RET_K, _ALLOW)
        self.emit(_JEQ_K, number, no=len(block.words) // _SIZE)
        self.slots += [(name, offset + len(self.words)) for name, offset in block.slots]
        self.words += block.words

    def rule(self, rule: Rule) -> None:
        lengths = [3 if where.mask != 0xFFFF_FFFF else 2 for where in rule.where]
        for index, where in enumerate(rule.where):
            skip = sum(lengths[index + 1 :]) + 1  # past the remaining conditions and the answer
            self.emit(_LD_W_ABS, 16 + 8 * where.argument)
            if where.mask != 0xFFFF_FFFF:
                self.emit(_AND_K, where.mask)
            if where.test is Comparison.EQUAL:
                self.emit(_JEQ_K, where.value, no=skip)
            elif where.test is Comparison.DIFFERS:
                self.emit(_JEQ_K, where.value, yes=skip)
            else:
                self.emit(_JSET_K, where.value, no=skip)
        self.emit(_RET_K, _ERRNO | rule.error)
