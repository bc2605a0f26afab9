"""``python -m fuzz [TARGET…] [--seconds N] [--seed N]``"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from fuzz import audit, injection, policy, proxy, sandbox
from fuzz.mutate import mutations

SLOWEST_S = 2.0
Target = tuple[Callable[[bytes], None], Callable[[], list[bytes]]]


#: Every target of every room: what takes the bytes, and where the mutations start.
TARGETS: dict[str, Target] = {
    **policy.TARGETS, **sandbox.TARGETS, **proxy.TARGETS, **audit.TARGETS, **injection.TARGETS,
}  # fmt: skip


def fuzz(name: str, seconds: float, seed: int, most: int | None = None) -> tuple[int, bytes | None]:
    """Run one target; how many inputs, and the first that failed."""
    target, corpus = TARGETS[name]
    end = time.monotonic() + seconds
    count = 0
    for data in mutations(corpus(), seed):
        if count == most or time.monotonic() > end:
            break
        count += 1
        start = time.process_time()
        try:
            target(data)
        except Exception:  # noqa: BLE001 -- whatever it is, it is a finding
            traceback.print_exc()
            return count, data
        if time.process_time() - start > SLOWEST_S:
            print(f"{name}: one input took {time.process_time() - start:.1f} s", file=sys.stderr)
            return count, data
    return count, None


def main() -> int:
    """Run the chosen targets; 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("targets", nargs="*", default=[*TARGETS])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    status = 0
    for name in options.targets:
        count, failing = fuzz(name, options.seconds, options.seed)
        print(f"{name:<20} {count:>8} inputs  seed {options.seed}  {'ok' if failing is None else 'FAILED'}", flush=True)
        if failing is not None:
            place = Path("results/fuzz") / f"{name}-{hashlib.sha256(failing).hexdigest()[:12]}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(failing)
            print(f"  {place}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
