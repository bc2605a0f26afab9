"""The module's numbers are those of the tables in ``sandbox/syscalls``, and those are libseccomp's."""

from __future__ import annotations

from pathlib import Path

import pytest

from localgpt.sandbox.syscalls import TABLES

DATA = Path(__file__).resolve().parents[2] / "sandbox" / "syscalls"


def table(arch: str) -> dict[str, int]:
    rows = [line.split("\t") for line in (DATA / f"{arch}.tsv").read_text().splitlines() if not line.startswith("#")]
    return {name: int(number) for number, name in rows}


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_the_module_follows_the_table(arch: str) -> None:
    full = table(arch)
    assert {name: full.get(name) for name in TABLES[arch]} == TABLES[arch]


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_the_table_follows_libseccomp(arch: str) -> None:
    pyseccomp = pytest.importorskip("pyseccomp")
    theirs = getattr(pyseccomp.Arch, arch.upper())
    compared = 0
    for name, number in table(arch).items():
        known = pyseccomp.resolve_syscall(theirs, name)
        if known >= 0:  # a name that this libseccomp does not know is -1
            assert known == number, name
            compared += 1
    assert compared > 250
