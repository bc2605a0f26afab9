"""The filter as a program: interpreted over chosen calls, and compared with what libseccomp makes of the same rules."""

from __future__ import annotations

import errno
import struct
import tempfile
from collections.abc import Iterator
from functools import cache

import pytest

from localgpt.sandbox import rules, seccomp
from localgpt.sandbox.rules import Sockets
from localgpt.sandbox.seccomp import Comparison, Rule, Where
from localgpt.sandbox.syscalls import TABLES

ALLOW, KILL = 0x7FFF_0000, 0x8000_0000
AUDIT = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
RUNG_A = rules.command_rules(namespaces=True, signals_scoped=True)
RUNG_B = rules.command_rules(namespaces=False, signals_scoped=True)
STREAMS = rules.command_rules(namespaces=True, signals_scoped=True, streams=True)
SETS = {
    "A": RUNG_A,
    "A with hosts": STREAMS,
    "B": RUNG_B,
    "B without scopes": rules.command_rules(namespaces=False, signals_scoped=False),
    **{str(kinds): rules.process_rules(frozenset(kinds)) for kinds in ((), *((each,) for each in Sockets))},
}


@cache
def _instructions(code: bytes) -> list[tuple[int, int, int, int]]:
    return [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]


def interpret(code: bytes, number: int, arguments: tuple[int, ...] = (), *, arch: int) -> int:
    """Run classic BPF over one ``struct seccomp_data`` and return its answer."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=iIQ6Q", number, arch, 0, *(value & (1 << 64) - 1 for value in padded))
    instructions = _instructions(code)
    accumulator, at = 0, 0
    while True:
        operation, yes, no, value = instructions[at]
        at += 1
        if operation == 0x06:
            return int(value)
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x05:
            at += value
        else:
            held = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x25: accumulator > value,
                0x45: bool(accumulator & value),
            }[operation]
            at += yes if held else no


def answer(ruleset: tuple[Rule, ...], call: str, *arguments: int, arch: str = "x86_64") -> int:
    number = TABLES[arch][call]
    assert number is not None
    return interpret(seccomp.assemble(arch, ruleset).code, number, arguments, arch=AUDIT[arch])


def refused(code: int) -> int:
    return 0x5_0000 | code


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", SETS)
def test_every_rule_fires_and_nothing_else(arch: str, name: str) -> None:
    ruleset = SETS[name]
    program = seccomp.assemble(arch, ruleset)
    unconditional = {call: rule.error for rule in ruleset if not rule.where for call in rule.calls}
    for call, error in unconditional.items():
        if TABLES[arch][call] is not None:
            assert answer(ruleset, call, arch=arch) in {
                refused(error),
                refused(errno.EPERM),
                refused(errno.EAFNOSUPPORT),
            }
    numbers = {TABLES[arch][call] for rule in ruleset for call in rule.calls}
    for number in set(range(480)) - {n for n in numbers if n is not None}:
        assert interpret(program.code, number, (7, 7, 7, 7, 7, 7), arch=AUDIT[arch]) == ALLOW


def test_foreign_architectures_are_killed() -> None:
    code = seccomp.assemble("x86_64", RUNG_A).code
    assert interpret(code, 20, arch=0x4000_0003) == KILL  # i386
    assert interpret(code, 39 | 0x4000_0000, arch=AUDIT["x86_64"]) == KILL  # x32
    assert interpret(code, -1, arch=AUDIT["x86_64"]) == KILL
    assert interpret(seccomp.assemble("aarch64", RUNG_A).code, 20, arch=0x4000_0028) == KILL  # 32-bit arm


@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [
        ("clone", (17,), 0),
        ("clone", (0x1000_0000 | 17,), errno.EPERM),
        ("clone3", (), errno.ENOSYS),
        ("openat2", (), errno.ENOSYS),
        ("socketpair", (1, 1), 0),
        ("socketpair", (1, 5 | 0x80000), 0),
        ("socketpair", (1, 2), errno.EPERM),
        ("socketpair", (2, 1), errno.EPERM),
        ("socket", (1, 1), errno.EPERM),
        ("prlimit64", (0,), 0),
        ("prlimit64", (5,), errno.EPERM),
        ("personality", (0,), 0),
        ("personality", (0xFFFF_FFFF,), 0),
        ("personality", (0x4_0000,), errno.EPERM),
        ("ioctl", (0, 0x5401), 0),
        ("ioctl", (0, 0x5412), errno.EPERM),
        ("ioctl", (0, 0xABCD_0000_5412), errno.EPERM),
        ("fcntl", (0, 2), 0),
        ("fcntl", (0, 8), errno.EPERM),
        ("chmod", (0, 0o755), 0),
        ("chmod", (0, 0o4755), errno.EPERM),
        ("openat", (0, 0, 0x40, 0o644), 0),
        ("openat", (0, 0, 0x40, 0o2644), errno.EPERM),
        ("openat", (0, 0, 0, 0o6777), 0),  # without O_CREAT the mode is whatever was in the register
        ("setpriority", (0, 0, 5), 0),
        ("setpriority", (0, 9, 5), errno.EPERM),
        ("setpriority", (2, 0, 5), errno.EPERM),
    ],
)
def test_arguments_decide(call: str, arguments: tuple[int, ...], error: int) -> None:
    assert answer(RUNG_A, call, *arguments) == (refused(error) if error else ALLOW)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [
        ("socket", (2, 1), 0),
        ("socket", (2, 1 | 0x80800, 6), 0),
        ("socket", (2, 1, 262), errno.EPERM),  # MPTCP
        ("socket", (2, 2), errno.EPERM),
        ("socket", (2, 3, 1), errno.EPERM),
        ("socket", (10, 1), errno.EAFNOSUPPORT),
        ("socket", (1, 1), errno.EAFNOSUPPORT),
        ("socket", (16, 3), errno.EAFNOSUPPORT),
        ("connect", (3, 0, 16), 0),
        ("bind", (3, 0, 16), errno.EPERM),
        ("listen", (3, 1), errno.EPERM),
        ("accept4", (3, 0, 0, 0), errno.EPERM),
        ("socketpair", (1, 2), errno.EPERM),
        ("sendto", (3, 0, 1, 0x4000), 0),
        ("sendto", (3, 0, 1, 0x2000_0000), errno.EPERM),
        ("sendmsg", (3, 0, 0x2000_0000), errno.EPERM),
        ("sendmmsg", (3, 0, 1, 0x2000_0000), errno.EPERM),
        ("setsockopt", (3, 6, 30), errno.EPERM),
        ("setsockopt", (3, 6, 1), 0),
    ],
)
def test_with_hosts_there_are_plain_streams_and_nothing_else(call, arguments, error, arch) -> None:
    assert answer(STREAMS, call, *arguments, arch=arch) == (refused(error) if error else ALLOW)


def test_the_watching_filter_tells_of_its_calls_and_allows_the_rest() -> None:
    for arch, audit in AUDIT.items():
        calls = tuple(name for name in ("open", "openat", "execve") if TABLES[arch][name] is not None)
        code = seccomp.assemble_watch(arch, calls)
        for name in calls:
            number = TABLES[arch][name]
            assert number is not None
            assert interpret(code, number, arch=audit) == 0x7FC0_0000
        assert interpret(code, 0xFFF, arch=audit) == interpret(code, 2, arch=0x4000_0003) == ALLOW


def test_slots_are_where_the_loader_fills_them() -> None:
    program = seccomp.assemble("x86_64", RUNG_B)
    code = bytearray(program.code)
    values = {"zygote": 4321, "-zygote": -4321, "cookie2": 11, "cookie3": -12, "cookie4": 13, "cookie5": 14}
    assert {name for name, _ in program.slots} == set(values)
    for name, offset in program.slots:
        struct.pack_into("=i", code, offset, values[name])

    def kill(*arguments: int) -> int:
        return interpret(bytes(code), 62, arguments, arch=AUDIT["x86_64"])

    assert kill(999, 9) == kill(0, 9) == kill(-999, 9) == ALLOW
    assert kill(4321, 9) == kill(-4321, 9) == kill(-1, 9) == refused(errno.EPERM)
    assert kill(-1, 9, 11, -12, 13, 14) == ALLOW
    for wrong in ((0, -12, 13, 14), (11, 0, 13, 14), (11, -12, 0, 14), (11, -12, 13, 0)):
        assert kill(-1, 9, *wrong) == refused(errno.EPERM)


def test_building_is_cheap_and_cached() -> None:
    assert seccomp.assemble("x86_64", RUNG_A) is seccomp.assemble("x86_64", RUNG_A)
    assert len(seccomp.assemble("x86_64", RUNG_B).code) // 8 < 4096  # BPF_MAXINSNS


def test_an_unknown_architecture_has_no_program() -> None:
    with pytest.raises(KeyError):
        seccomp.assemble("riscv64", RUNG_A)


# --- beside libseccomp ------------------------------------------------------------------------------------------


def sayable(rule: Rule) -> bool:
    """Whether libseccomp has words for it: one condition an argument, no bit tests, no masks."""
    plain = all(w.test is not Comparison.ANY_BIT and w.mask == 0xFFFF_FFFF for w in rule.where)
    return plain and len({w.argument for w in rule.where}) == len(rule.where)


def calls(ruleset: tuple[Rule, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Calls around every boundary that the rules name."""
    for rule in ruleset:
        values = {w.argument: w.value for w in rule.where if isinstance(w.value, int)}
        base = [values.get(index, 0) for index in range(6)]
        for name in rule.calls:
            yield name, (0,) * 6
            yield name, tuple(base)
            for index in values:
                for change in (1, -1, 0x8000):
                    yield name, tuple((v + change) % (1 << 32) if i == index else v for i, v in enumerate(base))


