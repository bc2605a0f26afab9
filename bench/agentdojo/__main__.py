"""AgentDojo's worst case from one command: `python -m bench.agentdojo [--json] [--check] [--honest] [--suite NAME]…`.

The first run makes an environment with AgentDojo in it, hash-locked by requirements/bench.txt, and needs the network
for that; later runs need none. `--honest` leaves the attacks out.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "bench.txt"


def environment() -> Path:
    """The interpreter of the environment that has AgentDojo; made on first use and whenever the lock has changed."""
    place = Path(sys.prefix) / "cache" / "agentdojo"
    stamp, digest = place / "locked", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    python = place / "bin" / "python"
    if not (stamp.is_file() and stamp.read_text() == digest):
        print(f"making {place} once (about 300 MB)", file=sys.stderr, flush=True)
        venv.create(place, clear=True, with_pip=False)
        uv = str(Path(sys.prefix) / "bin" / "uv")
        install = [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(LOCK)]
        subprocess.run([*install, "--compile-bytecode"], check=True)
        stamp.write_text(digest)
    return python


def main(arguments: Sequence[str]) -> int:
    """Measure in the other environment, with this checkout's code."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    kept["PYTHONPATH"] = f"{ROOT / 'src'}:{ROOT}"
    argv = [str(environment()), "-m", "bench.agentdojo.table", *arguments]
    return subprocess.run(argv, env=kept, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
