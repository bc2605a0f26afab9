"""Build the release: the wheel twice, in different places, and its bill of materials. Fails when the wheels differ.

    python scripts/build.py [FOLDER]      default: dist/

What is built is the commit, not the working tree, with the commit's time as the only clock.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where and how a build happens. None of it may change what is built."""

    folder: str
    umask: int
    timezone: str


FIRST = Surroundings("one", 0o022, "UTC")
SECOND = Surroundings("another/folder", 0o077, "Asia/Kathmandu")


class NotReproducible(Exception):  # noqa: N818  (named after the condition)
    """Two builds of the same commit are not the same bytes."""


def git(*arguments: str) -> bytes:
    """Return what a git command about the checkout prints. The checkout may belong to another user."""
    argv = ["git", "-c", f"safe.directory={CHECKOUT}", "-C", str(CHECKOUT), *arguments]
    return subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout


def export(target: Path) -> None:
    """Write the files of the commit to `target`."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", "HEAD"))) as archive:
        if hasattr(tarfile, "data_filter"):  # 3.11.4 and later
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(target)


def build(source: Path, target: Path, surroundings: Surroundings) -> Path:
    """Build the wheel of `source` into `target` with the locked build tool and return its path."""
    epoch = git("log", "-1", "--format=%ct").decode().strip()
    environment = {"PATH": os.environ.get("PATH", os.defpath), "SOURCE_DATE_EPOCH": epoch, "TZ": surroundings.timezone}
    subprocess.run(
        [sys.executable, "-I", "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=source,
        env=environment,
        umask=surroundings.umask,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    (wheel,) = target.glob("*.whl")
    return wheel


def build_in(base: Path, surroundings: Surroundings) -> Path:
    """Export the commit below `base` and build it there."""
    source = base / surroundings.folder
    source.mkdir(parents=True)
    export(source)
    return build(source, base / f"{surroundings.folder}-wheel", surroundings)


def reproducible_wheel(target: Path) -> Path:
    """Build the commit's wheel twice and put it into `target`.

    Raises:
        NotReproducible: the two differ.
    """
    with tempfile.TemporaryDirectory(prefix="localgpt-build-") as folder:
        first, second = (build_in(Path(folder), each) for each in (FIRST, SECOND))
        if first.name != second.name or first.read_bytes() != second.read_bytes():
            raise NotReproducible(f"{first.name}: two builds of one commit differ")
        target.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(first, target))


def main(arguments: Sequence[str]) -> int:
    """Build into the folder that is named, print digests, return 0 when reproducible."""
    sys.path.append(str(CHECKOUT))
    from scripts import sbom  # noqa: PLC0415  (found only once the checkout is on the path)

    target = Path(arguments[0] if arguments else CHECKOUT / "dist")
    try:
        wheel = reproducible_wheel(target)
    except NotReproducible as problem:
        print(problem, file=sys.stderr)
        return 1
    bill = target / f"{wheel.stem}.cdx.json"
    bill.write_bytes(sbom.bill_of_materials())
    for each in (wheel, bill):
        print(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
