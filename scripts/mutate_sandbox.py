"""Take the sandbox apart, one restriction at a time, and see whether anything notices.

    python scripts/mutate_sandbox.py [--rung A|B] [--only TEXT] [--self-test-only]

Each mutation removes one filter rule of one system call, one Landlock right or scope, one mount or mount flag, one
limit. The mutated sandbox then starts: either its self-test refuses to serve, or the attempts of ``sandbox/probes`` run
until one does not get its verdict. A mutation that neither notices *survives*; ``sandbox/survivors.toml`` lists those
that are known, each with its reason (mostly: the kernel, or another layer, refuses the same). Ends with status 1 when
one survives that is not listed, or one that is listed does not.

Everything runs in a pid namespace of its own: what a mutation no longer holds back must not reach the host's processes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
SURVIVORS = CHECKOUT / "sandbox" / "survivors.toml"
LANDLOCK = "src/localgpt/sandbox/landlock.py"
MOUNTS = "src/localgpt/sandbox/mounts.py"
ZYGOTE = "src/localgpt/sandbox/zygote.py"
USAGE = "src/localgpt/sandbox/usage.py"
_RIGHTS = (
    "EXECUTE", "WRITE_FILE", "READ_FILE", "READ_DIR", "REMOVE_DIR", "REMOVE_FILE", "MAKE_CHAR", "MAKE_DIR", "MAKE_REG",
    "MAKE_SOCK", "MAKE_FIFO", "MAKE_BLOCK", "MAKE_SYM", "REFER", "TRUNCATE", "IOCTL_DEV",
)  # fmt: skip
_LINES = (  # name, rungs, file, what is there, what is there instead
    ("landlock NET_BIND_TCP", "AB", ZYGOTE, "landlock.NET_BIND_TCP | landlock.NET_CONNECT_TCP", "landlock.NET_CONNECT_TCP"),
    ("landlock NET_CONNECT_TCP", "AB", ZYGOTE, "landlock.NET_BIND_TCP | landlock.NET_CONNECT_TCP", "landlock.NET_BIND_TCP"),
    ("landlock SCOPE_ABSTRACT_UNIX", "AB", ZYGOTE, "landlock.SCOPE_ABSTRACT_UNIX | landlock.SCOPE_SIGNAL", "landlock.SCOPE_SIGNAL"),
    ("landlock SCOPE_SIGNAL", "AB", ZYGOTE, "landlock.SCOPE_ABSTRACT_UNIX | landlock.SCOPE_SIGNAL", "landlock.SCOPE_ABSTRACT_UNIX"),
    ("landlock at all", "AB", ZYGOTE, "    ruleset.restrict_self()\n", ""),
    ("seccomp at all", "AB", ZYGOTE, "    kernel.load_filter(bytes(code))\n", ""),
    ("no new privileges", "AB", ZYGOTE, "    kernel.no_new_privileges()\n", ""),
    ("capabilities dropped", "AB", ZYGOTE, "    kernel.drop_capabilities()\n", ""),
    ("not dumpable", "AB", ZYGOTE, "    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)\n", ""),
    ("ends with the warden", "AB", ZYGOTE, "    kernel.prctl(kernel.PR_SET_PDEATHSIG, _SIGKILL)\n", ""),
    ("a session of the zygote's own", "AB", ZYGOTE, "    os.setsid()", "    _ = 0"),
    ("a session for each command", "AB", ZYGOTE, "setsid=True, ", ""),
    ("descriptors not inheritable", "AB", ZYGOTE, "        os.set_inheritable(fd, False)", "        _ = fd"),
    ("net namespace", "A", ZYGOTE, "kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC", "kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC"),
    ("ipc namespace", "A", ZYGOTE, "kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC", "kernel.CLONE_NEWNS | kernel.CLONE_NEWNET"),
    ("shared memory bounded", "A", ZYGOTE, 'setup["shm_limited"] = _limit_shared_memory()', 'setup["shm_limited"] = False'),
    ("protected names held", "A", ZYGOTE, "reads + kept, writes + held", "reads, writes"),
    ("folders of protected names held", "A", ZYGOTE, "writes + held", "writes"),
    ("denied paths covered", "A", ZYGOTE, 'covered = setup["denied"] + setup["covered"]', 'covered = setup["covered"]'),
    ("links covered", "A", ZYGOTE, 'covered = setup["denied"] + setup["covered"]', 'covered = setup["denied"]'),
    ("pids bounded", "A", ZYGOTE, '        _limit_pids(setup["processes"])\n', "        pass\n"),
    ("limit of core files", "AB", ZYGOTE, "    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n", ""),
    ("limit of file size", "AB", ZYGOTE, '    resource.setrlimit(resource.RLIMIT_FSIZE, (setup["file_bytes"],) * 2)\n', ""),
    ("limit of open files", "AB", ZYGOTE, "    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))\n", ""),
    ("limit of processes by user", "A", ZYGOTE, '        resource.setrlimit(resource.RLIMIT_NPROC, (setup["processes"] + 2,) * 2)\n', "        pass\n"),
    ("rest ended", "AB", ZYGOTE, "    if not alone:\n        _end_rest(setup)\n", ""),
    ("watch of processes", "B", USAGE, "        if most and threads > most:", "        if False:"),
    ("watch of memory", "AB", USAGE, "        if suspected > setup", "        if False and suspected > setup"),
    ("watch of memory files", "AB", USAGE, "max(memory, memory + _shared_on_host() - self._shared)", "memory"),
    ("watch of bytes written", "AB", USAGE, 'return "written" if written', 'return "written" if False and written'),
    ("read roots read-only", "A", MOUNTS, "_ATTR_NODEV | (0 if writable else _ATTR_RDONLY)", "_ATTR_NODEV"),
    ("no devices in binds", "A", MOUNTS, "_ATTR_NODEV | (0 if writable else _ATTR_RDONLY)", "(0 if writable else _ATTR_RDONLY)"),
    ("no setuid in binds", "A", MOUNTS, "attributes | _ATTR_NOSUID, kernel.AT_EMPTY_PATH", "attributes, kernel.AT_EMPTY_PATH"),
    ("devices read-only", "A", MOUNTS, "_bind(location, path, _ATTR_RDONLY)  #", "_bind(location, path, 0)  #"),
    ("the host's root gone", "A", MOUNTS, '    kernel.call("umount2", b"/old", MNT_DETACH)\n    os.rmdir(b"/old")\n', ""),
    ("an empty /run", "A", MOUNTS, '    _mount(b"run", b"/run", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755,size=64k")\n', ""),
    ("the root read-only", "A", MOUNTS, '    _set_attributes(kernel.AT_FDCWD, b"/", _ATTR_RDONLY, 0)\n', ""),
    ("proc read-only", "A", MOUNTS, 'b"proc", MS_RDONLY | MS_NOSUID', 'b"proc", MS_NOSUID'),
    ("size of /tmp and /dev/shm", "A", MOUNTS, 'b"mode=1777,nr_inodes=100k,size=%d" % tmp_bytes', 'b"mode=1777,nr_inodes=100k"'),
    ("number of files in /tmp and /dev/shm", "A", MOUNTS, "nr_inodes=100k,", "nr_inodes=0,"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutation:
    """One restriction that is taken away. `rule`: index and call in the filter; `patch`: file, old text, new text."""

    name: str
    rungs: str
    rule: tuple[int, str] | None = None
    patch: tuple[str, str, str] | None = None


def mutations(rung: str) -> Iterator[Mutation]:
    """Everything that can be taken away on one rung."""
    from localgpt.sandbox import rules  # noqa: PLC0415 -- the driver imports it from a mutated copy
    from localgpt.sandbox.syscalls import NUMBERS  # noqa: PLC0415 -- as above

    for line in _LINES:
        if rung in line[1]:
            yield Mutation(line[0], line[1], patch=(line[2], line[3], line[4]))
    for right in _RIGHTS:
        text = "return (1 << _RIGHTS_OF_ABI[min(version, 9)]) - 1"
        yield Mutation(f"landlock {right}", "AB", patch=(LANDLOCK, text, f"{text} & ~{right}"))
    for index, rule in enumerate(rules.command_rules(namespaces=rung == "A", signals_scoped=True)):
        for call in rule.calls:
            if NUMBERS.get(call) is not None:
                where = ", ".join(f"{w.argument} {w.test.value} {w.value}" for w in rule.where)
                yield Mutation(f"rule {call}{f' where {where}' if where else ''}", rung, rule=(index, call))


def try_one(mutation: Mutation, rung: str, *, attempts: bool) -> tuple[str, str]:
    """What noticed: "self-test", an attempt's name, "start" when nothing ran at all, or "" for a survivor; and why."""
    with tempfile.TemporaryDirectory(prefix="localgpt-mutant-", dir="/var/tmp") as folder:
        copy = Path(folder)
        for part in ("src", "sandbox"):
            shutil.copytree(CHECKOUT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        if mutation.patch is not None:
            file, old, new = mutation.patch
            text = (copy / file).read_text(encoding="utf-8")
            if text.count(old) != 1:
                return "stale", f"{file} has {text.count(old)} times {old!r}"
            (copy / file).write_text(text.replace(old, new), encoding="utf-8")
        order = json.dumps({"rung": rung, "rule": mutation.rule, "attempts": attempts})
        done = subprocess.run(
            [sys.executable, "-B", __file__, "--drive", order],
            env={"PYTHONPATH": str(copy / "src"), "PATH": os.environ.get("PATH", os.defpath)},
            capture_output=True, text=True, timeout=600, check=False, cwd="/",
        )  # fmt: skip
    last = done.stdout.strip().rpartition("\n")[2]
    try:
        noticed, said = json.loads(last)
    except ValueError:
        return "crash", done.stderr.strip().rpartition("\n")[2]
    return noticed, said


def drive(order: dict[str, object]) -> None:
    """In the mutated copy: start, and make attempts until one does not get its verdict; print what noticed."""
    from localgpt.errors import SandboxError  # noqa: PLC0415 -- of the copy
    from localgpt.sandbox import Executor, Rung, rules  # noqa: PLC0415 -- of the copy
    from localgpt.sandbox.probes import __main__ as command  # noqa: PLC0415 -- of the copy
    from localgpt.sandbox.probes import catalogue, contained, suite  # noqa: PLC0415 -- of the copy
    from localgpt.sandbox.probes.launchers import Confined, attack_plan  # noqa: PLC0415 -- of the copy
    from localgpt.sandbox.probes.world import planted  # noqa: PLC0415 -- of the copy

    contained.enter()
    rung = Rung(str(order["rung"]))
    if isinstance(order["rule"], list):
        index, call = order["rule"]
        whole = rules.command_rules

        def without(**options: bool) -> tuple[rules.Rule, ...]:
            made = list(whole(**options))
            rule = made[index]
            made[index] = rules.Rule(tuple(name for name in rule.calls if name != call), rule.error, rule.where)
            return tuple(made)

        rules.command_rules = without
    with tempfile.TemporaryDirectory(prefix="localgpt-world-") as folder, planted(Path(folder).resolve()) as world:
        try:
            with Executor(attack_plan(world), max_rung=rung, min_rung=rung) as running:
                chosen = catalogue.attempts() if order["attempts"] else ()
                found = _first_flip(suite.run(chosen, Confined(running), world), command.is_unexpected)
                print(json.dumps(found), flush=True)
        except SandboxError as error:
            print(json.dumps(["self-test", error.message[:160]]), flush=True)


def _first_flip(results: Iterator[object], is_unexpected: object) -> list[str]:
    for result in results:
        if is_unexpected(result):  # type: ignore[operator]
            return [result.attempt.name, result.detail[:160]]  # type: ignore[attr-defined]
    return ["", ""]


def known() -> dict[str, str]:
    """Survivors that are listed, by rung and name, with their reasons."""
    if not SURVIVORS.exists():
        return {}
    listed = tomllib.loads(SURVIVORS.read_text(encoding="utf-8"))["survivor"]
    return {f"{rung} {name}": each["reason"] for each in listed for rung in each["rungs"] for name in each["names"]}


def main(arguments: Sequence[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rung", choices=["A", "B"], help="only this one")
    parser.add_argument("--only", default="", help="only mutations whose name contains this")
    parser.add_argument("--self-test-only", action="store_true", help="make no attempts: seconds instead of an hour")
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.drive:
        drive(json.loads(options.drive))
        return 0
    listed, wrong, total, survivors = known(), [], 0, 0
    for rung in [options.rung] if options.rung else ["A", "B"]:
        for mutation in mutations(rung):
            if options.only not in mutation.name:
                continue
            noticed, said = try_one(mutation, rung, attempts=not options.self_test_only)
            total, survivors = total + 1, survivors + (noticed == "")
            is_listed = f"{rung} {mutation.name}" in listed
            verdict = noticed or ("survives, as listed" if is_listed else "SURVIVES")
            if (not noticed) != is_listed or noticed in {"stale", "crash"}:
                wrong.append(f"{rung} {mutation.name}: {verdict}")
            print(f"{rung} {mutation.name:<60} {verdict}: {said}", flush=True)
    print(f"{total} mutations, {survivors} survive")
    if options.self_test_only:
        return 0
    print("\n".join(["not as listed:", *wrong] if wrong else ["all as listed"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
