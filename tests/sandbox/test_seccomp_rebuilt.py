"""The committed programs, rebuilt by libseccomp from the same rules: every call around every boundary is judged alike.

libseccomp knows one comparison an argument and no "any of these bits"; so each condition becomes a set of bit patterns
(*cubes*: some bits fixed, the rest free) that together say the same, and each combination of them a rule. Both
programs then run over the same calls, interpreted.
"""

from __future__ import annotations

import itertools
import random
import struct
import tempfile
from collections.abc import Iterator
from functools import cache

import pytest
from scripts.seccomp import FOLDER, PROFILES, listing

from localgpt.sandbox import seccomp
from localgpt.sandbox.seccomp import Comparison, Rule, Where
from localgpt.sandbox.syscalls import TABLES
from tests.sandbox.test_seccomp import ALLOW, AUDIT, interpret

ARCHES = ("x86_64", "aarch64")
SLOTS = {"zygote": 4321, "-zygote": -4321, "cookie2": 11, "cookie3": -12, "cookie4": 0x1234_5678, "cookie5": 14}
SEED = 20260101
Cube = tuple[int, int]  # mask, value: the bits of the mask are fixed


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("profile", PROFILES)
def test_the_committed_program_is_what_the_rules_make(arch: str, profile: str) -> None:
    text = (FOLDER / f"{arch}-{profile}.bpf").read_text(encoding="ascii")
    assert text == listing(arch, profile), "run scripts/seccomp.py, look at the difference, then run it with --write"


def value_of(where: Where) -> int:
    return (SLOTS[where.value] if isinstance(where.value, str) else where.value) & 0xFFFF_FFFF


def cubes(where: Where) -> list[Cube]:
    """Patterns that cover exactly the values for which a condition holds."""
    value, mask = value_of(where), where.mask
    bits = [1 << index for index in range(31, -1, -1)]
    if where.test is Comparison.EQUAL:
        return [(mask, value & mask)] if value & ~mask == 0 else []
    if where.test is Comparison.ANY_BIT:
        return [(bit, bit) for bit in bits if bit & mask & value]
    found, above = [], 0
    for bit in (bit for bit in bits if bit & mask):  # differs in this bit, and in none above
        found.append((above | bit, (value & above) | (~value & bit)))
        above |= bit
    return found


def both(one: Cube, other: Cube) -> Cube | None:
    if (one[1] ^ other[1]) & one[0] & other[0]:
        return None
    return one[0] | other[0], one[1] | other[1]


def combinations(rule: Rule) -> Iterator[dict[int, Cube]]:
    """Argument patterns, one for each argument, that together cover what a rule refuses."""
    by_argument: dict[int, list[Cube]] = {}
    for where in rule.where:
        fresh = cubes(where)
        if (before := by_argument.get(where.argument)) is not None:
            fresh = [each for a in before for b in fresh if (each := both(a, b)) is not None]
        by_argument[where.argument] = fresh
    for chosen in itertools.product(*by_argument.values()):
        yield dict(zip(by_argument, chosen, strict=True))


@cache
def rebuilt(arch: str, profile: str) -> tuple[bytes, frozenset[str]]:
    """libseccomp's program (every refusal EPERM), and the calls that it has no name for on this architecture."""
    pyseccomp = pytest.importorskip("pyseccomp")
    theirs = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    native = pyseccomp.system_arch() == getattr(pyseccomp.Arch, arch.upper())
    if not native:
        theirs.remove_arch(pyseccomp.system_arch())
        theirs.add_arch(getattr(pyseccomp.Arch, arch.upper()))
    unknown = set()
    for rule in PROFILES[profile]:
        for name in rule.calls:
            number = TABLES[arch][name]
            if number is None:
                continue
            if pyseccomp.resolve_syscall(pyseccomp.system_arch(), name) < 0 and not native:
                unknown.add(name)  # a call newer than this libseccomp goes by number, which only the native one takes
                continue
            for pattern in combinations(rule):
                conditions = [pyseccomp.Arg(at, pyseccomp.MASKED_EQ, *cube) for at, cube in pattern.items()]
                theirs.add_rule(pyseccomp.ERRNO(1), number if native else name, *conditions)
    with tempfile.TemporaryFile() as file:
        theirs.export_bpf(file)
        file.seek(0)
        return file.read(), frozenset(unknown)


