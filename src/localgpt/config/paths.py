"""Where this program keeps things, and how those directories come to be.

Precedence for each kind: ``LOCALGPT_{CONFIG,DATA,STATE,CACHE}_DIR``, then the XDG variable, then the default under the
home directory. Relative paths in variables are ignored, with a warning. Nothing here touches the disk except
`ensure_directory` and `ensure_directories`.

Source: XDG Base Directory Specification 0.8.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from localgpt.config.errors import BadProfileName, DirectoryForeign, DirectoryUnusable, NoHome

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}\Z")
_KINDS: Final = {
    "CONFIG": ("XDG_CONFIG_HOME", ".config"),
    "DATA": ("XDG_DATA_HOME", ".local/share"),
    "STATE": ("XDG_STATE_HOME", ".local/state"),
    "CACHE": ("XDG_CACHE_HOME", ".cache"),
}


@dataclass(frozen=True, slots=True)
class Paths:
    """Absolute paths. `workspace` is the agent's home; `workspace_fixed` says that the environment or the profile
    chose it, so that the configuration cannot. `warnings` name variables that were ignored."""

    home: Path
    config_dir: Path
    data_dir: Path
    state_dir: Path
    cache_dir: Path
    runtime_dir: Path
    workspace: Path
    workspace_fixed: bool
    profile: str | None
    warnings: tuple[str, ...] = ()

    @property
    def config_file(self) -> Path:
        return self.config_dir / "config.toml"

    @property
    def device_key(self) -> Path:
        return self.data_dir / "localgpt.device.key"

    @property
    def models_dir(self) -> Path:
        return self.data_dir / "models"

    @property
    def audit_dir(self) -> Path:
        return self.state_dir / "audit"

    @property
    def policy_dir(self) -> Path:
        """Last verified snapshots of the policy."""
        return self.state_dir / "policy"

    @property
    def logs_dir(self) -> Path:
        return self.state_dir / "logs"

    @property
    def policy_document(self) -> Path:
        """``LocalGPT.md``, or ``POLICY.md`` where only that exists (the newer Rust name)."""
        other = self.workspace / "POLICY.md"
        document = self.workspace / "LocalGPT.md"
        return other if not document.exists() and other.exists() else document

    @property
    def policy_manifest(self) -> Path:
        return self.workspace / ".localgpt_manifest.json"

    def agent_dir(self, agent: str) -> Path:
        return self.state_dir / "agents" / check_name(agent, "agent")

    def sessions_dir(self, agent: str) -> Path:
        return self.agent_dir(agent) / "sessions"

    def with_workspace(self, configured: str | None) -> Paths:
        """Take ``memory.workspace`` of the configuration, unless the environment or the profile chose already."""
        if configured is None or self.workspace_fixed:
            return self
        return replace(self, workspace=expand(configured, self.home))


def resolve_paths(environ: Mapping[str, str], profile: str | None = None) -> Paths:
    """Work out every path from the environment; `profile` adds ``-NAME`` to the directories it does not fix.

    Raises:
        NoHome: there is no home directory to put the defaults in.
        BadProfileName: `profile` cannot be part of a path.
    """
    name = "localgpt" if profile is None else f"localgpt-{check_name(profile, 'profile')}"
    warnings: list[str] = []
    home = _home(environ, warnings)
    found = {kind: _directory(kind, environ, home, name, warnings) for kind in _KINDS}
    workspace = _absolute(environ, "LOCALGPT_WORKSPACE", home, warnings)
    return Paths(
        home=home,
        config_dir=found["CONFIG"],
        data_dir=found["DATA"],
        state_dir=found["STATE"],
        cache_dir=found["CACHE"],
        runtime_dir=_runtime(environ, name, warnings),
        workspace=workspace or found["DATA"] / "workspace",
        workspace_fixed=workspace is not None or profile is not None,
        profile=profile,
        warnings=tuple(warnings),
    )


def check_name(name: str, what: str) -> str:
    """Give `name` back when it is safe as one part of a path.

    Raises:
        BadProfileName: otherwise.
    """
    if _NAME.match(name) is None or ".." in name:
        raise BadProfileName(
            f"{name!r} cannot be the name of {'an agent' if what == 'agent' else f'a {what}'}",
            cure="use 1 to 32 of: letters, digits, '_', '-', '.'",
        )
    return name


def expand(text: str, home: Path) -> Path:
    """Make a path of the configuration absolute: ``~`` is `home`, and a relative path starts there."""
    return Path(os.path.normpath(home / text[2:] if text.startswith("~/") else home if text == "~" else home / text))


def _home(environ: Mapping[str, str], warnings: list[str]) -> Path:
    named = environ.get("HOME", "")
    if named.startswith("/"):
        return Path(os.path.normpath(named))
    if named:
        warnings.append(f"HOME={named} is ignored: not an absolute path")
    import pwd  # noqa: PLC0415 -- only without HOME

    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError as error:
        raise NoHome(
            f"HOME is not set and user id {os.getuid()} has no entry in the user database",
            cure="export HOME=/absolute/path, or set LOCALGPT_CONFIG_DIR, LOCALGPT_DATA_DIR, LOCALGPT_STATE_DIR and "
            "LOCALGPT_CACHE_DIR as well",
        ) from error


def _directory(kind: str, environ: Mapping[str, str], home: Path, name: str, warnings: list[str]) -> Path:
    own = _absolute(environ, f"LOCALGPT_{kind}_DIR", home, warnings)
    if own is not None:
        return own
    variable, default = _KINDS[kind]
    base = _absolute(environ, variable, home, warnings)
    return (home / default if base is None else base) / name


def _absolute(environ: Mapping[str, str], variable: str, home: Path, warnings: list[str]) -> Path | None:
    value = environ.get(variable, "")
    if value == "~" or value.startswith("~/"):
        return expand(value, home)
    if value.startswith("/"):
        return Path(os.path.normpath(value))
    if value:
        warnings.append(f"{variable}={value} is ignored: not an absolute path")
    return None


def _runtime(environ: Mapping[str, str], name: str, warnings: list[str]) -> Path:
    base = _absolute(environ, "XDG_RUNTIME_DIR", Path("/"), warnings)
    if base is not None:
        return base / name
    shared = _absolute(environ, "TMPDIR", Path("/"), warnings) or Path("/tmp")  # noqa: S108 -- owner and mode are checked
    return shared / f"{name}-{os.getuid()}"


def ensure_directories(paths: Paths) -> tuple[Path, ...]:
    """Make the config, data, state, cache and workspace directories, and give those that were missing."""
    wanted = (paths.config_dir, paths.data_dir, paths.state_dir, paths.cache_dir, paths.workspace)
    return tuple(directory for directory in wanted if ensure_directory(directory))


def ensure_directory(directory: Path) -> bool:
    """Make `directory` and its missing parents with mode 0700; say whether it was missing.

    Raises:
        DirectoryUnusable: read-only file system, no permission, a full disk, or a file in the way.
        DirectoryForeign: it exists, and another user owns it or may write to it.
    """
    missing = [d for d in (directory, *directory.parents) if not d.exists()]
    try:
        for part in reversed(missing):
            part.mkdir(mode=0o700, exist_ok=True)
        status = directory.stat()
    except OSError as error:
        raise _unusable(directory, error) from error
    if not stat.S_ISDIR(status.st_mode):
        raise DirectoryUnusable(
            f"{directory}: a file is in the way", cure=f"move it away: mv {directory} {directory}.old"
        )
    if not missing:
        _check_ownership(directory, status)
    return bool(missing)


def _check_ownership(directory: Path, status: os.stat_result) -> None:
    if status.st_uid != os.getuid():
        raise DirectoryForeign(
            f"{directory}: belongs to user id {status.st_uid}, not to you ({os.getuid()})",
            cure=f"use another place with LOCALGPT_*_DIR, or: sudo chown -R {os.getuid()} {directory}",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DirectoryForeign(
            f"{directory}: other users may write to it (mode {stat.S_IMODE(status.st_mode):04o})",
            cure=f"chmod 700 {directory}",
        )
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        raise _unusable(directory, OSError(errno.EROFS, os.strerror(errno.EROFS)))
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _unusable(directory, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


_CURES: Final = {
    errno.EROFS: "the file system is read-only: use another place, for example LOCALGPT_{kind}_DIR=/path",
    errno.EACCES: "give yourself the right (chmod u+rwx on its parent), or use another place with LOCALGPT_{kind}_DIR",
    errno.EPERM: "give yourself the right (chmod u+rwx on its parent), or use another place with LOCALGPT_{kind}_DIR",
    errno.ENOSPC: "the disk is full: free some space (df -h {directory})",
    errno.EDQUOT: "your quota is used up: free some space",
    errno.ENOTDIR: "a file is in the way on that path: move it away",
}


def _unusable(directory: Path, error: OSError) -> DirectoryUnusable:
    reason = error.strerror or str(error)
    cure = _CURES.get(error.errno or 0, "use another place with LOCALGPT_{kind}_DIR")
    return DirectoryUnusable(
        f"{directory}: cannot be used: {reason.lower()}",
        cure=cure.format(kind="{CONFIG,DATA,STATE,CACHE}", directory=directory.parent),
    )
