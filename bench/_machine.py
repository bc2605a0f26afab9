"""How fast this machine is now, beside the one on which limits in milliseconds were set.

Start-up is bound by the interpreter. The same interpreter on the same machine has been seen to take twice as long an
hour later, when the host served others: a limit in milliseconds then says nothing of the program. So each run that
misses one times a fixed piece of work as well, and judges beside it.

The reference itself was estimated on a slow day from what an earlier version took on a fast one: it is to be measured.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Final

REFERENCE_MS: Final = 50.0  #: of `_WORK`, worked out for a machine on which `localgpt config show` takes 70 ms in all
SLOW: Final = 1.25
_WORK: Final = """
import argparse, dataclasses, inspect, json, subprocess, typing
for number in range(20):
    dataclasses.make_dataclass(f"C{number}", [(f"f{n}", int) for n in range(5)], frozen=True, slots=True)
"""


def slowness(rounds: int = 7) -> float:
    """How many times longer than on the reference machine the work takes; the median of `rounds`."""
    environ = {"PATH": os.environ.get("PATH", "")}
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", _WORK], env=environ, check=True)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times) / REFERENCE_MS


def scale() -> float:
    """What a limit in milliseconds is multiplied with here and now: 1 on the reference machine and on faster ones."""
    factor = max(1.0, slowness())
    if factor > 1:
        print(f"this machine is {factor:.2f} times slower than the reference now: so much more is allowed")
    return factor