def ours(arch: str, profile: str) -> bytes:
    program = seccomp.assemble(arch, PROFILES[profile])
    code = bytearray(program.code)
    for name, offset in program.slots:
        struct.pack_into("=i", code, offset, SLOTS[name])
    return bytes(code)


def calls(profile: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """For each call: everything zero, every value that any rule names beside its neighbours, and many at random."""
    chosen = random.Random(SEED)
    named: dict[str, dict[int, set[int]]] = {}
    for rule in PROFILES[profile]:
        for name in rule.calls:
            values = named.setdefault(name, {})
            for where in rule.where:
                value = value_of(where)
                near = {value, value + 1, value - 1, value ^ 0x8000, value | 0x1_0000_0000, 0, 0xFFFF_FFFF, where.mask}
                near |= {1 << bit for bit in range(32) if value >> bit & 1 or where.mask >> bit & 1}
                values.setdefault(where.argument, set()).update(each & (1 << 64) - 1 for each in near)
    for name, values in named.items():
        yield name, (0,) * 6
        yield name, (7,) * 6
        for _ in range(40 + 60 * len(values)):
            yield (
                name,
                tuple(chosen.choice([*sorted(values.get(index, {0})), chosen.getrandbits(64)]) for index in range(6)),
            )


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("profile", PROFILES)
def test_libseccomp_judges_alike(arch: str, profile: str) -> None:
    theirs, unknown = rebuilt(arch, profile)
    mine, compared, refused = ours(arch, profile), 0, 0
    for name, arguments in calls(profile):
        number = TABLES[arch][name]
        if number is None or name in unknown:
            continue
        expected = interpret(theirs, number, arguments, arch=AUDIT[arch]) != ALLOW
        assert (interpret(mine, number, arguments, arch=AUDIT[arch]) != ALLOW) == expected, (name, arguments, SEED)
        compared += 1
        refused += expected
    assert compared > 3000
    assert 500 < refused < compared
    assert len(unknown) < 25


@pytest.mark.parametrize("arch", ARCHES)
def test_calls_that_no_rule_names_are_allowed_by_both(arch: str) -> None:
    for profile in PROFILES:
        theirs, _ = rebuilt(arch, profile)
        named = {TABLES[arch][name] for rule in PROFILES[profile] for name in rule.calls}
        for number in set(range(480)) - named:
            assert interpret(theirs, number, (7,) * 6, arch=AUDIT[arch]) == ALLOW, number
            assert interpret(ours(arch, profile), number, (7,) * 6, arch=AUDIT[arch]) == ALLOW, number


def test_cubes_cover_exactly_what_a_condition_means() -> None:
    chosen = random.Random(SEED)
    for test, value, mask in itertools.product(Comparison, (0, 5, 0xF, 0xFFFF_FFFF), (0xF, 0xFFFF_FFFF)):
        where = Where(0, test, value, mask)
        for number in (0, 1, 5, 6, 0xF, 0xFFFF_FFFF, *(chosen.getrandbits(32) for _ in range(50))):
            masked = number & mask
            meant = {
                Comparison.EQUAL: masked == value,
                Comparison.DIFFERS: masked != value & mask if value & ~mask == 0 else True,
                Comparison.ANY_BIT: bool(masked & value),
            }[test]
            covered = any(number & cube_mask == cube_value for cube_mask, cube_value in cubes(where))
            if test is Comparison.DIFFERS and value & ~mask:
                continue  # no rule says this
            assert covered == meant, (test, value, mask, number)
