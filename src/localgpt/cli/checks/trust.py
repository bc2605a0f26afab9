"""Checks of what the user made and trusts: directories, configuration, device key, policy, log."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from localgpt.cli.checks.finding import Finding, fail, of_error, ok, warn
from localgpt.cli.state import State
from localgpt.crypto import DeviceKey, KeyMissing, load_device_key
from localgpt.errors import ConfigError, LocalGptError
from localgpt.policy.check import PolicyState


def findings(state: State) -> Iterator[Finding]:
    """Run every check of this group. A configuration that cannot be read hides nothing else."""
    yield from _directories(state)
    yield from _config(state)
    key, finding = _key(state.base_paths.device_key)
    yield finding
    yield from _policy(state, key)
    yield from _log(state, key)


def _directories(state: State) -> Iterator[Finding]:
    paths = state.base_paths
    for text in paths.warnings:
        yield warn("environment", text, "give an absolute path, or unset it")
    wanted = {"config": paths.config_dir, "data": paths.data_dir, "state": paths.state_dir, "cache": paths.cache_dir}
    missing = [str(directory) for directory in wanted.values() if not directory.exists()]
    for name, directory in wanted.items():
        if directory.exists():
            yield from _directory(name, directory)
    if missing:
        yield warn("directories", f"not made yet: {', '.join(missing)}", "localgpt init")
    elif all(_is_private(directory) for directory in wanted.values()):
        yield ok("directories", "there, and yours alone")


def _directory(name: str, directory: Path) -> Iterator[Finding]:
    try:
        status = directory.stat()
    except OSError as error:
        yield fail(name, f"{directory}: {error.strerror}", "make it a directory of yours")
        return
    if not stat.S_ISDIR(status.st_mode):
        yield fail(name, f"{directory} is no directory", f"move it away: mv {directory} {directory}.old")
    elif status.st_uid != os.getuid():
        yield fail(name, f"{directory} belongs to user id {status.st_uid}", f"sudo chown -R {os.getuid()} {directory}")
    elif status.st_mode & 0o022:
        yield fail(name, f"others may write to {directory}", f"chmod 700 {directory}")
    elif status.st_mode & 0o055:
        yield warn(name, f"others may list {directory}", f"chmod 700 {directory}")
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield fail(name, f"{directory} cannot be written", "mount it writable, or name another with LOCALGPT_*_DIR")


def _is_private(directory: Path) -> bool:
    return not list(_directory("", directory))


def _config(state: State) -> Iterator[Finding]:
    from localgpt.config import load

    try:
        loaded = load(state.config_file, state.environ)
    except ConfigError as error:
        yield of_error("configuration", error)
        return
    for text in loaded.warnings:
        yield warn("configuration", text, "mend the line; localgpt config show prints what applies")
    if not loaded.warnings:
        yield ok("configuration", str(loaded.path) if loaded.exists else "no file: all defaults")


def _key(path: Path) -> tuple[DeviceKey | None, Finding]:
    try:
        return load_device_key(path), ok("device key", str(path))
    except KeyMissing as error:
        return None, warn("device key", error.message, "localgpt init")
    except LocalGptError as error:
        return None, of_error("device key", error)


def _policy(state: State, key: DeviceKey | None) -> Iterator[Finding]:
    from localgpt.cli.trust import CURES
    from localgpt.monitor.policies import open_policy

    try:
        paths, public_key = state.paths, state.config.policy_public_key
    except ConfigError:
        paths, public_key = state.base_paths, ""
    if key is None and not paths.policy_document.exists():
        yield warn("policy", "not made yet", "localgpt init")
        return
    try:
        applies = open_policy(paths, public_key, key).load()
    except LocalGptError as error:
        yield of_error("policy", error)
        return
    status = applies.status
    if applies.state is PolicyState.VALID:
        yield ok("policy", f"valid: {status.detail}")
    elif applies.state in {PolicyState.UNSIGNED, PolicyState.MISSING}:
        yield warn("policy", f"{applies.state.value}: {status.detail}", CURES[applies.state])
    else:
        yield fail("policy", f"{applies.state.value}: {status.detail}", CURES[applies.state])
    for note in applies.notes:
        yield warn("policy", note, "localgpt verify")


def _log(state: State, key: DeviceKey | None) -> Iterator[Finding]:
    from localgpt.audit.report import EMPTIED
    from localgpt.audit.verify import verify_log

    directory = state.base_paths.audit_dir
    if key is None or not directory.exists():
        yield ok("log", "nothing logged yet")
        return
    try:
        report = verify_log(directory, key)
    except LocalGptError as error:
        yield of_error("log", error)
        return
    if report.is_tampered:
        yield fail("log", report.findings[0].detail, "localgpt audit verify")
    elif EMPTIED in {finding.code for finding in report.findings}:
        yield warn("log", report.findings[-1].detail, "find out who could write there; the next start begins a new log")
    else:
        yield ok("log", f"{report.entries} entries, intact")
