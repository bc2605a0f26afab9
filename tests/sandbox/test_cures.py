"""What hosts of many kinds are told, from pictures of their files; and that no cure ever loosens one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from localgpt.sandbox.cures import Advice, Host, elsewhere, look, without_landlock, without_namespaces

APPARMOR = "proc/sys/kernel/apparmor_restrict_unprivileged_userns"
LSM = "sys/kernel/security/lsm"
SAID = "unshare: Operation not permitted"

NAMESPACES = {  # files of the host, a word of the reason
    "docker": ({".dockerenv": "", "proc/self/status": "Name:\tpython\nSeccomp:\t2\n"}, "Docker"),
    "podman": ({"run/.containerenv": 'engine="podman-4.9.3"\n'}, "Podman"),
    "kubernetes": ({"var/run/secrets/kubernetes.io/x": "", ".dockerenv": ""}, "Kubernetes"),
    "lxc": ({"run/systemd/container": "lxc"}, "container (lxc)"),
    "ubuntu": ({APPARMOR: "1\n"}, "AppArmor"),
    "rhel": ({"proc/sys/user/max_user_namespaces": "0\n"}, "max_user_namespaces"),
    "debian": ({"proc/sys/kernel/unprivileged_userns_clone": "0\n"}, "unprivileged_userns_clone"),
    "systemd unit": ({"proc/self/status": "Seccomp:\t2\n"}, "seccomp filter"),
    "selinux": ({"sys/fs/selinux/enforce": "1"}, "SELinux"),
    "wsl": ({"run/systemd/container": "wsl"}, SAID),
    "unknown": ({APPARMOR: "0\n", "proc/self/status": "Seccomp:\t0\n"}, SAID),
}
LANDLOCK = {  # release, files, a word of the reason, one of the cure
    "wsl 1": ("4.4.0-19041-Microsoft", {}, "WSL 1", "wsl --set-version"),
    "wsl 2": ("5.15.90.1-microsoft-standard-WSL2", {LSM: "capability,yama"}, "switched off", ".wslconfig"),
    "old": ("5.4.0-150-generic", {}, "5.13", "update the kernel"),
    "off": ("6.1.0-18-amd64", {LSM: "lockdown,capability,yama,apparmor,bpf"}, "switched off", "lsm=landlock,lockdown"),
    "filtered": ("6.8.0", {".dockerenv": "", LSM: "landlock,bpf"}, "Docker", "container engine"),
    "unknown": ("6.8.0", {}, "no Landlock", "lsm=landlock"),
}


def picture(root: Path, files: dict[str, str]) -> Host:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return look(root)


def loosens(advice: Advice) -> bool:
    """Whether a cure tells to switch a protection off."""
    words = ("sysctl", "=0", "=1", "setenforce", "--privileged", "unconfined", "aa-disable", "apparmor_parser", "chmod")
    return any(word in advice.cure for word in words)


@pytest.mark.parametrize("kind", NAMESPACES)
def test_why_not_rung_a(tmp_path: Path, kind: str) -> None:
    files, reason = NAMESPACES[kind]
    advice = without_namespaces(picture(tmp_path, files), SAID)
    assert reason in advice.reason
    assert advice.reason.endswith(SAID)
    assert "none needed" in advice.cure
    assert not loosens(advice)


@pytest.mark.parametrize("kind", LANDLOCK)
def test_why_nothing_at_all(tmp_path: Path, kind: str) -> None:
    release, files, reason, cure = LANDLOCK[kind]
    advice = without_landlock(replace(picture(tmp_path, files), release=release))
    assert reason in advice.reason
    assert cure in advice.cure
    assert not loosens(advice)


def test_a_chroot(tmp_path: Path) -> None:
    host = replace(picture(tmp_path, {}), is_chrooted=True)
    assert "chroot" in without_namespaces(host, "").reason


@pytest.mark.parametrize("system", ["win32 AMD64", "cygwin", "Windows"])
def test_windows_is_sent_to_wsl(system: str) -> None:
    assert "wsl --install" in elsewhere(system).cure


def test_macos_is_not_claimed() -> None:
    assert "not exercised" in elsewhere("darwin arm64").reason


def test_others_are_sent_to_linux() -> None:
    assert "Linux" in elsewhere("freebsd14 amd64").cure


def test_this_host_is_looked_at() -> None:
    host = look()
    assert host.version >= (5, 13)
    assert "Seccomp" in host.holds("proc/self/status")


WINDOWS = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {"fcntl", "resource", "pwd", "grp", "termios"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules.pop(name, None)
sys.platform = "win32"
"""


def test_on_windows_the_package_says_so_where_its_modules_would_not_load() -> None:
    code = f"""{WINDOWS}
import localgpt.sandbox
try:
    localgpt.sandbox.Executor
except Exception as error:
    print(type(error).__name__, error.code, error.cure)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("PlatformUnsupported sandbox.platform install it in WSL 2")


def test_on_windows_the_command_says_so() -> None:
    code = f"{WINDOWS}\nsys.argv = ['localgpt', 'chat']\nfrom localgpt.__main__ import main\nsys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "wsl --install" in done.stderr
