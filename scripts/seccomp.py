"""Write down the seccomp programs that commands run under, as text that can be reviewed: ``sandbox/seccomp/*.bpf``.

    python scripts/seccomp.py            compare; ends with status 1 when a program is not what its file says
    python scripts/seccomp.py --write    write the files anew, after a change of `localgpt.sandbox.rules`

One instruction a line. ``{name}`` is a slot: a constant that the zygote fills in before it loads the program. Tests
hold the files, the rules and libseccomp's own program for the same rules together.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from localgpt.sandbox import rules, seccomp
from localgpt.sandbox.syscalls import TABLES

FOLDER = Path(__file__).resolve().parent.parent / "sandbox" / "seccomp"
PROFILES: dict[str, tuple[seccomp.Rule, ...]] = {
    "rung-a": rules.command_rules(namespaces=True, signals_scoped=True),
    "rung-a-hosts": rules.command_rules(namespaces=True, signals_scoped=True, streams=True),
    "rung-b": rules.command_rules(namespaces=False, signals_scoped=True),
    "rung-b-before-scopes": rules.command_rules(namespaces=False, signals_scoped=False),
}
_WHERE = {0: "number", 4: "architecture", **{16 + 8 * index: f"argument {index}" for index in range(6)}}
_JUMPS = {0x15: "==", 0x35: ">=", 0x45: "&"}


def listing(arch: str, profile: str) -> str:
    """The text of one program."""
    program = seccomp.assemble(arch, PROFILES[profile])
    names = {number: name for name, number in TABLES[arch].items()}
    slots = {offset // 8: name for name, offset in program.slots}
    lines = [f"# seccomp for commands, {profile}, {arch}. Made by scripts/seccomp.py from the rules; do not edit."]
    of_number = True
    for index in range(len(program.code) // 8):
        operation, yes, no, value = struct.unpack_from("=HBBI", program.code, index * 8)
        constant = f"{{{slots[index]}}}" if index in slots else f"{value:#x}"
        if operation == 0x20:
            text, of_number = f"load {_WHERE[value]}", value == 0
        elif operation == 0x54:
            text = f"and {constant}"
        elif operation == 0x06:
            text = f"return {_answer(value)}"
        else:
            text = f"if {_JUMPS[operation]} {constant} +{yes} else +{no}"
            if of_number and operation == 0x15 and index > 2:
                text += f"   # {names.get(value, '')}"
                of_number = False
        if operation == 0x06:
            of_number = True
        lines.append(f"{index:4} {text}")
    return "\n".join(lines) + "\n"


def _answer(value: int) -> str:
    kind, data = value & 0xFFFF_0000, value & 0xFFFF
    return {0x7FFF_0000: "allow", 0x8000_0000: "kill the process"}.get(kind, f"error {data}")


def main(arguments: list[str]) -> int:
    """Compare or write; return the exit status."""
    stale = []
    for arch in TABLES:
        for profile in PROFILES:
            path, text = FOLDER / f"{arch}-{profile}.bpf", listing(arch, profile)
            if "--write" in arguments:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="ascii")
            elif not path.exists() or path.read_text(encoding="ascii") != text:
                stale.append(path.name)
    if stale:
        print(f"not what the rules make: {', '.join(stale)}; see what changed, then run it with --write")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
