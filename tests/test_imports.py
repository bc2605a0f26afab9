"""Light commands and the monitor load nothing heavy: start-up time is a promise, and so is what has to be trusted."""

import re
import subprocess
import sys

import pytest

HEAVY = (
    "pydantic", "httpx2", "openai", "anthropic", "numpy", "xllamacpp", "prompt_toolkit", "rich.markdown", "cryptography"
)  # fmt: skip


def imported(tmp_path, *arguments: str) -> set[str]:
    """Return the names of all modules that a command imports, with every parent package."""
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-I", "-X", "importtime", *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE))


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "localgpt", "--version"),
        ("-m", "localgpt", "--help"),
        ("-m", "localgpt", "config", "show"),
        ("-m", "localgpt", "paths"),
        ("-c", "import localgpt.monitor"),
        ("-c", "import localgpt.sandbox, localgpt.policy, localgpt.audit, localgpt.injection"),
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(tmp_path, arguments):
    found = imported(tmp_path, *arguments)
    assert "localgpt" in found
    assert [name for name in HEAVY if any(f"{each}.".startswith(f"{name}.") for each in found)] == []


def test_the_probe_sees_what_is_imported(tmp_path):
    assert {"rich", "rich.markdown"} <= imported(tmp_path, "-c", "import rich.markdown")
