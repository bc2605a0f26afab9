"""Write the software bill of materials of what ``run chat`` installs: CycloneDX 1.6, JSON, the same bytes every time.

    python scripts/sbom.py [REQUIREMENTS]     default: requirements/embedded.txt; to standard output

Source: CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
LOCKED = CHECKOUT / "requirements/embedded.txt"


class Incomplete(Exception):  # noqa: N818  (named after the condition)
    """The bill does not say what it must."""


def version() -> str:
    """Return the package's version without importing it."""
    text = (CHECKOUT / "src/localgpt/__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise Incomplete("src/localgpt/__init__.py names no __version__")
    return found.group(1)


def components(requirements: Path) -> dict[str, Any]:
    """Return the document that cyclonedx-py makes of the locked requirements, validated by it."""
    options = ("--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON", "--sv", "1.6", "--validate")
    argv = [sys.executable, "-I", "-W", "ignore", "-m", "cyclonedx_py", "requirements", *options, str(requirements)]
    done = subprocess.run(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def bill_of_materials(requirements: Path = LOCKED) -> bytes:
    """Return the bill: the components, with this version as the root that depends on all of them.

    Raises:
        Incomplete: the requirements name nothing.
    """
    document = components(requirements)
    references = [each["bom-ref"] for each in document.get("components", [])]
    if not references:
        raise Incomplete(f"{requirements} locks nothing")
    root = document["metadata"]["component"]
    root["version"] = version()
    others = [each for each in document["dependencies"] if each["ref"] != root["bom-ref"]]
    document["dependencies"] = [{"ref": root["bom-ref"], "dependsOn": sorted(references)}, *others]
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"


def main(arguments: Sequence[str]) -> int:
    """Print the bill of the named requirements."""
    sys.stdout.buffer.write(bill_of_materials(Path(arguments[0]) if arguments else LOCKED))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
