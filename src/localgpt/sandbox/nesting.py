"""Programs that make a sandbox of their own, which the sandbox they run in does not let them: they are told by name.

A command may make no namespaces (every one of them is a door to more of the kernel), so bubblewrap, Chromium and the
like cannot start their own. Each ends by itself, with a message that leaves people searching for what is broken; none
ever runs with less confinement.
"""

from __future__ import annotations

import os
import re
from typing import Final

from localgpt.sandbox.faults import NamespacesRefused
from localgpt.sandbox.running import Completed

_CONFINED: Final = "it is confined already: run the program that it starts by itself"
_CHROMIUM: Final = "it is confined already: start it with --no-sandbox, which leaves this confinement as it is"
_CURES: Final = {
    "bwrap": _CONFINED, "unshare": _CONFINED, "nsjail": _CONFINED, "firejail": _CONFINED, "minijail0": _CONFINED,
    "flatpak": _CONFINED, "flatpak-spawn": _CONFINED, "snap": _CONFINED, "srt": _CONFINED,
    "podman": "containers cannot be made in here: run it outside, by yourself",
    "buildah": "containers cannot be made in here: run it outside, by yourself",
    "docker": "containers cannot be made in here: run it outside, by yourself",
    "chromium": _CHROMIUM, "chromium-browser": _CHROMIUM, "chrome": _CHROMIUM, "google-chrome": _CHROMIUM,
    "google-chrome-stable": _CHROMIUM, "headless_shell": _CHROMIUM, "chrome-headless-shell": _CHROMIUM,
    "brave-browser": _CHROMIUM, "microsoft-edge": _CHROMIUM, "electron": _CHROMIUM, "code": _CHROMIUM,
}  # fmt: skip
_SAID: Final = re.compile(
    r"namespace|unshare|No usable sandbox|sandbox_host_linux|zygote_host_impl|setuid sandbox|clone\(|newuidmap"
    r"|cannot set user ?ns|Operation not permitted",
    re.IGNORECASE,
)
_LOOKED_AT: Final = 16 << 10


def refused_namespaces(completed: Completed) -> NamespacesRefused | None:
    """The error to raise instead of returning `completed`, when it is such a program and could not do what it does."""
    program = os.path.basename(completed.argv[0])  # noqa: PTH119 -- a word of a command line
    if program not in _CURES or completed.exit_status == 0 or completed.timed_out or completed.cancelled:
        return None
    said = completed.stderr[-_LOOKED_AT:].decode("utf-8", "replace")
    if not _SAID.search(said):
        return None
    return NamespacesRefused(
        f"{program} makes namespaces of its own, and commands may make none; it ended with status "
        f"{completed.exit_status}, and nothing ran outside the sandbox",
        cure=_CURES[program],
    )
