"""Why a host does not reach rung A, or nothing at all, and what to do about it. Pure but for `look`.

A cure never loosens the host: no global setting is switched, no interpreter that other programs use too gets a profile.
Where the restriction protects more than this program loses, the cure is to leave it and be content with rung B.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONTENT: Final = "none needed: rung B confines commands without namespaces"
_ELSEWHERE: Final = f"{CONTENT}; for rung A run LocalGPT in a virtual machine, and leave this setting as it is"
_OUTSIDE: Final = f"{CONTENT}; for rung A run LocalGPT on the host or in a virtual machine, not in the container"
_FILES: Final = (
    "proc/sys/user/max_user_namespaces", "proc/sys/kernel/unprivileged_userns_clone",
    "proc/sys/kernel/apparmor_restrict_unprivileged_userns", "sys/fs/selinux/enforce", "sys/kernel/security/lsm",
    "run/systemd/container", "proc/self/status",
)  # fmt: skip
_MARKS: Final = (".dockerenv", "run/.containerenv", "var/run/secrets/kubernetes.io", "snap", ".flatpak-info")
_LANDLOCK_SINCE: Final = (5, 13)


@dataclass(frozen=True, slots=True)
class Host:
    """What can be seen of a host: `files` by path without the leading slash, "" when unreadable; `marks` that exist."""

    system: str
    release: str
    files: Mapping[str, str]
    marks: frozenset[str]
    is_chrooted: bool = False

    def holds(self, path: str) -> str:
        return self.files.get(path, "")

    @property
    def version(self) -> tuple[int, int]:
        """Of the kernel."""
        numbers = "".join(c if c.isdigit() else " " for c in self.release).split()
        return (int(numbers[0]), int(numbers[1])) if len(numbers) > 1 else (0, 0)


@dataclass(frozen=True, slots=True)
class Advice:
    """A reason in words, and a cure."""

    reason: str
    cure: str


def look(root: Path = Path("/")) -> Host:
    """Look at this host, or at a picture of one below `root`."""
    files = {path: _read(root / path) for path in _FILES}
    marks = frozenset(path for path in _MARKS if (root / path).exists())
    return Host(platform.system(), platform.release(), files, marks, _is_chrooted(root))


def without_namespaces(host: Host, said: str) -> Advice:
    """Why rung A is not to be had where rung B is; `said` is what the zygote met."""
    for applies, reason, cure in (
        (_container(host), f"this is {_container(host)}, which may not make namespaces", _OUTSIDE),
        (
            host.holds("proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1",
            "AppArmor takes capabilities from user namespaces (apparmor_restrict_unprivileged_userns is 1, Ubuntu)",
            f"{_ELSEWHERE}: it protects every program here, and exempting Python would exempt every script",
        ),
        (
            host.holds("proc/sys/user/max_user_namespaces") == "0",
            "this host's administrator allows no user namespaces (user.max_user_namespaces is 0, as in hardened RHEL)",
            _ELSEWHERE,
        ),
        (
            host.holds("proc/sys/kernel/unprivileged_userns_clone") == "0",
            "this host keeps user namespaces for root (kernel.unprivileged_userns_clone is 0, as older Debian has it)",
            _ELSEWHERE,
        ),
        (host.is_chrooted, "this is a chroot, in which the kernel makes no user namespaces", CONTENT),
        (
            _is_filtered(host),
            "a seccomp filter was set before this program started: by a container, a sandbox or a systemd unit",
            f"{CONTENT}; for rung A start LocalGPT outside of it",
        ),
        (host.holds("sys/fs/selinux/enforce") == "1", "SELinux is enforcing and may refuse user namespaces", CONTENT),
    ):
        if applies:
            return Advice(f"{reason}; {said}" if said else reason, cure)
    return Advice(said, CONTENT)


def without_landlock(host: Host) -> Advice:
    """Why nothing can be confined at all on a Linux without Landlock."""
    if "Microsoft" in host.release and "WSL2" not in host.release:
        return Advice(
            "this is WSL 1, which has no Linux kernel", "convert it: `wsl --set-version DISTRIBUTION 2` in Windows"
        )
    if host.version < _LANDLOCK_SINCE:
        return Advice(
            f"Linux {host.release} has no Landlock, which came with 5.13",
            "update the kernel (`wsl --update` in WSL 2); where it cannot be, talking still works, and no command runs",
        )
    modules = host.holds("sys/kernel/security/lsm")
    if modules and "landlock" not in modules.split(","):
        where = "kernelCommandLine in .wslconfig" if "WSL2" in host.release else "the kernel's command line"
        return Advice(
            f"Landlock is switched off: the kernel's security modules are {modules}",
            f"add it: lsm=landlock,{modules} on {where}; that only adds a restriction that programs ask for",
        )
    if kind := _container(host):
        return Advice(
            f"this is {kind}, whose filter refuses Landlock",
            "update the container engine: the default filters of current ones let programs confine themselves",
        )
    return Advice(
        "this kernel has no Landlock, or it is switched off", "boot a kernel that has it: lsm=landlock,… names it"
    )


def elsewhere(system: str) -> Advice:
    """Why nothing can be confined on a system that is not Linux."""
    if system.split(maxsplit=1)[0] in {"Windows", "win32", "cygwin", "msys"}:
        return Advice(
            "commands cannot be confined on Windows",
            "install it in WSL 2: `wsl --install`, then LocalGPT inside, with the projects on its own file system",
        )
    if system.startswith("darwin"):
        return Advice(
            "commands cannot be confined on macOS yet: its profiles are written and not exercised on a real one",
            "run it in a Linux virtual machine; talking works without commands",
        )
    return Advice(f"commands cannot be confined on {system}", "run it on Linux, x86_64 or aarch64, or in a VM")


def _container(host: Host) -> str:
    """What kind of container this is, in words; "" when it is none that is known."""
    if "var/run/secrets/kubernetes.io" in host.marks:
        return "a Kubernetes pod"
    if "run/.containerenv" in host.marks:
        return "a Podman container"
    if ".dockerenv" in host.marks:
        return "a Docker container"
    if ".flatpak-info" in host.marks:
        return "a Flatpak sandbox"
    kind = host.holds("run/systemd/container")
    return f"a container ({kind})" if kind and kind != "wsl" else ""


def _is_filtered(host: Host) -> bool:
    return any(line.split() == ["Seccomp:", "2"] for line in host.holds("proc/self/status").splitlines())


def _is_chrooted(root: Path) -> bool:
    """Whether this process's root is not its namespace's: only root can see the difference, by what pid 1 has."""
    try:
        return not os.path.samestat((root / "proc/1/root").stat(), (root / "proc/self/root").stat())
    except OSError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""