def test_libseccomp_agrees() -> None:
    """Where libseccomp can say a rule at all (`sayable`), its program decides alike."""
    pyseccomp = pytest.importorskip("pyseccomp")
    chosen = tuple(rule for rule in RUNG_A if sayable(rule))
    if pyseccomp.system_arch() != pyseccomp.Arch.X86_64:
        pytest.skip("compared on x86_64")
    theirs = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for rule in chosen:
        conditions = [
            pyseccomp.Arg(w.argument, pyseccomp.MASKED_EQ, 0xFFFF_FFFF, w.value)
            if w.test is Comparison.EQUAL
            else pyseccomp.Arg(w.argument, pyseccomp.NE, w.value)
            for w in rule.where
        ]
        for name in rule.calls:
            if (number := TABLES["x86_64"][name]) is not None:
                theirs.add_rule(pyseccomp.ERRNO(rule.error), number, *conditions)
    with tempfile.TemporaryFile() as file:
        theirs.export_bpf(file)
        file.seek(0)
        other = file.read()
    for name, arguments in calls(chosen):
        number = TABLES["x86_64"][name]
        if number is not None:
            expected = interpret(other, number, arguments, arch=AUDIT["x86_64"])
            assert answer(chosen, name, *arguments) == expected, (name, arguments)


def test_a_rule_without_conditions_ends_a_group() -> None:
    group = (Rule(("kill",), 5, (Where(0, Comparison.EQUAL, 3),)), Rule(("kill",), 6))
    assert answer(group, "kill", 3) == refused(5)
    assert answer(group, "kill", 4) == refused(6)
